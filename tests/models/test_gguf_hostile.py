"""The GGUF reader on broken and hostile files: always BadModel, always at once."""

import struct
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from models.errors import BadModel
from models.formats import check_file
from tests.support.gguf_maker import (
    ARRAY,
    BOOL,
    F32,
    FLOAT32,
    I32,
    STRING,
    U16,
    U32,
    U64,
    Array,
    GgufFile,
    Shape,
    Tensor,
    llama_file,
)

BASE = llama_file(shape=Shape(dim=32, blocks=1, heads=2, kv_heads=1, feed_forward=32))
HUGE = (1 << 63, (1 << 64) - 1, 1 << 62, 1 << 40)


def refusal(data: bytes | GgufFile, tmp_path: Path, within: float = 1.0) -> str:
    """The text of the refusal, which must come soon."""
    path = tmp_path / "hostile.gguf"
    path.write_bytes(data if isinstance(data, bytes) else data.to_bytes())
    start = time.perf_counter()
    with pytest.raises(BadModel) as caught:
        check_file(path)
    assert time.perf_counter() - start < within
    return str(caught.value)


def with_tensor(index: int, **changes: object) -> GgufFile:
    tensors = list(BASE.tensors)
    tensors[index] = replace(tensors[index], **changes)  # type: ignore[arg-type]
    return replace(BASE, tensors=tuple(tensors))


def test_the_base_of_all_hostile_files_is_sound(tmp_path: Path) -> None:
    path = BASE.write(tmp_path / "sound.gguf")
    assert check_file(path).architecture == "llama"


def test_the_message_says_what_why_and_what_to_do(tmp_path: Path) -> None:
    text = refusal(BASE.to_bytes()[:-100], tmp_path)
    assert text.startswith("hostile.gguf is not a usable model: it is cut off: ")
    assert text.endswith("Download it again, or take it from another source.")


def test_a_53_byte_file_with_an_endless_array_is_refused_at_once(tmp_path: Path) -> None:
    head = b"GGUF" + struct.pack("<IQQ", 3, 0, 1)
    data = head + struct.pack("<Q", 1) + b"a" + struct.pack("<IIQ", ARRAY, U32, 1 << 60)
    data += b"\0" * (53 - len(data))
    assert len(data) == 53
    assert "entries" in refusal(data, tmp_path, within=0.1)


@pytest.mark.parametrize("cut", [0, 1, 3, 4, 7, 8, 15, 16, 23, 24, 31, 40, 100, 1000, 17000, -1])
def test_a_file_cut_anywhere_is_refused(tmp_path: Path, cut: int) -> None:
    assert refusal(BASE.to_bytes()[:cut], tmp_path)


@pytest.mark.parametrize("lie", HUGE)
@pytest.mark.parametrize("field", ["tensors_claimed", "metadata_claimed"])
def test_a_lying_count_is_refused(tmp_path: Path, field: str, lie: int) -> None:
    lying = replace(BASE, **{field: lie})  # type: ignore[arg-type]
    assert "claims" in refusal(lying, tmp_path)


@pytest.mark.parametrize("lie", HUGE)
@pytest.mark.parametrize("item", [STRING, U32, F32, BOOL, U64])
def test_a_lying_array_is_refused(tmp_path: Path, item: int, lie: int) -> None:
    assert refusal(BASE.with_value("x.y", ARRAY, Array(item, [], claimed=lie)), tmp_path)


@pytest.mark.parametrize("lie", HUGE)
def test_a_lying_string_is_refused(tmp_path: Path, lie: int) -> None:
    text = struct.pack("<Q", lie) + b"abc"
    head = b"GGUF" + struct.pack("<IQQ", 3, 0, 1)
    assert "claims" in refusal(head + text, tmp_path)
    value = struct.pack("<Q", 1) + b"a" + struct.pack("<I", STRING) + text
    assert "claims" in refusal(head + value, tmp_path)
    inside = struct.pack("<Q", 1) + b"a" + struct.pack("<IIQ", ARRAY, STRING, 2) + text
    assert "claims" in refusal(head + inside, tmp_path)


def test_millions_of_empty_strings_take_no_time(tmp_path: Path) -> None:
    data = b"GGUF" + struct.pack("<IQQ", 3, 0, 1)
    data += struct.pack("<Q", 1) + b"a" + struct.pack("<IIQ", ARRAY, STRING, 5_000_000)
    assert "strings" in refusal(data + b"\0" * 40_000_000, tmp_path)


