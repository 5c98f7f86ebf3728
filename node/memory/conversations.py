"""Conversations: trees of messages in the state database.

What a person typed is stored before any work begins. Nobody but this room writes these tables.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final, Protocol

import msgspec
import sqlite_utils
import trio

from node.events import EventLog
from node.memory import tables as sql
from node.memory.answering import Answering
from node.memory.errors import BadConversation, Busy, NotAllowed, UnknownMessage
from node.memory.prompt import Prompt, as_asked, branch, shorten
from node.owner import Ask, Caller, decide
from node.serving import JobFailed
from node.store import Database
from protocols.http.control import (
    AnswerEvent,
    ChangeConversation,
    ChatMessage,
    Conversation,
    NewConversation,
    Said,
    Say,
)
from protocols.ids import new_id
from protocols.jobs import Chat, Event, Job, Message, Sampling
from protocols.limits import NAME_CHARS, TITLE_CHARS

_FIRST_TITLE_CHARS: Final = 60
_MAX_TOKENS: Final = 1_000_000
_BUFFERED: Final = 64  # answer events between the writer and a slow reader


class Engine(Protocol):
    """What this room needs of whoever runs jobs (node.serving)."""

    def submit(
        self, job: Job, caller: Caller
    ) -> AbstractAsyncContextManager[trio.abc.ReceiveChannel[Event]]: ...

    async def count(self, model: str, messages: tuple[Message, ...]) -> int: ...

    def context_of(self, name: str) -> int | None: ...


class Conversations:
    """Make one with `open_conversations`."""

    def __init__(
        self,
        database: Database,
        events: EventLog,
        engine: Engine,
        *,
        default_model: Callable[[], str],
        now: Callable[[], float],
    ) -> None:
        self._database = database
        self._events = events
        self._engine = engine
        self._default_model = default_model
        self._now = now
        self._running: dict[str, str] = {}  # answers being written: message id -> conversation id

    async def create(self, what: NewConversation, caller: Caller) -> Conversation:
        """Raises `BadConversation`, `NotAllowed`, `StoreError`."""
        label = what.label or caller.label
        _allow(caller, "conversations", label)
        at = self._now()
        made = Conversation(
            id=new_id("conv", secrets.token_bytes(16)),
            title=_check_title(what.title),
            created_at=at,
            updated_at=at,
            label=label,
            model=_check_model(what.model),
            head=None,
        )

        def work(tables: sqlite_utils.Database) -> Conversation:
            sql.insert_conversation(tables, made)
            if what.system:
                sql.insert_message(tables, made.id, _new("system", what.system, None, at))
            self._events.write(tables, "conversation.made", made.id, label=label, by=caller.id)
            return sql.read_conversation(tables, made.id)

        return await self._database.run(work)

    async def list(self, limit: int, before: float | None, caller: Caller) -> list[Conversation]:
        """The latest first, without messages; only those that the caller may see."""

        def work(tables: sqlite_utils.Database) -> list[Conversation]:
            visible = [each for each in sql.read_labels(tables) if _may(caller, each)]
            return sql.read_list(tables, limit, before, visible)

        return await self._database.run(work)

    async def get(self, id: str, caller: Caller) -> Conversation:
        """With all messages. Raises `UnknownConversation`, `NotAllowed`."""
        found = await self._database.run(lambda tables: sql.read_conversation(tables, id))
        _allow(caller, "conversations", found.label)
        return self._as_it_is(found)

    async def change(self, id: str, what: ChangeConversation, caller: Caller) -> Conversation:
        """Raises `UnknownConversation`, `UnknownMessage`, `BadConversation`, `NotAllowed`."""
        await self.get(id, caller)
        fields: dict[str, str | float] = {}
        if what.title is not None:
            fields["title"] = _check_title(what.title)
        if what.model is not None:
            fields["model"] = _check_model(what.model)
        if what.head is not None:
            fields["head"] = what.head

        def work(tables: sqlite_utils.Database) -> Conversation:
            sql.change(tables, id, **fields)
            return sql.read_conversation(tables, id)

        return self._as_it_is(await self._database.run(work))

    async def delete(self, id: str, caller: Caller) -> None:
        """For good. Raises `UnknownConversation`, `NotAllowed`, and `Busy` while it is answered."""
        await self.get(id, caller)
        if id in self._running.values():
            raise Busy("an answer is being written in this conversation: stop it first")

        def work(tables: sqlite_utils.Database) -> None:
            sql.delete(tables, id)
            self._events.write(tables, "conversation.deleted", id, by=caller.id)

        await self._database.run(work)

    @asynccontextmanager
    async def say(
        self, id: str, what: Say, caller: Caller
    ) -> AsyncIterator[trio.MemoryReceiveChannel[AnswerEvent]]:
        """Store the question, then answer it; the channel gives `Said`, text, then how it ended.

        Raises, with nothing stored: `UnknownConversation`, `UnknownMessage`, `BadConversation`,
        `Busy`, `NotAllowed`, `StoreError`. Leaving the block stops the answer and keeps what came.
        """
        turn = await self._begin(id, what, caller)
        send, receive = trio.open_memory_channel[AnswerEvent](_BUFFERED)
        answering = Answering(self._database, turn.answer, send)
        try:
            async with send, receive, trio.open_nursery() as nursery:
                nursery.start_soon(self._answer, turn, caller, answering, send)
                yield receive
                nursery.cancel_scope.cancel()
        finally:
            with trio.CancelScope(shield=True):
                await answering.close()
            self._running.pop(turn.answer.id, None)

    async def _begin(self, id: str, what: Say, caller: Caller) -> _Turn:
        """Store the question and an empty answer, in one transaction."""
        if not what.text.strip():
            raise BadConversation("there is nothing to answer: the text is empty")
        sampling, model = _sampling(what), _check_model(what.model or "")
        answer = msgspec.structs.replace(
            _new("assistant", "", None, self._now()),
            state="running",
            job=new_id("job", secrets.token_bytes(16)),
        )

        def work(tables: sqlite_utils.Database) -> _Turn:
            found = sql.read_conversation(tables, id)
            _allow(caller, "conversations", found.label)
            _allow(caller, "chat", found.label)
            parent = found.head if what.parent is None else what.parent
            self._check_parent(found, parent)
            question = _new("user", what.text, parent, answer.at)
            whole = msgspec.structs.replace(
                answer, parent=question.id, model=model or found.model or self._default_model()
            )
            sql.insert_message(tables, id, question)
            sql.insert_message(tables, id, whole)
            if not found.title:
                sql.change(tables, id, title=_title_from(what.text))
            asked = as_asked([*branch(found.messages, parent), question])
            return _Turn(found.label, question, whole, asked, sampling)

        self._running[answer.id] = id  # before it is stored, so that nobody takes it for a crash's
        try:
            return await self._database.run(work)
        except BaseException:
            del self._running[answer.id]
            raise

    def _check_parent(self, conversation: Conversation, parent: str | None) -> None:
        if parent is None:
            return
        if parent not in {message.id for message in conversation.messages}:
            raise UnknownMessage(parent)
        if parent in self._running:
            raise Busy("the answer before this is still being written: wait for it, or stop it")

    async def _answer(
        self,
        turn: _Turn,
        caller: Caller,
        answering: Answering,
        send: trio.MemorySendChannel[AnswerEvent],
    ) -> None:
        async with send:
            try:
                prompt = await self._prompt(turn)
            except JobFailed as error:
                await send.send(Said(turn.question, turn.answer))
                await answering.fail(error.failed)
                return
            await send.send(Said(turn.question, turn.answer, prompt.dropped, prompt.notice))
            job = Job(
                id=turn.answer.job,
                work=Chat(prompt.messages, turn.sampling),
                model=turn.answer.model,
                label=turn.label,
                asked_by=caller.id,
            )
            async with self._engine.submit(job, caller) as events:
                await answering.run(events)

    async def _prompt(self, turn: _Turn) -> Prompt:
        """Raises `JobFailed` when the model cannot be asked how long the chat is."""
        model = turn.answer.model

        async def count(messages: tuple[Message, ...]) -> int:
            return await self._engine.count(model, messages)

        return await shorten(
            turn.asked, lambda: self._engine.context_of(model), turn.sampling.max_tokens, count
        )

    def _as_it_is(self, conversation: Conversation) -> Conversation:
        """An answer that the disk holds as running, while nobody writes it, is unfinished."""
        messages = tuple(
            msgspec.structs.replace(message, state="unfinished")
            if message.state == "running" and message.id not in self._running
            else message
            for message in conversation.messages
        )
        return msgspec.structs.replace(conversation, messages=messages)


class _Turn(msgspec.Struct, frozen=True):
    label: str
    question: ChatMessage
    answer: ChatMessage
    asked: tuple[Message, ...]  # the whole branch, the question last
    sampling: Sampling


async def open_conversations(
    database: Database,
    events: EventLog,
    engine: Engine,
    *,
    default_model: Callable[[], str],
    now: Callable[[], float],
) -> Conversations:
    """The conversations of this node. Answers that a killed node was writing become unfinished."""
    await database.run(sql.end_what_a_crash_left)
    return Conversations(database, events, engine, default_model=default_model, now=now)


def _new(role: str, text: str, parent: str | None, at: float) -> ChatMessage:
    id = new_id("msg", secrets.token_bytes(16))
    return msgspec.convert(
        {"id": id, "parent": parent, "role": role, "text": text, "at": at}, ChatMessage
    )


def _sampling(what: Say) -> Sampling:
    """Raises `BadConversation` for numbers out of range."""
    if what.temperature is not None and not 0 <= what.temperature <= 2:
        raise BadConversation("temperature must be between 0 and 2")
    if what.max_tokens is not None and not 1 <= what.max_tokens <= _MAX_TOKENS:
        raise BadConversation(f"max_tokens must be between 1 and {_MAX_TOKENS}")
    if what.seed is not None and not 0 <= what.seed < 2**32 - 1:
        raise BadConversation("seed must be between 0 and 4294967294")
    usual = Sampling()
    return msgspec.structs.replace(
        usual,
        max_tokens=what.max_tokens,
        temperature=what.temperature,
        seed=what.seed,
    )


def _allow(caller: Caller, action: str, label: str) -> None:
    decision = decide(Ask(caller, action, label, "this conversation"))
    if not decision.allowed:
        raise NotAllowed(decision)


def _may(caller: Caller, label: str) -> bool:
    return decide(Ask(caller, "conversations", label)).allowed


def _check_title(title: str) -> str:
    if len(title) > TITLE_CHARS:
        raise BadConversation(f"a title has at most {TITLE_CHARS} characters")
    return " ".join(title.split())


def _check_model(model: str) -> str:
    if len(model) > NAME_CHARS:
        raise BadConversation(f"a model's name has at most {NAME_CHARS} characters")
    return "" if model == "default" else model


def _title_from(text: str) -> str:
    """The first line of the first question, cut at a word."""
    line = " ".join(text.strip().splitlines()[0].split()) if text.strip() else ""
    if len(line) <= _FIRST_TITLE_CHARS:
        return line
    cut = line[:_FIRST_TITLE_CHARS].rsplit(" ", 1)[0]
    return cut + "…"
