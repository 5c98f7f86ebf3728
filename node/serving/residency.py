"""Which models may stay in memory: pure decisions over numbers; `workers` carries them out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from protocols.limits import GIB, MIB

BUDGET_SHARE = 0.75  # of the machine's memory, unless the settings say a number
_UNKNOWN = 2**60  # more than any machine has


@dataclass(frozen=True)
class Resident:
    """One model that is loaded or being loaded."""

    key: str
    bytes: int
    idle: bool  # no job wants it
    used_at: float


@dataclass(frozen=True)
class MachineMemory:
    """Bytes; a total of 0 means that the machine does not say, and nothing is held against it."""

    total: int
    available: int


@dataclass(frozen=True)
class Room:
    """What to do to fit one more model. `short` is how many bytes are missing even then."""

    unload: tuple[str, ...]
    short: int = 0
    waiting_may_help: bool = False  # enough is held by models that are busy now

    @property
    def fits(self) -> bool:
        return self.short == 0


def budget(configured: int, total: int) -> int:
    """Bytes for all models together."""
    return configured or int(total * BUDGET_SHARE) or _UNKNOWN


def reserve(total: int) -> int:
    """Bytes of available memory that are left to everything else on the machine."""
    return min(GIB, max(256 * MIB, total // 20))


def spare(memory: MachineMemory) -> int:
    """Bytes that models may still take on this machine; negative when it runs short."""
    return memory.available - reserve(memory.total) if memory.total else _UNKNOWN


def make_room(
    needed: int, residents: Sequence[Resident], memory: MachineMemory, budget_bytes: int
) -> Room:
    """Idle models to unload, least recently used first, until `needed` bytes fit."""
    free = min(
        budget_bytes - sum(each.bytes for each in residents),
        spare(memory),
    )
    unload: list[str] = []
    for each in idle_first(residents):
        if free >= needed:
            break
        unload.append(each.key)
        free += each.bytes
    if free >= needed:
        return Room(tuple(unload))
    busy = sum(each.bytes for each in residents if not each.idle)
    return Room((), short=needed - free, waiting_may_help=free + busy >= needed)


def relieve(residents: Sequence[Resident], memory: MachineMemory) -> tuple[str, ...]:
    """Idle models to unload because the machine runs short of memory."""
    short = -spare(memory)
    unload: list[str] = []
    for each in idle_first(residents):
        if short <= 0:
            break
        unload.append(each.key)
        short -= each.bytes
    return tuple(unload)


def outstayed(residents: Sequence[Resident], now: float, idle_s: float) -> tuple[str, ...]:
    """Models that nobody used for `idle_s` seconds; 0 means that they may stay."""
    if idle_s <= 0:
        return ()
    return tuple(each.key for each in idle_first(residents) if now - each.used_at >= idle_s)


def idle_first(residents: Sequence[Resident]) -> list[Resident]:
    return sorted((each for each in residents if each.idle), key=lambda each: each.used_at)
