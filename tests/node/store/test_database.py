"""One file, one transaction at a time, and what happens when the disk refuses."""

import os
import sqlite3
import stat
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import sqlite_utils
import trio

from node.store import Database, StoreError, StoreFull, open_database
from tests.node.store.disks import fill, no_file_grows, small_disk


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with closing(open_database(tmp_path / "state.db", durable=True)) as opened:
        opened.run_sync(_make_table)
        yield opened


def _make_table(tables: sqlite_utils.Database) -> None:
    tables["things"].create({"id": int, "text": str}, pk="id")


def _add(tables: sqlite_utils.Database, text: str) -> None:
    tables["things"].insert({"text": text})


def _count(tables: sqlite_utils.Database) -> int:
    return int(tables["things"].count)


async def test_work_is_kept(database: Database) -> None:
    await database.run(lambda tables: _add(tables, "a"))
    assert await database.run(_count) == 1


async def test_work_that_fails_leaves_nothing(database: Database) -> None:
    def work(tables: sqlite_utils.Database) -> None:
        _add(tables, "a")
        tables["more"].insert({"id": 1})
        raise RuntimeError("after both")

    with pytest.raises(RuntimeError, match="after both"):
        await database.run(work)
    assert await database.run(_count) == 0
    assert await database.run(lambda tables: tables.table_names()) == ["things"]


async def test_a_broken_constraint_reaches_the_caller_as_it_is(database: Database) -> None:
    def work(tables: sqlite_utils.Database) -> None:
        tables["things"].insert({"id": 1})
        tables["things"].insert({"id": 1})

    with pytest.raises(sqlite3.IntegrityError):
        await database.run(work)
    assert await database.run(_count) == 0


async def test_a_wrong_statement_is_no_full_disk_and_no_damage(database: Database) -> None:
    with pytest.raises(StoreError, match="no such table: full") as caught:
        await database.run(lambda tables: tables.execute("SELECT * FROM full"))
    assert not isinstance(caught.value, StoreFull)
    assert "damaged" not in str(caught.value)


async def test_work_from_threads_and_tasks_never_mixes(database: Database) -> None:
    def add_two(tables: sqlite_utils.Database) -> None:
        before = _count(tables)
        _add(tables, "a")
        _add(tables, "b")
        assert _count(tables) == before + 2

    def plain_thread() -> None:
        for _ in range(20):
            database.run_sync(add_two)

    thread = threading.Thread(target=plain_thread)
    thread.start()
    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(database.run, add_two)
    await trio.to_thread.run_sync(thread.join)
    assert await database.run(_count) == 80


async def test_a_cancelled_caller_leaves_a_whole_transaction(database: Database) -> None:
    began, go_on = threading.Event(), threading.Event()

    def slow(tables: sqlite_utils.Database) -> None:
        _add(tables, "a")
        began.set()
        assert go_on.wait(10)
        _add(tables, "b")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(database.run, slow)
        await trio.to_thread.run_sync(began.wait)
        nursery.cancel_scope.cancel()
        go_on.set()
    assert await database.run(_count) == 2


async def test_a_closed_database_says_so(database: Database) -> None:
    database.close()
    with pytest.raises(StoreError, match="closed"):
        await database.run(_count)


def test_the_files_are_private_from_the_start(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with closing(open_database(tmp_path / "state.db", durable=True)) as opened:
            opened.run_sync(_make_table)
            modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in tmp_path.iterdir()}
    finally:
        os.umask(before)
    assert modes == {"state.db": 0o600, "state.db-wal": 0o600, "state.db-shm": 0o600}


def test_a_file_that_was_readable_is_private_again(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    path.touch(0o644)
    open_database(path, durable=True).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_file_that_is_no_database_is_told_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    path.write_bytes(b"this is a letter to my aunt" * 1000)
    with pytest.raises(StoreError, match="damaged"):
        open_database(path, durable=True)
    assert path.read_bytes().startswith(b"this is a letter")


def test_a_folder_that_is_missing_is_told(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be opened"):
        open_database(tmp_path / "none" / "state.db", durable=True)


async def test_a_damaged_page_is_told(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with closing(open_database(path, durable=True)) as opened:
        opened.run_sync(_make_table)
        opened.run_sync(lambda t: [_add(t, "x" * 500) for _ in range(100)])
    data = bytearray(path.read_bytes())
    data[4096:] = os.urandom(len(data) - 4096)
    path.write_bytes(data)
    with (
        closing(open_database(path, durable=True)) as opened,
        pytest.raises(StoreError, match=r"is damaged .* backups"),
    ):
        await opened.run(lambda t: [row["text"] for row in t["things"].rows])


async def test_a_full_disk_keeps_nothing_of_the_transaction(database: Database) -> None:
    await database.run(lambda tables: _add(tables, "before"))

    def work(tables: sqlite_utils.Database) -> None:
        for _ in range(50):
            _add(tables, "x" * 10_000)

    with no_file_grows(), pytest.raises(StoreFull, match="nothing was half written"):
        await database.run(work)
    assert await database.run(_count) == 1
    await database.run(work)
    assert await database.run(_count) == 51


@pytest.mark.namespace
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
async def test_a_really_full_disk_keeps_nothing_of_the_transaction(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", megabytes=2) as disk:
        with closing(open_database(disk / "state.db", durable=True)) as opened:
            opened.run_sync(_make_table)
            ballast = fill(disk)
            with pytest.raises(StoreFull, match=r"no space left for state\.db"):
                await opened.run(lambda t: [_add(t, "x" * 1000) for _ in range(500)])
            assert await opened.run(_count) == 0
            ballast.unlink()
            await opened.run(lambda tables: _add(tables, "after"))
            assert await opened.run(_count) == 1
        with closing(open_database(disk / "state.db", durable=True)) as opened:
            check = opened.run_sync(lambda t: t.execute("PRAGMA integrity_check").fetchone()[0])
            assert (opened.run_sync(_count), check) == (1, "ok")
