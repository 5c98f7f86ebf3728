"""When to start a worker again after deaths: at once, then later and later, then not for a while. Pure."""

from __future__ import annotations

from dataclasses import dataclass

FIRST_DELAY_S = 0.25  # before the second restart in a row; the first one is immediate
OPEN_AFTER = 6  # deaths in a row, without one answer between them
OPEN_S = 10.0
LONGEST_OPEN_S = 5 * 60.0


@dataclass
class Breaker:
    """Counts deaths in a row. An answer that ended well makes everything good again."""

    deaths: int = 0
    died_at: float = 0.0

    def died(self, now: float) -> None:
        self.deaths += 1
        self.died_at = now

    def answered(self) -> None:
        self.deaths = 0

    def refuses_for(self, now: float) -> float:
        """Seconds for which no start is tried at all; afterwards one is, and its death refuses longer."""
        if self.deaths < OPEN_AFTER:
            return 0.0
        open_s = min(OPEN_S * 2.0 ** min(self.deaths - OPEN_AFTER, 10), LONGEST_OPEN_S)
        return max(0.0, self.died_at + open_s - now)

    def delay_s(self, now: float) -> float:
        """How long to wait before the next start."""
        if self.deaths < 2 or self.deaths >= OPEN_AFTER:
            return 0.0
        wait = FIRST_DELAY_S * 2.0 ** (self.deaths - 2)
        return max(0.0, self.died_at + wait - now)
