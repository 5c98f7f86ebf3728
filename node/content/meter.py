"""What a transfer has done so far, and how fast."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final

_WINDOW_S: Final = 5.0
_EVERY_S: Final = 0.2


@dataclass
class Meter:
    """What a transfer has done so far. Worker threads only set the numbers."""

    done: int = 0
    total: int | None = None
    doing: str = ""
    checking: bool = False
    received: dict[str, int] = field(default_factory=dict)  # bytes of content, by host


class Rate:
    """Told the number of bytes done now and then; says bytes a second and seconds to go."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int]] = deque()

    def measure(self, now: float, done: int) -> float:
        """Bytes a second over the last seconds; 0 when nothing came in them, or it just began."""
        samples = self._samples
        if samples and done < samples[-1][1]:
            samples.clear()  # started over
        if not samples or now - samples[-1][0] >= _EVERY_S:
            samples.append((now, done))
        while len(samples) > 1 and now - samples[0][0] > _WINDOW_S:
            samples.popleft()
        began, before = samples[0]
        return (done - before) / (now - began) if now > began else 0.0


def seconds_left(done: int, total: int | None, rate: float) -> float | None:
    if total is None or rate <= 0:
        return None
    return max(0, total - done) / rate
