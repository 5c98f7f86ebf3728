"""Conversations as a tree: what is stored when, and what becomes of it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from node.memory import (
    BadConversation,
    Busy,
    NotAllowed,
    UnknownConversation,
    UnknownMessage,
    as_json,
    as_markdown,
)
from node.memory.answering import STORE_EVERY_S
from node.owner import Caller
from node.store import Database, StoreFull
from protocols.http.control import (
    AnswerDone,
    AnswerFailed,
    AnswerText,
    ChangeConversation,
    NewConversation,
    Said,
    Say,
)
from protocols.jobs import Chat, Ended, Event, Job, Piece, Started, Timings, Usage
from tests.node.memory.house import OWNER, Engine, a_database, conversations, said

Sender = trio.MemorySendChannel[Event]


async def hello(job: Job, send: Sender) -> None:
    for event in (Started(3), Piece("Hel"), Piece("lo")):
        await send.send(event)
    await send.send(Ended("stop", Usage(3, 2), Timings(generate_s=0.5)))


async def endless(job: Job, send: Sender) -> None:
    await send.send(Started(1))
    await send.send(Piece("so far "))
    await trio.sleep_forever()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with a_database(tmp_path / "home") as found:
        yield found


async def test_the_question_is_stored_before_the_job_begins(database: Database) -> None:
    states: list[tuple[str, str]] = []

    async def look(job: Job, send: Sender) -> None:
        whole = await found.get(made.id, OWNER)
        states.extend((message.text, message.state) for message in whole.messages)
        await hello(job, send)

    found = await conversations(database, Engine(look))
    made = await found.create(NewConversation(), OWNER)
    events = await said(found, made.id, Say("hi"))
    assert states == [("hi", "done"), ("", "running")]
    assert [type(event) for event in events] == [Said, AnswerText, AnswerText, AnswerDone]
    last = events[-1]
    assert isinstance(last, AnswerDone)
    assert (last.message.text, last.message.tokens, last.message.tokens_per_s) == ("Hello", 2, 4.0)
    assert (await found.get(made.id, OWNER)).messages[-1] == last.message


async def test_leaving_stops_the_job_and_keeps_what_came(database: Database) -> None:
    found = await conversations(database, Engine(endless))
    made = await found.create(NewConversation(), OWNER)
    async with found.say(made.id, Say("hi"), OWNER) as answer:
        assert isinstance(await answer.receive(), Said)
        assert await answer.receive() == AnswerText("so far ")
    kept = (await found.get(made.id, OWNER)).messages[-1]
    assert (kept.state, kept.text) == ("unfinished", "so far ")
    assert kept.model == "starter"


async def test_what_came_is_stored_while_the_answer_still_runs(database: Database) -> None:
    found = await conversations(database, Engine(endless))
    made = await found.create(NewConversation(), OWNER)
    with sqlite3.connect(database.path) as other:  # as the next start would see it
        async with found.say(made.id, Say("hi"), OWNER) as answer:
            await answer.receive()
            await answer.receive()
            with trio.fail_after(20 * STORE_EVERY_S):
                text = ""
                while not text:
                    await trio.sleep(0.01)
                    query = "SELECT text FROM messages WHERE state = 'running'"
                    text = other.execute(query).fetchone()[0]
    other.close()
    assert text == "so far "


async def test_a_branch_begins_at_any_message(database: Database) -> None:
    engine = Engine(hello)
    found = await conversations(database, engine)
    made = await found.create(NewConversation(system="be kind"), OWNER)
    await said(found, made.id, Say("one"))
    first = (await found.get(made.id, OWNER)).messages
    await said(found, made.id, Say("two"))
    await said(found, made.id, Say("other two", parent=first[-1].id))
    work = engine.jobs[-1].work
    assert isinstance(work, Chat)
    assert [m.content for m in work.messages] == ["be kind", "one", "Hello", "other two"]
    whole = await found.get(made.id, OWNER)
    assert len(whole.messages) == 7
    again = await found.change(made.id, ChangeConversation(head=first[-1].id), OWNER)
    assert again.head == first[-1].id


async def test_a_long_chat_is_shortened_and_says_so(database: Database) -> None:
    engine = Engine(hello)
    found = await conversations(database, engine)
    made = await found.create(NewConversation(system="be kind"), OWNER)
    for number in range(6):
        await said(found, made.id, Say(f"question number {number}"))
    engine.context = 32
    events = await said(found, made.id, Say("the last one"))
    first = events[0]
    assert isinstance(first, Said)
    assert first.dropped > 0
    assert str(first.dropped) in first.notice
    work = engine.jobs[-1].work
    assert isinstance(work, Chat)
    assert work.messages[0].content == "be kind"
    assert work.messages[-1].content == "the last one"
    assert await engine.count("", work.messages) <= 32
    assert len((await found.get(made.id, OWNER)).messages) == 15, "everything is still stored"


async def test_a_full_disk_in_the_middle_ends_the_answer_with_a_clear_error(
    database: Database,
) -> None:
    found = await conversations(database, Engine(endless))
    made = await found.create(NewConversation(), OWNER)

    def limit(pages: int) -> None:
        database.run_sync(
            lambda tables: tables.execute(f"PRAGMA max_page_count = {pages}").fetchall()
        )

    async def much(job: Job, send: Sender) -> None:
        await send.send(Started(1))
        limit(1)  # SQLite keeps at least what there is: not a page more than now
        await send.send(Piece("x" * 300_000))
        await trio.sleep_forever()

    found = await conversations(database, Engine(much))
    with trio.fail_after(10):
        events = await said(found, made.id, Say("hi"))
    last = events[-1]
    assert isinstance(last, AnswerFailed)
    assert last.error.code == "disk_full"
    with pytest.raises(StoreFull):
        await said(found, made.id, Say("y" * 300_000))
    limit(1_000_000)
    kept = (await found.get(made.id, OWNER)).messages
    assert [(m.text, m.state) for m in kept] == [("hi", "done"), ("", "unfinished")]


async def test_wrong_requests_store_nothing(database: Database) -> None:
    found = await conversations(database, Engine(hello))
    made = await found.create(NewConversation(), OWNER)
    key = Caller("k", "grant", "device", "device", frozenset({"conversations", "chat"}))
    wide = await found.create(NewConversation(label="public"), OWNER)
    cases: list[tuple[type[Exception], str, Say, Caller]] = [
        (BadConversation, made.id, Say("  \n "), OWNER),
        (UnknownConversation, "conv_none", Say("x"), OWNER),
        (UnknownMessage, made.id, Say("x", parent="msg_none"), OWNER),
        (NotAllowed, wide.id, Say("x"), key),
    ]
    for kind, id, what, caller in cases:
        with pytest.raises(kind):
            await said(found, id, what, caller)
    assert (await found.get(made.id, OWNER)).messages == ()
    with pytest.raises(NotAllowed):
        await found.create(NewConversation(label="public"), key)
    with pytest.raises(NotAllowed):
        await found.create(NewConversation(label="nonsense"), key)


async def test_one_answer_at_a_time_at_the_end_of_a_branch(database: Database) -> None:
    found = await conversations(database, Engine(endless))
    made = await found.create(NewConversation(), OWNER)
    async with found.say(made.id, Say("hi"), OWNER) as answer:
        await answer.receive()
        with pytest.raises(Busy):
            await said(found, made.id, Say("more"))
        with pytest.raises(Busy):
            await found.delete(made.id, OWNER)
    await found.delete(made.id, OWNER)
    with pytest.raises(UnknownConversation):
        await found.get(made.id, OWNER)


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("Hello there", "Hello there"),
        ("\n\n  two\twords \nmore", "two words"),
        ("w" * 100, "w" * 60 + "…"),
        ("word " * 30, "word " * 11 + "word…"),
    ],
)
async def test_the_first_question_gives_the_title(
    database: Database, text: str, title: str
) -> None:
    found = await conversations(database, Engine(hello))
    made = await found.create(NewConversation(), OWNER)
    await said(found, made.id, Say(text))
    assert (await found.get(made.id, OWNER)).title == title
    await said(found, made.id, Say("another"))
    assert (await found.get(made.id, OWNER)).title == title


async def test_making_and_deleting_is_told_to_the_event_log_without_words(
    database: Database,
) -> None:
    found = await conversations(database, Engine(hello))
    made = await found.create(NewConversation(title="secret title"), OWNER)
    await said(found, made.id, Say("secret words"))
    await found.delete(made.id, OWNER)
    rows = database.run_sync(lambda tables: list(tables.query("SELECT kind, facts FROM events")))
    assert [row["kind"] for row in rows] == ["conversation.made", "conversation.deleted"]
    assert "secret" not in str(rows)


async def test_documents_show_the_branch_and_how_it_ended(database: Database) -> None:
    found = await conversations(database, Engine(endless))
    made = await found.create(NewConversation(title="Jokes"), OWNER)
    async with found.say(made.id, Say("tell one"), OWNER) as answer:
        await answer.receive()
        await answer.receive()
    whole = await found.get(made.id, OWNER)
    text = as_markdown(whole)
    assert text.startswith("# Jokes\n")
    assert "tell one" in text
    assert "unfinished" in text
    assert b'"tell one"' in as_json(whole)
