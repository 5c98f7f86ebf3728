"""What is computed in each slot of a backend, and which slot suits a new prompt best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(slots=True)
class Slot:
    """One sequence of the backend. Its state stays after a request, for the next that begins alike."""

    index: int
    kv: list[int] = field(default_factory=list)  # the tokens that are computed
    scope: str = ""
    busy: bool = False
    used: float = 0.0

    def shared(self, tokens: list[int], scope: str) -> int:
        """How many tokens at the beginning of a prompt are computed here already, for this scope."""
        return common_prefix(self.kv, tokens) if self.scope == scope else 0


def best_slot(slots: Sequence[Slot], tokens: list[int], scope: str) -> Slot | None:
    """The free slot that shares most with the prompt, else the one unused for longest."""
    free = [slot for slot in slots if not slot.busy]
    if not free:
        return None
    return max(free, key=lambda slot: (slot.shared(tokens, scope), -slot.used))


def common_prefix(one: list[int], other: list[int]) -> int:
    """The length of the longest common beginning, by bisection over comparisons of slices."""
    high = min(len(one), len(other))
    if one[:high] == other[:high]:
        return high
    low = 0
    while low < high - 1:
        middle = (low + high) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle
    return low