def test_tokens_that_are_empty_are_not_the_same(tmp_path: Path) -> None:
    tokens = Array(STRING, [*TOKENS[:-2], "", "\0x"])
    path = BASE.with_value("tokenizer.ggml.tokens", ARRAY, tokens).write(tmp_path / "e.gguf")
    assert check_file(path).vocabulary == 677
    named = Array(STRING, [*TOKENS[:-2], "[EMPTY_676]", ""])
    assert "twice" in refusal(BASE.with_value("tokenizer.ggml.tokens", ARRAY, named), tmp_path)


def test_arrays_of_arrays_are_refused(tmp_path: Path) -> None:
    nested = Array(ARRAY, [Array(ARRAY, [Array(U32, [1])])])
    assert "array of arrays" in refusal(BASE.with_value("x.y", ARRAY, nested), tmp_path)


TOKENS = [f"t{number}" for number in range(677)]
NUL_TOKENS = [*TOKENS[:-1], "t0\0x"]  # as long as the embedding, and the last begins like the first
VALUES: list[tuple[str, str, int, object]] = [
    ("no number", "x.y", F32, float("nan")),
    ("endless number", "llama.rope.freq_base", F32, float("inf")),
    ("no truth", "x.y", BOOL, b"\x02"),
    ("unknown type", "x.y", 13, b""),
    ("unknown item type", "x.y", ARRAY, Array(99, [])),
    ("alignment 0", "general.alignment", U32, 0),
    ("alignment 3", "general.alignment", U32, 48),
    ("alignment 2^31", "general.alignment", U32, 1 << 31),
    ("alignment is text", "general.alignment", STRING, "32"),
    ("architecture is a number", "general.architecture", U32, 1),
    ("architecture is no name", "general.architecture", STRING, "../../etc"),
    ("architecture is empty", "general.architecture", STRING, ""),
    ("no layers", "llama.block_count", U32, 0),
    ("too many layers", "llama.block_count", U32, 1 << 30),
    ("fewer layers than tensors say", "llama.block_count", I32, -1),
    ("layers are text", "llama.block_count", STRING, "4"),
    ("no context", "llama.context_length", U32, 0),
    ("context is true", "llama.context_length", BOOL, True),
    ("no width", "llama.embedding_length", U32, 0),
    ("another width", "llama.embedding_length", U32, 64),
    ("heads do not divide", "llama.attention.head_count_kv", U32, 3),
    ("heads of too few layers", "llama.attention.head_count_kv", ARRAY, Array(I32, [])),
    ("negative heads", "llama.attention.head_count_kv", ARRAY, Array(I32, [-1])),
    ("too many layers of heads", "llama.attention.head_count", ARRAY, Array(I32, [1] * 2000)),
    ("tokens are numbers", "tokenizer.ggml.tokens", ARRAY, Array(U32, [1])),
    ("tokens are a text", "tokenizer.ggml.tokens", STRING, "abc"),
    ("no tokens", "tokenizer.ggml.tokens", ARRAY, Array(STRING, [])),
    ("a token twice", "tokenizer.ggml.tokens", ARRAY, Array(STRING, ["a"] * 677)),
    ("tokens that differ behind a zero", "tokenizer.ggml.tokens", ARRAY, Array(STRING, NUL_TOKENS)),
    ("too few tokens for the tokenizer", "tokenizer.ggml.tokens", ARRAY, Array(STRING, ["a", "b"])),
    ("more experts used than there are", "llama.expert_used_count", U32, 2),
    ("experts of which none is used", "llama.expert_count", U32, 8),
    (
        "fewer tokens than rows",
        "tokenizer.ggml.tokens",
        ARRAY,
        Array(STRING, list("abcdefghijklmn")),
    ),
    ("too few scores", "tokenizer.ggml.scores", ARRAY, Array(F32, [1.0])),
    ("scores are whole numbers", "tokenizer.ggml.scores", ARRAY, Array(I32, [1] * 677)),
    ("a score is no number", "tokenizer.ggml.scores", ARRAY, Array(F32, [0.0, float("nan")])),
    ("too few token types", "tokenizer.ggml.token_type", ARRAY, Array(I32, [1])),
    ("merges are numbers", "tokenizer.ggml.merges", ARRAY, Array(U32, [1])),
    ("end token is none", "tokenizer.ggml.eos_token_id", U32, 677),
    ("end token is text", "tokenizer.ggml.eos_token_id", STRING, "end"),
    ("template is a number", "tokenizer.chat_template", U32, 1),
    ("part 5 of 3", "split.count", U16, 3),
]


