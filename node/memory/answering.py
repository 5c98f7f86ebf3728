"""Writing one answer: from the job's events to text in the database and to whoever listens.

What came so far is stored a few times a second and at the end, whatever the end is: done, failed,
stopped by the person, or the node going down. After a kill -9 the database holds all but the last
quarter of a second.
"""

from __future__ import annotations

import logging
from typing import Final, Literal

import msgspec
import trio

from node.memory import tables as sql
from node.store import Database, StoreError
from protocols.http import control
from protocols.http.control import AnswerDone, AnswerEvent, AnswerFailed, AnswerText, ChatMessage
from protocols.jobs import Ended, Event, Failed, Piece

STORE_EVERY_S: Final = 0.25
END_S: Final = 3.0  # at most, for writing the end while being cancelled

State = Literal["done", "unfinished", "failed"]

_log = logging.getLogger(__name__)


class Answering:
    """One answer while it is being written. Use `run` once; always `close` it, shielded."""

    def __init__(
        self, database: Database, message: ChatMessage, send: trio.MemorySendChannel[AnswerEvent]
    ) -> None:
        self._database = database
        self._message = message
        self._send = send
        self._text: list[str] = []
        self._stored = 0  # pieces that are in the database
        self._began = trio.current_time()
        self._first_at: float | None = None
        self._finishing = False  # the end is being written: no more pieces after it
        self._ended = False

    async def run(self, events: trio.abc.ReceiveChannel[Event]) -> None:
        """Read the job to its end. A full disk stops the answer with an `AnswerFailed`."""
        disk: StoreError | None = None
        async with trio.open_nursery() as nursery:

            async def store_often() -> None:
                nonlocal disk
                disk = await self._store_often()
                nursery.cancel_scope.cancel()

            nursery.start_soon(store_often)
            await self._read(events)
            nursery.cancel_scope.cancel()
        if disk is not None and not self._ended:
            await self._disk_failed(disk)

    async def fail(self, failed: Failed) -> None:
        """End without having begun: the job could not even be asked for."""
        await self._finish(failed)

    async def close(self) -> None:
        """Store what came so far as unfinished, unless the answer has its end. Call it shielded."""
        if self._ended:
            return
        self._ended = self._finishing = True
        try:
            with trio.move_on_after(END_S):
                await self._write(self._final("unfinished"))
        except StoreError as error:
            _log.error("the end of answer %s was not stored: %s", self._message.id, error)

    async def _read(self, events: trio.abc.ReceiveChannel[Event]) -> None:
        async for event in events:
            if isinstance(event, Piece):
                if self._first_at is None:
                    self._first_at = trio.current_time()
                if event.text:
                    self._text.append(event.text)
                    await self._send.send(AnswerText(event.text))
            elif isinstance(event, Ended | Failed):
                await self._finish(event)
                return
        await self._finish(Failed("internal", "the job ended without saying how", retry=True))

    async def _store_often(self) -> StoreError | None:
        """Until cancelled, or until the disk refuses."""
        while True:
            await trio.sleep(STORE_EVERY_S)
            new, count = "".join(self._text[self._stored :]), len(self._text)
            if not new or self._finishing:
                continue
            try:
                await self._append(new)
            except StoreError as error:
                return error
            self._stored = count

    async def _append(self, text: str) -> None:
        await self._database.run(lambda t: sql.append_text(t, self._message.id, text))

    async def _finish(self, last: Ended | Failed) -> None:
        message = self._last_message(last)
        self._finishing = True
        try:
            await self._write(message)
        except StoreError as error:
            await self._disk_failed(error)
            return
        self._ended = True
        if isinstance(last, Ended):
            await self._send.send(AnswerDone(message, last.finish))
        else:
            await self._send.send(AnswerFailed(message, _problem(last)))

    def _last_message(self, last: Ended | Failed) -> ChatMessage:
        if isinstance(last, Failed):
            stopped = last.code == "cancelled"
            return self._final("unfinished" if stopped else "failed", error=last.message)
        state: State = "unfinished" if last.finish == "cancelled" else "done"
        tokens, seconds = last.usage.completion_tokens, last.timings.generate_s
        return self._final(state, tokens=tokens, rate=tokens / seconds if seconds > 0 else 0.0)

    def _final(
        self, state: State, *, error: str = "", tokens: int = 0, rate: float = 0.0
    ) -> ChatMessage:
        waited = 0.0 if self._first_at is None else self._first_at - self._began
        return msgspec.structs.replace(
            self._message,
            text="".join(self._text),
            state=state,
            error=error,
            tokens=tokens,
            tokens_per_s=round(rate, 3),
            first_token_s=round(waited, 4),
        )

    async def _write(self, message: ChatMessage) -> None:
        """Comes after a piece that is being written: the database works in order."""
        await self._database.run(lambda tables: sql.finish_message(tables, message))

    async def _disk_failed(self, error: StoreError) -> None:
        """Say it; the end itself cannot be stored, what was stored before stays."""
        self._ended = True
        message = self._final("unfinished", error=str(error))
        await self._send.send(AnswerFailed(message, control.Problem("disk_full", str(error))))


def _problem(failed: Failed) -> control.Problem:
    hint = "asking again may help" if failed.retry else ""
    return control.Problem(failed.code, failed.message, hint)
