"""The GGUF reader on sound files: what it reports, how fast, and that llama.cpp agrees."""

import subprocess
import sys
import time
import tracemalloc
from dataclasses import replace
from pathlib import Path

import pytest

from models.formats import check_file, check_model
from models.gguf import read_header
from tests.support.gguf_maker import (
    ARRAY,
    F32,
    FLOAT16,
    I32,
    STRING,
    U32,
    Array,
    Shape,
    Tensor,
    llama_file,
    split,
    tiny_llama,
)

LOADER = """
import sys, llama_cpp
model = llama_cpp.Llama(sys.argv[1], n_ctx=512, n_threads=1, verbose=False)
out = model("the people", max_tokens=8, temperature=0)
print(model.n_vocab(), model.metadata["llama.context_length"], out["usage"]["completion_tokens"])
"""


def load_natively(path: Path) -> list[str]:
    command = [sys.executable, "-c", LOADER, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.split()


def test_a_sound_file_gives_its_facts(tmp_path: Path) -> None:
    path = tiny_llama(tmp_path / "tiny.gguf", context=4096)
    facts = check_file(path)
    assert facts.kind == "gguf"
    assert facts.name == "random-tiny"
    assert facts.architecture == "llama"
    assert facts.context_length == 4096
    assert (facts.embedding_length, facts.block_count) == (128, 4)
    assert (facts.head_count, facts.head_count_kv, facts.kv_width) == (4, 2, 4 * 2 * 64)
    assert facts.quantisation == "Q8_0"
    assert facts.licence == "apache-2.0"
    assert facts.tokenizer == "gpt2"
    assert facts.chat_template
    assert not facts.embedding
    assert facts.split is None
    assert facts.size_bytes == path.stat().st_size
    assert facts.parameters == sum(tensor.elements for tensor in read_header(path).tensors)
    assert facts.to_json()["architecture"] == "llama"


def test_the_same_seed_writes_the_same_file_and_another_does_not() -> None:
    assert llama_file(seed=1).to_bytes() == llama_file(seed=1).to_bytes()
    assert llama_file(seed=1).to_bytes() != llama_file(seed=2).to_bytes()


def test_version_two_and_other_alignments_are_read(tmp_path: Path) -> None:
    file = replace(llama_file(), version=2, alignment=64)
    path = file.with_value("general.alignment", U32, 64).write(tmp_path / "two.gguf")
    assert read_header(path).alignment == 64


def test_half_floats_are_named(tmp_path: Path) -> None:
    path = llama_file(tensor_type=FLOAT16).write(tmp_path / "half.gguf")
    assert check_file(path).quantisation == "F16"


def test_a_mixed_file_is_named_after_its_largest_part_and_its_file_type(tmp_path: Path) -> None:
    file = llama_file().with_value("general.file_type", U32, 15)
    assert check_file(file.write(tmp_path / "other.gguf")).quantisation == "Q8_0"
    wide = Tensor("blk.3.extra.weight", (256, 65536), 12, b"\0" * (144 * 65536))
    file = type(file)(file.metadata, (*file.tensors, wide))
    assert check_file(file.write(tmp_path / "mixed.gguf")).quantisation == "Q4_K_M"


def test_embedding_models_and_rerankers_are_told_apart(tmp_path: Path) -> None:
    mean = llama_file().with_value("llama.pooling_type", U32, 1).write(tmp_path / "mean.gguf")
    rank = llama_file().with_value("llama.pooling_type", U32, 4).write(tmp_path / "rank.gguf")
    none = llama_file().with_value("llama.pooling_type", U32, 0).write(tmp_path / "none.gguf")
    assert (check_file(mean).embedding, check_file(mean).pooling) == (True, "mean")
    assert (check_file(rank).embedding, check_file(rank).reranker) == (False, True)
    assert not check_file(none).embedding


def test_adapters_and_projectors_are_not_taken_for_models(tmp_path: Path) -> None:
    for kind, role in (("adapter", "adapter"), ("mmproj", "projector"), ("imatrix", "other")):
        path = llama_file().with_value("general.type", STRING, kind).write(tmp_path / kind)
        assert check_file(path).role == role


def test_one_head_count_for_each_layer_is_understood(tmp_path: Path) -> None:
    file = llama_file().with_value("llama.attention.head_count_kv", ARRAY, Array(I32, [2, 0, 1, 1]))
    assert check_file(file.write(tmp_path / "layers.gguf")).kv_width == 4 * 64


def test_experts_may_be_given_for_all_layers_or_for_each(tmp_path: Path) -> None:
    file = llama_file().with_value("llama.expert_count", U32, 8)
    for kind, used in ((U32, 2), (ARRAY, Array(I32, [2, 2, 1, 2]))):
        path = file.with_value("llama.expert_used_count", kind, used).write(tmp_path / "e.gguf")
        assert check_file(path).block_count == 4


def test_texts_in_the_file_cannot_drive_the_terminal(tmp_path: Path) -> None:
    file = llama_file().with_value("general.name", STRING, "a\x1b[2Jb\n" + "c" * 999)
    name = check_file(file.write(tmp_path / "name.gguf")).name
    assert name is not None
    assert name.isprintable()
    assert len(name) == 200


def test_a_large_vocabulary_is_passed_quickly_and_in_little_memory(tmp_path: Path) -> None:
    count = 262_144
    tokens = Array(STRING, [f"token{number}" for number in range(count)])
    file = llama_file().with_value("tokenizer.ggml.tokens", ARRAY, tokens)
    file = file.with_value("tokenizer.ggml.merges", ARRAY, tokens)
    file = file.with_value("tokenizer.ggml.scores", ARRAY, Array(F32, [0.5] * count))
    path = file.write(tmp_path / "large.gguf")
    start = time.perf_counter()
    read_header(path)
    assert time.perf_counter() - start < 3
    tracemalloc.start()
    read_header(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40 << 20


@pytest.mark.native
def test_llama_cpp_loads_what_the_maker_writes(tmp_path: Path) -> None:
    path = tiny_llama(tmp_path / "tiny.gguf", context=2048)
    assert load_natively(path) == ["677", "2048", "8"]


@pytest.mark.native
def test_llama_cpp_loads_a_split_model_that_is_found_whole(tmp_path: Path) -> None:
    paths = split(llama_file(shape=Shape(blocks=2)), tmp_path, "tiny", 3)
    facts = check_model(paths[0])
    assert facts.split == (1, 3)
    assert facts.size_bytes == sum(path.stat().st_size for path in paths)
    assert load_natively(paths[0]) == ["677", "8192", "8"]
