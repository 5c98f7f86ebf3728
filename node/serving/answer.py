"""What one job says to its reader: a bounded channel that neither blocks the worker nor drops text.

A reader that keeps up gets each event as it came. Behind a slow one, pieces grow together; behind
one that hardly reads at all, the job ends with a clear error.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import trio

from protocols.jobs import Ended, Event, Failed, Piece, Started, Usage, Vectors
from protocols.limits import JOB_EVENTS_BUFFERED, KIB, MIB

ANSWER_BYTES = 4 * MIB  # of one answer, waiting for its reader
WHOLE_BYTES = 64 * MIB  # of one that is read when it is whole
_JOINED_BYTES = 64 * KIB  # of one piece that was joined from many


class _Joined:
    """Pieces that will be handed over as one."""

    def __init__(self, first: Piece) -> None:
        self.pieces = [first]
        self.weight = _weight(first)

    def add(self, piece: Piece) -> None:
        self.pieces.append(piece)
        self.weight += _weight(piece)

    def whole(self) -> Piece:
        return Piece(
            "".join(piece.text for piece in self.pieces),
            tuple(token for piece in self.pieces for token in piece.tokens),
            tuple(logprob for piece in self.pieces for logprob in piece.logprobs),
        )


class Answer(trio.abc.ReceiveChannel[Event]):
    """The events of one job. Written by whoever runs it (`put` never waits), read by one task.

    Nothing is handed out before `release`; after exactly one `Ended` or `Failed` it is at its end.
    """

    def __init__(
        self,
        on_full: Callable[[], None] = lambda: None,
        *,
        max_events: int = JOB_EVENTS_BUFFERED,
        max_bytes: int = ANSWER_BYTES,
        whole: bool = False,
    ) -> None:
        self._on_full = on_full
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._whole = whole
        self._queue: deque[Event | _Joined] = deque()
        self._bytes = 0
        self._full = False
        self._released = False
        self._closed = False
        self._told_start = False  # the reader has read a Started
        self._told_content = False  # the reader has read some of the answer
        self._lot = trio.lowlevel.ParkingLot()
        self._counted = Usage(0, 0)
        self.last: Ended | Failed | None = None

    # --- the writer's side ---

    @property
    def so_far(self) -> Usage:
        """Tokens as far as the target has told."""
        return self._counted

    @property
    def started(self) -> bool:
        return self._counted.prompt_tokens > 0

    def put(self, event: Started | Piece | Vectors) -> None:
        """One more event. Ignored after the last one, and after the reader fell too far behind."""
        if self.last is not None or self._full or self._closed:
            return
        if isinstance(event, Started):
            self._counted = Usage(event.prompt_tokens, 0, event.cached_tokens)
            if self._told_start:
                return
            self._queue.append(event)
        elif isinstance(event, Piece):
            self._put_piece(event)
        else:
            self._queue.append(event)
        self._wake()

    def _put_piece(self, piece: Piece) -> None:
        counted = self._counted
        self._counted = Usage(
            counted.prompt_tokens,
            counted.completion_tokens + len(piece.tokens),
            counted.cached_tokens,
        )
        self._bytes += _weight(piece)
        if self._bytes > self._max_bytes:
            self._full = True
            self._on_full()
            return
        tail = self._queue[-1] if self._queue else None
        if len(self._queue) < self._max_events:
            self._queue.append(piece)
        elif isinstance(tail, _Joined) and tail.weight < _JOINED_BYTES:
            tail.add(piece)
        else:
            self._queue.append(_Joined(piece))

    def rewind(self) -> bool:
        """Forget what was written and not read, so that the job can run again from its beginning.

        False when the reader has part of the answer already: then nothing is forgotten.
        """
        if self._told_content or self._full or self.last is not None:
            return False
        self._queue.clear()
        self._bytes = 0
        self._counted = Usage(0, 0)
        return True

    def release(self) -> None:
        """From now on the reader gets what was written; of an answer wanted whole, only at its end."""
        self._released = not self._whole or self.last is not None
        self._wake()

    def finish(self, last: Ended | Failed) -> None:
        """Write the last event. Only the first call counts."""
        if self.last is None:
            self.last = last
            self._queue.append(last)
            self.release()

    # --- the reader's side ---

    async def receive(self) -> Event:
        """The next event. Raises trio.EndOfChannel after the last, trio.ClosedResourceError after `aclose`."""
        await trio.lowlevel.checkpoint_if_cancelled()
        while not self._ready:
            await self._lot.park()
        event = self.receive_nowait()
        await trio.lowlevel.cancel_shielded_checkpoint()
        return event

    def receive_nowait(self) -> Event:
        """The same without waiting; raises trio.WouldBlock when there is nothing yet."""
        if self._closed:
            raise trio.ClosedResourceError
        if not self._ready:
            raise trio.WouldBlock
        if not self._queue:
            raise trio.EndOfChannel
        return self._take()

    async def aclose(self) -> None:
        """Stop reading: what was not read is forgotten."""
        self.close()
        await trio.lowlevel.checkpoint()

    def close(self) -> None:
        self._closed = True
        self._queue.clear()
        self._wake()

    @property
    def _ready(self) -> bool:
        if self._closed:
            return True
        return self._released and (bool(self._queue) or self.last is not None)

    def _take(self) -> Event:
        item = self._queue.popleft()
        if isinstance(item, _Joined):
            self._bytes -= item.weight
            self._told_content = True
            return item.whole()
        if isinstance(item, Started):
            self._told_start = True
        elif isinstance(item, Piece):
            self._bytes -= _weight(item)
            self._told_content = True
        elif isinstance(item, Vectors):
            self._told_content = True
        return item

    def _wake(self) -> None:
        if self._lot:
            self._lot.unpark_all()


def _weight(piece: Piece) -> int:
    """About how many bytes a piece takes while it waits."""
    weight = 64 + 2 * len(piece.text) + 8 * len(piece.tokens)
    for each in piece.logprobs:
        weight += 100 + 80 * len(each.top)
    return weight
