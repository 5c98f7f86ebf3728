"""Which target gets a job: pure, from what is known now; the answer says why. Today targets are local."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_LOAD_COST = 1.0  # a model that is not loaded counts like a full queue


@dataclass(frozen=True)
class Candidate:
    """A target that could run the job, and what speaks for or against it."""

    name: str
    loaded: bool
    running: int
    waiting: int
    places: int
    excluded: str = ""  # why it cannot be chosen, in a word or a few

    @property
    def score(self) -> float:
        """Less is better: how full it is, and whether the model must be loaded first."""
        fullness = (self.running + self.waiting) / max(1, self.places)
        return fullness + (0.0 if self.loaded else _LOAD_COST)


@dataclass(frozen=True)
class Choice:
    """The chosen candidate, or None; `considered` is what the event log keeps of all of them."""

    chosen: Candidate | None
    considered: tuple[dict[str, object], ...]


def choose(candidates: Sequence[Candidate]) -> Choice:
    """The best one that is not excluded; the earlier one where two are as good."""
    able = [each for each in candidates if not each.excluded]
    chosen = min(able, key=lambda each: each.score, default=None)
    return Choice(chosen, tuple(_told(each) for each in candidates))


def _told(candidate: Candidate) -> dict[str, object]:
    told: dict[str, object] = {
        "target": candidate.name,
        "loaded": candidate.loaded,
        "running": candidate.running,
        "waiting": candidate.waiting,
        "score": round(candidate.score, 3),
    }
    if candidate.excluded:
        told["excluded"] = candidate.excluded
    return told