@pytest.mark.parametrize(
    ("key", "kind", "value"), [v[1:] for v in VALUES], ids=[v[0] for v in VALUES]
)
def test_a_senseless_value_is_refused(tmp_path: Path, key: str, kind: int, value: object) -> None:
    file = BASE.with_value("split.no", U16, 5) if key == "split.count" else BASE
    assert refusal(file.with_value(key, kind, value), tmp_path)


TENSORS: list[tuple[str, int, dict[str, object], str]] = [
    ("no dimensions", 0, {"dims": ()}, "dimensions"),
    ("five dimensions", 0, {"dims": (32, 677, 1, 1, 1)}, "dimensions"),
    ("a length of 0", 0, {"dims": (32, 0)}, "shape"),
    ("a length of 2^63", 0, {"dims": (1 << 63, 2)}, "shape"),
    ("a product beyond 64 bits", 0, {"dims": (1 << 32, 1 << 32)}, "shape"),
    ("half a block", 0, {"dims": (33, 677)}, "blocks"),
    ("unknown type", 0, {"type": 200}, "type"),
    ("removed type", 0, {"type": 4}, "type"),
    ("not aligned", 1, {"offset": 1}, "multiple"),
    ("overlap", 1, {"offset": 0}, "overlaps"),
    ("beyond the file", -1, {"offset": 1 << 40}, "gap"),
    ("offset that wraps", -1, {"offset": (1 << 64) - 32}, "gap"),
    ("longer than the file", -1, {"dims": (32, 1 << 30)}, "cut off"),
    ("twice", 1, {"name": "token_embd.weight"}, "twice"),
    ("no name", 1, {"name": ""}, "name"),
    ("a long name", 1, {"name": "n" * 64}, "name"),
    ("a name that clears the screen", 1, {"name": "\x1b[2J"}, "name"),
    ("of no layer", -1, {"name": "blk.7.ffn_down.weight"}, "layers"),
    ("an embedding that is no table", 0, {"dims": (32 * 677,)}, "table"),
]


@pytest.mark.parametrize(
    ("index", "changes", "word"), [t[1:] for t in TENSORS], ids=[t[0] for t in TENSORS]
)
def test_a_senseless_tensor_is_refused(
    tmp_path: Path, index: int, changes: dict[str, object], word: str
) -> None:
    text = refusal(with_tensor(index, **changes), tmp_path)
    assert word in text
    assert text.isprintable()


def test_doubled_and_unprintable_keys_are_refused(tmp_path: Path) -> None:
    twice = replace(BASE, metadata=(*BASE.metadata, ("general.name", STRING, "again")))
    assert "twice" in refusal(twice, tmp_path)
    for key in (b"", b"\xff\xfe", b"a\x1b[2Jb", b"k" * 2000):
        strange = replace(BASE, metadata=(*BASE.metadata, (key, U32, 1)))
        assert "key" in refusal(strange, tmp_path)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda file: replace(file, version=1), "version 1"),
        (lambda file: replace(file, version=4), "version 4"),
        (lambda file: replace(file, version=0), "version 0"),
        (lambda file: replace(file, version=0x03000000), "big-endian"),
        (lambda file: replace(file, tensors=()), "no weights"),
        (lambda file: file.without("general.architecture"), "architecture"),
    ],
)
def test_a_file_that_cannot_be_served_is_refused(
    tmp_path: Path, change: Callable[[GgufFile], GgufFile], word: str
) -> None:
    assert word in refusal(change(BASE), tmp_path)


def test_many_tensors_are_checked_in_linear_time(tmp_path: Path) -> None:
    extra = tuple(Tensor(f"t{number}", (1,), FLOAT32, b"\0" * 4) for number in range(60_000))
    file = replace(BASE, tensors=(*BASE.tensors, *extra))
    path = file.write(tmp_path / "many.gguf")
    start = time.perf_counter()
    check_file(path)
    assert time.perf_counter() - start < 5
