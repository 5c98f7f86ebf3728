"""Who may go next: a fair queue for a number of places, where one may ask to be alone."""

from __future__ import annotations

from collections import deque

import trio


class Turn:
    """A place that is held until `done`; done twice is done once."""

    def __init__(self, turns: Turns, places: int) -> None:
        self._turns = turns
        self._places = places

    def done(self) -> None:
        places, self._places = self._places, 0
        self._turns._free_again(places)


class Turns:
    """First come, first served. Somebody who wants all places is not overtaken by small ones."""

    def __init__(self, places: int) -> None:
        self._places = places
        self._free = places
        self._waiting: deque[tuple[trio.lowlevel.Task, int]] = deque()

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    async def take(self, *, alone: bool = False) -> Turn:
        """Wait for a place, or for all of them. Cancelling gives up the wait and holds nothing."""
        await trio.lowlevel.checkpoint_if_cancelled()
        places = self._places if alone else 1
        if not self._waiting and places <= self._free:
            self._free -= places
            await trio.lowlevel.cancel_shielded_checkpoint()
            return Turn(self, places)
        entry = (trio.lowlevel.current_task(), places)
        self._waiting.append(entry)

        def abort(_: object) -> trio.lowlevel.Abort:
            self._waiting.remove(entry)
            self._hand_out()
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)
        return Turn(self, places)

    def _free_again(self, places: int) -> None:
        self._free += places
        self._hand_out()

    def _hand_out(self) -> None:
        while self._waiting and self._waiting[0][1] <= self._free:
            task, places = self._waiting.popleft()
            self._free -= places
            trio.lowlevel.reschedule(task)
