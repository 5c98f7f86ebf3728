"""The event log: added to, read back, and every change behind its back is found."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlite_utils

from node.events import MIGRATIONS, EventLog
from node.home import Home
from node.store import Database, StoreError, StoreFull, open_store
from tests.node.store.disks import no_file_grows


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    home = Home(tmp_path / "home")
    home.prepare()
    with open_store(home, MIGRATIONS, []) as store:
        yield store.state


@pytest.fixture
def log(database: Database) -> EventLog:
    return EventLog(database)


async def add_five(log: EventLog) -> None:
    for number in range(1, 6):
        await log.append("job.ended", f"job_{number}", tokens=number)


async def test_events_are_numbered_and_read_back(log: EventLog) -> None:
    assert await log.append("model.added", "starter", size=3, label="device") == 1
    assert await log.append("job.started", "job_1") == 2
    first, second = await log.read()
    assert (first.kind, first.subject, first.facts) == (
        "model.added",
        "starter",
        {"size": 3, "label": "device"},
    )
    assert (second.seq, second.facts) == (2, {})


async def test_reading_goes_by_place_kind_and_subject(log: EventLog) -> None:
    await add_five(log)
    await log.append("jobs", "job_1")
    assert [e.seq for e in await log.read(after=3)] == [4, 5, 6]
    assert [e.seq for e in await log.read(limit=2)] == [1, 2]
    assert [e.seq for e in await log.read(kind="job.")] == [1, 2, 3, 4, 5]
    assert [e.seq for e in await log.read(subject="job_1")] == [1, 6]
    assert await log.read(kind="%") == []
    assert [e.seq for e in await log.latest(2)] == [5, 6]


async def test_a_whole_log_verifies(log: EventLog) -> None:
    assert await log.verify() is None
    await add_five(log)
    assert await log.verify() is None


@pytest.mark.parametrize(
    ("sql", "broken"),
    [
        ("UPDATE events SET facts = '{}' WHERE seq = 3", 3),
        ("UPDATE events SET kind = 'job.failed' WHERE seq = 1", 1),
        ("UPDATE events SET subject = '' WHERE seq = 5", 5),
        ("UPDATE events SET at = at + 1 WHERE seq = 2", 2),
        ("UPDATE events SET hash = zeroblob(32) WHERE seq = 4", 4),
        ("UPDATE events SET hash = 'text' WHERE seq = 4", 4),
        ("UPDATE events SET hash = 999999999999 WHERE seq = 4", 4),
        ("UPDATE events SET facts = x'00ff' WHERE seq = 3", 3),
        ("UPDATE events SET facts = 'not json' WHERE seq = 3", 3),
        ("UPDATE events SET at = 'noon' WHERE seq = 3", 3),
        ("UPDATE events SET kind = x'ff' WHERE seq = 3", 3),
        ("DELETE FROM events WHERE seq = 2", 2),
        ("DELETE FROM events WHERE seq = 1", 1),
        ("UPDATE events SET seq = 9 WHERE seq = 5", 5),
        (
            "INSERT INTO events SELECT 0, at, kind, subject, facts, hash FROM events WHERE seq = 1",
            1,
        ),
    ],
)
async def test_a_change_behind_its_back_is_found(
    log: EventLog, database: Database, sql: str, broken: int
) -> None:
    await add_five(log)
    await database.run(lambda tables: tables.execute(sql))
    assert await log.verify() == broken
    assert await log.read(limit=10)  # a broken row is still shown
    await log.append("job.ended", "after")
    assert await log.verify() == broken


async def test_a_rewritten_row_with_a_right_hash_breaks_the_next(
    log: EventLog, database: Database
) -> None:
    await add_five(log)
    other = [row for row in await log.read() if row.seq == 2]
    assert other

    def work(tables: sqlite_utils.Database) -> None:
        from node.events.log import _hash

        before = bytes(tables["events"].get(1)["hash"])
        row = tables["events"].get(2)
        digest = _hash(before, 2, row["at"], row["kind"], "forged", row["facts"])
        tables["events"].update(2, {"subject": "forged", "hash": digest})

    await database.run(work)
    assert await log.verify() == 3


async def test_an_event_is_part_of_the_deed_or_neither_is(
    log: EventLog, database: Database
) -> None:
    def work(tables: sqlite_utils.Database) -> None:
        log.write(tables, "grant.made", "id")
        raise RuntimeError("the deed failed")

    with pytest.raises(RuntimeError):
        await database.run(work)
    assert await log.read() == []
    await log.append("first")
    assert await log.verify() is None


async def test_any_text_can_be_told(log: EventLog) -> None:
    strange = ["", "\x00", "ü漢字🙂", "a\nb", "\udcff.gguf", '"}', "x" * 100_000]
    for text in strange:
        await log.append("model.added", text, name=text)
    assert await log.verify() is None
    found = await log.read()
    assert [e.facts["name"] for e in found if "?" not in e.subject] == [
        text for text in strange if text != "\udcff.gguf"
    ]
    assert found[4].subject == "?.gguf"


async def test_a_full_disk_is_told_and_breaks_nothing(log: EventLog) -> None:
    await add_five(log)
    with no_file_grows(), pytest.raises(StoreFull):
        await log.append("job.ended", "x" * 10_000)
    await log.append("job.ended", "after")
    assert [e.seq for e in await log.read()] == [1, 2, 3, 4, 5, 6]
    assert await log.verify() is None


async def test_a_closed_store_is_an_error_not_a_silence(log: EventLog, database: Database) -> None:
    database.close()
    with pytest.raises(StoreError):
        await log.append("job.ended", "lost")
