"""Writes GGUF files for tests: whole ones that llama.cpp loads, and broken ones.

`tiny_llama(path)` is the short way to a model; `GgufFile` gives every byte into the test's hands,
so that a hostile file is a valid one with one thing changed. Seeded: the same call, the same bytes.
"""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.support.gguf_vocab import CHATML, QUIET_ROWS, Vocabulary, small_vocabulary

U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 = range(13)
FLOAT32, FLOAT16, Q8_0 = 0, 1, 8
_FORMATS = {
    U8: "B", I8: "b", U16: "H", I16: "h", U32: "I", I32: "i", F32: "f", BOOL: "?", U64: "Q",
    I64: "q", F64: "d",
}  # fmt: skip

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Array:
    """An array value: the element type, the elements, and the count to claim (None: the truth)."""

    element_type: int
    items: Sequence[object]
    claimed: int | None = None


@dataclass(frozen=True)
class Tensor:
    """A tensor as written: `dims` in GGUF order (fastest first), offset None = placed in turn."""

    name: str
    dims: tuple[int, ...]
    type: int
    data: bytes
    offset: int | None = None


@dataclass(frozen=True)
class GgufFile:
    """Everything in a GGUF file. `*_claimed` overrides a count, to write a lie."""

    metadata: tuple[tuple[str | bytes, int, object], ...]
    tensors: tuple[Tensor, ...]
    version: int = 3
    magic: bytes = b"GGUF"
    alignment: int = 32
    tensors_claimed: int | None = None
    metadata_claimed: int | None = None
    trailer: bytes = field(default=b"", repr=False)

    def with_value(self, key: str, value_type: int, value: object) -> "GgufFile":
        """The same file with one metadata value set or added."""
        kept = tuple(entry for entry in self.metadata if entry[0] != key)
        return replace(self, metadata=(*kept, (key, value_type, value)))

    def without(self, key: str) -> "GgufFile":
        """The same file without one metadata key."""
        return replace(self, metadata=tuple(entry for entry in self.metadata if entry[0] != key))

    def value(self, key: str) -> object:
        """The value of a metadata key; KeyError when it is not there."""
        return {str(entry[0]): entry[2] for entry in self.metadata}[key]

    def to_bytes(self) -> bytes:
        """The file's bytes."""
        head = bytearray(self.magic)
        tensors = len(self.tensors) if self.tensors_claimed is None else self.tensors_claimed
        entries = len(self.metadata) if self.metadata_claimed is None else self.metadata_claimed
        head += struct.pack("<IQQ", self.version, tensors, entries)
        for key, value_type, value in self.metadata:
            head += pack_string(key) + struct.pack("<I", value_type) + pack(value_type, value)
        infos, data = self._pack_tensors()
        head += infos
        head += b"\0" * (-len(head) % self.alignment)
        return bytes(head + data + self.trailer)

    def _pack_tensors(self) -> tuple[bytes, bytes]:
        infos, data = bytearray(), bytearray()
        for tensor in self.tensors:
            offset = len(data) if tensor.offset is None else tensor.offset
            infos += pack_string(tensor.name)
            infos += struct.pack(f"<I{len(tensor.dims)}Q", len(tensor.dims), *tensor.dims)
            infos += struct.pack("<IQ", tensor.type, offset)
            data += tensor.data
            data += b"\0" * (-len(data) % self.alignment)
        return bytes(infos), bytes(data)

    def write(self, path: Path) -> Path:
        """Write the file and return its path."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.to_bytes())
        return path


@dataclass(frozen=True)
class Shape:
    """The size of the random model; the defaults make about 1 MB as Q8_0."""

    dim: int = 128
    blocks: int = 4
    heads: int = 4
    kv_heads: int = 2
    feed_forward: int = 384
    context: int = 8192


def pack_string(text: str | bytes) -> bytes:
    """A GGUF string: its length, then its bytes."""
    raw = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(raw)) + raw


def pack(value_type: int, value: object) -> bytes:
    """One metadata value; raw bytes pass unchanged for every type but a string."""
    if value_type == STRING:
        assert isinstance(value, str | bytes)
        return pack_string(value)
    if isinstance(value, bytes):
        return value
    if isinstance(value, Array):
        count = len(value.items) if value.claimed is None else value.claimed
        head = struct.pack("<IQ", value.element_type, count)
        return head + b"".join(pack(value.element_type, item) for item in value.items)
    return struct.pack("<" + _FORMATS[value_type], value)


def quantise_q8_0(values: Floats) -> bytes:
    """Blocks of 32 values as one half-float scale and 32 signed bytes."""
    blocks = values.reshape(-1, 32)
    scale = np.abs(blocks).max(axis=1, keepdims=True) / 127
    safe = np.where(scale == 0, 1, scale)
    out = np.zeros(len(blocks), dtype=[("scale", "<f2"), ("values", "i1", 32)])
    out["scale"] = scale[:, 0]
    out["values"] = np.rint(blocks / safe)
    return out.tobytes()


def encode(name: str, values: Floats, tensor_type: int) -> Tensor:
    """A tensor of this type from a matrix or vector of floats."""
    dims = tuple(reversed(values.shape))
    if tensor_type == Q8_0:
        return Tensor(name, dims, Q8_0, quantise_q8_0(values))
    dtype = "<f2" if tensor_type == FLOAT16 else "<f4"
    return Tensor(name, dims, tensor_type, values.astype(dtype).tobytes())


def llama_file(
    *, shape: Shape | None = None, seed: int = 0, tensor_type: int = Q8_0, readable: bool = True
) -> GgufFile:
    """A random llama model as a `GgufFile`.

    With `readable`, control tokens and bytes other than printable ASCII get small output scores,
    so that greedy text is readable and does not stop by itself; without it, both happen often.
    """
    shape, vocabulary = shape or Shape(), small_vocabulary()
    metadata = (*_hyper_parameters(shape, len(vocabulary.tokens)), *_tokenizer(vocabulary))
    tensors = _weights(shape, vocabulary, np.random.default_rng(seed), tensor_type, readable)
    return GgufFile(metadata, tensors)


def tiny_llama(path: Path, *, context: int = 8192, seed: int = 0, readable: bool = True) -> Path:
    """Write a random llama model of about 1 MB (Q8_0, ChatML template) and return its path."""
    return llama_file(shape=Shape(context=context), seed=seed, readable=readable).write(path)


def split(file: GgufFile, folder: Path, stem: str, count: int) -> list[Path]:
    """Write a file in `count` parts in the way of llama.cpp's split tool; returns the paths."""
    total = len(file.tensors)
    paths = []
    for number in range(count):
        tensors = file.tensors[number * total // count : (number + 1) * total // count]
        metadata = file.metadata if number == 0 else ()
        part = replace(file, metadata=metadata, tensors=tensors)
        part = part.with_value("split.no", U16, number).with_value("split.count", U16, count)
        part = part.with_value("split.tensors.count", I32, total)
        paths.append(part.write(folder / f"{stem}-{number + 1:05d}-of-{count:05d}.gguf"))
    return paths


def _hyper_parameters(shape: Shape, tokens: int) -> tuple[tuple[str, int, object], ...]:
    return (
        ("general.architecture", STRING, "llama"),
        ("general.name", STRING, "random-tiny"),
        ("general.license", STRING, "apache-2.0"),
        ("general.file_type", U32, 7),
        ("llama.context_length", U32, shape.context),
        ("llama.embedding_length", U32, shape.dim),
        ("llama.block_count", U32, shape.blocks),
        ("llama.feed_forward_length", U32, shape.feed_forward),
        ("llama.attention.head_count", U32, shape.heads),
        ("llama.attention.head_count_kv", U32, shape.kv_heads),
        ("llama.attention.layer_norm_rms_epsilon", F32, 1e-5),
        ("llama.rope.dimension_count", U32, shape.dim // shape.heads),
        ("llama.rope.freq_base", F32, 10000.0),
        ("llama.vocab_size", U32, tokens),
    )


def _tokenizer(vocabulary: Vocabulary) -> tuple[tuple[str, int, object], ...]:
    return (
        ("tokenizer.ggml.model", STRING, "gpt2"),
        ("tokenizer.ggml.pre", STRING, "gpt-2"),
        ("tokenizer.ggml.tokens", ARRAY, Array(STRING, vocabulary.tokens)),
        ("tokenizer.ggml.token_type", ARRAY, Array(I32, vocabulary.types)),
        ("tokenizer.ggml.merges", ARRAY, Array(STRING, vocabulary.merges)),
        ("tokenizer.ggml.bos_token_id", U32, 0),
        ("tokenizer.ggml.eos_token_id", U32, 2),
        ("tokenizer.ggml.padding_token_id", U32, 0),
        ("tokenizer.ggml.add_bos_token", BOOL, False),
        ("tokenizer.chat_template", STRING, CHATML),
    )


def _weights(
    shape: Shape, vocabulary: Vocabulary, rng: np.random.Generator, kind: int, readable: bool
) -> tuple[Tensor, ...]:
    def matrix(rows: int, columns: int) -> Floats:
        return rng.standard_normal((rows, columns), dtype=np.float32) * np.float32(columns**-0.5)

    dim, ff, kv = shape.dim, shape.feed_forward, shape.dim // shape.heads * shape.kv_heads
    embedding = matrix(len(vocabulary.tokens), dim)
    if readable:
        embedding[QUIET_ROWS] *= np.float32(0.05)
    ones = np.ones(dim, dtype=np.float32)
    out = [encode("token_embd.weight", embedding, kind), encode("output_norm.weight", ones, 0)]
    sizes: Mapping[str, tuple[int, int]] = {
        "attn_q": (dim, dim), "attn_k": (kv, dim), "attn_v": (kv, dim), "attn_output": (dim, dim),
        "ffn_gate": (ff, dim), "ffn_up": (ff, dim), "ffn_down": (dim, ff),
    }  # fmt: skip
    for block in range(shape.blocks):
        prefix = f"blk.{block}."
        out += [encode(f"{prefix}{name}_norm.weight", ones, 0) for name in ("attn", "ffn")]
        for name, size in sizes.items():
            out.append(encode(f"{prefix}{name}.weight", matrix(*size), kind))
    return tuple(out)
