"""Conversations on a real database, with an engine that says what a test wants."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import trio

from node import events, memory
from node.events import EventLog
from node.home import Home
from node.memory import Conversations, open_conversations
from node.owner import Caller
from node.store import Database, open_store
from protocols.http.control import AnswerEvent, Say
from protocols.jobs import Event, Job, Message

MIGRATIONS = (*events.MIGRATIONS, *memory.MIGRATIONS)
OWNER = Caller("owner", "owner", "device", "public", frozenset({"*"}))
Play = Callable[[Job, trio.MemorySendChannel[Event]], Awaitable[None]]


class Engine:
    """Counts words as tokens; plays each job as it is told."""

    def __init__(self, play: Play) -> None:
        self.play = play
        self.jobs: list[Job] = []
        self.context: int | None = 4096

    @asynccontextmanager
    async def submit(
        self, job: Job, caller: Caller
    ) -> AsyncIterator[trio.MemoryReceiveChannel[Event]]:
        self.jobs.append(job)
        send, receive = trio.open_memory_channel[Event](8)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._play, job, send)
            yield receive
            nursery.cancel_scope.cancel()

    async def _play(self, job: Job, send: trio.MemorySendChannel[Event]) -> None:
        async with send:
            await self.play(job, send)

    async def count(self, model: str, messages: Sequence[Message]) -> int:
        return sum(len(message.content.split()) + 1 for message in messages)

    def context_of(self, name: str) -> int | None:
        return self.context


@contextmanager
def a_database(root: Path) -> Iterator[Database]:
    home = Home(root)
    home.prepare()
    with open_store(home, MIGRATIONS, []) as store:
        yield store.state


async def conversations(database: Database, engine: Engine) -> Conversations:
    return await open_conversations(
        database, EventLog(database), engine, default_model=lambda: "starter", now=time.time
    )


async def said(
    found: Conversations, id: str, what: Say, caller: Caller = OWNER
) -> list[AnswerEvent]:
    """Say it and listen to the end."""
    async with found.say(id, what, caller) as answer:
        return [event async for event in answer]
