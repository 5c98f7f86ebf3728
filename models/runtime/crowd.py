"""How many threads to compute with while other programs compute too.

The threads of a step wait for each other hundreds of times, and they wait by spinning. With one
thread more than there are free cores, all of them wait for the one that is not running: measured on
two cores, a busy neighbour makes two threads seven times slower than one. A thread less costs little.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from time import monotonic, process_time
from typing import NamedTuple

LOOK_EVERY_S = 0.25
_NEARLY_FREE = 0.65  # of a core that is free is taken for a whole one


class Look(NamedTuple):
    """Seconds since some moment in the past."""

    now: float
    idle: float  # of all cores together
    own: float  # that this process computed


def look() -> Look | None:
    """Idle time from the system; None where it does not say (then nothing adapts)."""
    try:
        with Path("/proc/stat").open() as stat:
            fields = stat.readline().split()
        idle = (int(fields[4]) + int(fields[5])) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return None
    return Look(monotonic(), idle, process_time())


class Crowd:
    """Leaves others the cores that they use."""

    def __init__(self, most: int, look: Callable[[], Look | None] = look) -> None:
        self._most = most
        self._look = look
        self._before = look()
        self._due = monotonic() + LOOK_EVERY_S
        self.threads = most

    def adapt(self) -> bool:
        """Look around, a few times a second at most; whether `threads` is another number now."""
        if self._before is None or self._most == 1 or monotonic() < self._due:
            return False
        self._due = monotonic() + LOOK_EVERY_S
        before, self._before = self._before, self._look()
        now = self._before
        if now is None or now.now <= before.now:
            return False
        free = (now.idle - before.idle + now.own - before.own) / (now.now - before.now)
        threads = max(1, min(self._most, int(free + 1 - _NEARLY_FREE)))
        changed, self.threads = threads != self.threads, threads
        return changed
