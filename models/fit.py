"""How much memory a model needs, and whether this machine has it."""

from typing import Final, Literal, NamedTuple

import msgspec

from models.facts import ModelFacts
from models.hardware import Hardware

F16_BYTES: Final = 2.0
_BATCH: Final = 512  # tokens that are computed at once
_MASK_BYTES: Final = 2  # per token of a batch and of context: who may look at whom
_WIDTHS: Final = 16  # intermediate results per token, in embedding lengths, all alive at once
_PROCESS_BYTES: Final = 64 << 20  # the interpreter and the native library
_COMFORT: Final = 0.85  # share of the free memory that may be taken without a warning

Answer = Literal["yes", "tight", "no"]


class MemoryNeed(msgspec.Struct, frozen=True):
    """An estimate in bytes."""

    weights: int
    kv: int
    compute: int

    @property
    def total(self) -> int:
        """All of it together."""
        return self.weights + self.kv + self.compute


class Fit(NamedTuple):
    """Whether a model fits, and a sentence that says why."""

    answer: Answer
    reason: str


def estimate(
    facts: ModelFacts, *, context: int, sequences: int = 1, kv_bytes: float = F16_BYTES
) -> MemoryNeed:
    """Memory for `sequences` conversations of `context` tokens each.

    `kv_bytes` is the size of one number in the key-value cache: 2 for F16, 1.0625 for Q8_0.
    An upper bound for models that keep less (sliding windows, recurrent layers).
    Raises ValueError for sizes that are not positive.
    """
    if context < 1 or sequences < 1 or kv_bytes <= 0:
        raise ValueError("context, sequences and kv_bytes must be positive")
    tokens = context * sequences
    width = facts.embedding_length or 0
    kv_width = facts.kv_width
    if kv_width is None:
        kv_width = 2 * width * (facts.block_count or 0)
    keeps_context = facts.kind == "gguf" and not facts.embedding
    kv = int(kv_width * kv_bytes * tokens) if keeps_context else 0
    batch = min(_BATCH, tokens)
    per_token = ((facts.vocabulary or 0) + _WIDTHS * width) * 4 + _MASK_BYTES * tokens
    return MemoryNeed(facts.size_bytes, kv, batch * per_token + _PROCESS_BYTES)


def fits(need: MemoryNeed, hardware: Hardware) -> Fit:
    """Hold a need against this machine's memory."""
    total, free = hardware.memory_total, hardware.memory_available
    wanted = f"It needs about {size_text(need.total)}"
    if total <= 0:
        return Fit("tight", f"{wanted}; how much memory this machine has is not known.")
    if need.total > total:
        advice = "Take a smaller model or a stronger quantisation"
        if need.weights < total * _COMFORT:
            advice = "Choose a shorter context"
        return Fit("no", f"{wanted}, and this machine has {size_text(total)}. {advice}.")
    here = f"{size_text(free)} of {size_text(total)} are free"
    if need.total > free:
        return Fit("no", f"{wanted}, and {here}. Close other programs or unload another model.")
    if need.total > free * _COMFORT:
        return Fit("tight", f"{wanted}, and {here}: the machine may become slow.")
    return Fit("yes", f"{wanted}, and {here}.")


def size_text(count: int) -> str:
    """Bytes as a person reads them: 1.5 GB, 940 MB."""
    for unit, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if count >= unit * 0.9995:
            value = count / unit
            return f"{value:.0f} {name}" if value >= 99.95 else f"{value:.1f} {name}"
    return f"{count} bytes"
