"""Drawing what grows: at most 20 times a second, and less often when drawing takes its time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

FRAMES_PER_S: Final = 20.0
SHARE: Final = 0.15  # of one CPU that drawing a growing answer may take
LONGEST_PAUSE_S: Final = 2.0


class Pacer:
    """Calls `draw` after `more`, at its own pace."""

    def __init__(self, draw: Callable[[], Awaitable[None]]) -> None:
        self._draw = draw
        self._more = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    def more(self) -> None:
        self._more.set()

    async def stop(self) -> None:
        """Whole drawings only: one that has begun is finished."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            await self._more.wait()
            self._more.clear()
            began, used = time.monotonic(), time.thread_time()
            drawing = asyncio.ensure_future(self._draw())
            try:
                await asyncio.shield(drawing)
            except asyncio.CancelledError:
                await drawing
                raise
            await asyncio.sleep(1 / FRAMES_PER_S)  # the screen itself is drawn in this time
            pause = (time.thread_time() - used) / SHARE - (time.monotonic() - began)
            await asyncio.sleep(min(LONGEST_PAUSE_S, max(0.0, pause)))
