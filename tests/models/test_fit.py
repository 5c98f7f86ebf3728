"""Estimates of memory, and the answer to whether a model fits."""

import msgspec
import pytest

from models.facts import ModelFacts
from models.fit import MemoryNeed, estimate, fits, size_text
from models.hardware import Hardware

GB = 10**9
# The shape of a model of 7 billion parameters with grouped heads: 32 layers of 8 x (128 + 128).
FACTS = ModelFacts(
    kind="gguf",
    size_bytes=4 * GB,
    embedding_length=4096,
    block_count=32,
    kv_width=32 * 8 * 256,
    vocabulary=32_000,
)


def machine(total: int, free: int) -> Hardware:
    return Hardware(
        cpu_name="x",
        cpu_flags=(),
        physical_cores=4,
        logical_cores=8,
        cpu_quota=None,
        memory_total=total,
        memory_available=free,
        on_battery=None,
        gpus=(),
    )


def test_the_cache_grows_with_context_sequences_and_precision() -> None:
    need = estimate(FACTS, context=8192)
    assert need.weights == 4 * GB
    assert need.kv == 1 << 30  # what such a model takes for 8,192 tokens in half precision
    assert estimate(FACTS, context=8192, sequences=4).kv == 4 << 30
    assert estimate(FACTS, context=8192, kv_bytes=1.0625).kv == int((1 << 29) * 1.0625)
    assert need.total == need.weights + need.kv + need.compute
    assert 0 < need.compute < GB


def test_embedding_models_keep_no_context() -> None:
    embedder = msgspec.structs.replace(FACTS, embedding=True)
    assert estimate(embedder, context=512).kv == 0
    assert estimate(msgspec.structs.replace(FACTS, kind="onnx"), context=512).kv == 0


def test_unknown_heads_are_counted_in_full() -> None:
    unknown = msgspec.structs.replace(FACTS, kv_width=None)
    assert estimate(unknown, context=100).kv == 2 * 4096 * 32 * 2 * 100
    assert estimate(ModelFacts(kind="gguf", size_bytes=5), context=100).kv == 0


@pytest.mark.parametrize(("context", "sequences", "kv"), [(0, 1, 2.0), (1, 0, 2.0), (1, 1, 0.0)])
def test_sizes_that_are_not_positive_are_refused(context: int, sequences: int, kv: float) -> None:
    with pytest.raises(ValueError, match="positive"):
        estimate(FACTS, context=context, sequences=sequences, kv_bytes=kv)


@pytest.mark.parametrize(
    ("total", "free", "answer", "word"),
    [
        (32 * GB, 20 * GB, "yes", "20.0 GB of 32.0 GB are free"),
        (32 * GB, 11 * GB, "tight", "slow"),
        (32 * GB, 5 * GB, "no", "Close other programs"),
        (9 * GB, 9 * GB, "no", "smaller model"),
        (0, 0, "tight", "not known"),
    ],
)
def test_the_answer_comes_with_its_reason(total: int, free: int, answer: str, word: str) -> None:
    fit = fits(MemoryNeed(8 * GB, GB, GB), machine(total, free))
    assert fit.answer == answer
    assert fit.reason.startswith("It needs about 10.0 GB")
    assert fit.reason.endswith(".")
    assert word in fit.reason


def test_a_long_context_is_named_as_the_cause() -> None:
    assert "shorter context" in fits(MemoryNeed(GB, 50 * GB, GB), machine(8 * GB, 7 * GB)).reason


def test_sizes_read_well() -> None:
    sizes = [12, 1500, 950_000_000, 1_500_000_000, 123 * GB, 999_999_999]
    expected = ["12 bytes", "1.5 kB", "950 MB", "1.5 GB", "123 GB", "1.0 GB"]
    assert [size_text(size) for size in sizes] == expected
