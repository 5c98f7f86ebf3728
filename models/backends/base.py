"""What a backend is: the seam between the scheduler and whatever computes.

A text backend computes one step at a time over a fixed number of slots (independent sequences).
It knows nothing of jobs, queues or stop strings; the scheduler knows nothing of llama.cpp.
Backends are called from one thread only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

from protocols.jobs import FailureCode, Sampling

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Vector: TypeAlias = NDArray[np.float32]


class LoadError(Exception):
    """The model could not be loaded; the message says why and what to do."""

    def __init__(self, message: str, *, out_of_memory: bool = False) -> None:
        super().__init__(message)
        self.out_of_memory = out_of_memory


class RequestError(Exception):
    """This one request cannot be done; the others go on."""

    def __init__(self, code: FailureCode, message: str, *, retry: bool = False) -> None:
        super().__init__(message)
        self.code: FailureCode = code
        self.retry = retry


class StepError(Exception):
    """A step could not be computed. The state of every slot in it is unknown afterwards."""


@dataclass(frozen=True, slots=True)
class Info:
    """What was loaded."""

    build: str  # names the code that computes
    context: int  # tokens of one sequence
    slots: int
    memory_bytes: int
    file_bytes: int = 0  # the first guess at speed, before anything was measured
    temperature: float | None = None  # what the model's maker recommends


class Part(NamedTuple):
    """Tokens of one slot in one step: `tokens` go to positions `start`, `start + 1`, ..."""

    slot: int
    start: int
    tokens: Sequence[int]
    choose: bool  # choose the token that follows them


class Logprob(NamedTuple):
    """Natural logarithms of what the model thought, before temperature and truncation."""

    chosen: float
    top: tuple[tuple[int, float], ...]


class Choice(NamedTuple):
    """The token chosen for a slot; None when the grammar leaves none."""

    token: int | None
    logprob: Logprob | None = None


@dataclass(frozen=True, slots=True)
class ChatFormat:
    """What is needed to make a prompt of messages."""

    template: str | None  # None: the model has none
    bos: str = ""
    eos: str = ""


class StepBackend(Protocol):
    """A model that continues text."""

    @property
    def info(self) -> Info: ...

    @property
    def max_rows(self) -> int:
        """The most tokens that one step takes, over all slots."""

    @property
    def chat_format(self) -> ChatFormat: ...

    def tokenize(self, text: str, *, special: bool, start: bool) -> list[int]:
        """The tokens of a text. `special`: read control tokens; `start`: add what opens a text."""

    def valid(self, token: int) -> bool:
        """Whether the model has this token."""

    def piece(self, token: int) -> bytes:
        """The bytes that a token stands for; control tokens stand for none."""

    def is_end(self, token: int) -> bool:
        """Whether this token ends an answer."""

    def control_texts(self) -> frozenset[str]:
        """The texts that would be read as control tokens."""

    def begin(self, slot: int, sampling: Sampling, seed: int) -> None:
        """Choose this slot's tokens so from now on. `RequestError` when that cannot be."""

    def end(self, slot: int) -> None:
        """Forget how this slot's tokens are chosen; the computed state stays."""

    def keep(self, slot: int, tokens: int) -> int:
        """Forget the slot's state after this many tokens; returns how many are really left."""

    def step(self, parts: Sequence[Part]) -> list[Choice]:
        """Compute all parts; the choices in the order of the parts that asked for one.

        Raises StepError when nothing can be trusted any more about the slots in it."""

    def close(self) -> None: ...


class Embedder(Protocol):
    """A model that turns texts into vectors."""

    @property
    def info(self) -> Info: ...

    @property
    def dimensions(self) -> int: ...

    @property
    def max_rows(self) -> int:
        """The most tokens of one batch, over all texts."""

    @property
    def max_texts(self) -> int:
        """The most texts of one batch."""

    def encode(self, text: str) -> tuple[list[int], bool]:
        """The tokens of a text, and whether it was cut to the longest that the model reads."""

    def embed(self, batch: Sequence[Sequence[int]]) -> list[Vector]:
        """One pooled vector for each list of tokens, not normalised. Raises StepError."""

    def close(self) -> None: ...
