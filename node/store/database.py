"""One SQLite file behind one thread: every piece of work is a function of a sqlite-utils Database.

SQLite calls block (an fsync takes milliseconds), so they run in a worker thread; a limiter of one
keeps them in order and makes each function one transaction that no other can interleave with.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import sqlite_utils
import trio

T = TypeVar("T")


class StoreError(Exception):
    """The disk or the database refused; the message says what to do."""


class StoreFull(StoreError):
    """No space left: nothing of the transaction was kept."""


class Database:
    """Use `await database.run(work)`; `work` gets the sqlite-utils Database inside a transaction."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection
        self._tables = sqlite_utils.Database(connection)
        self._turn = trio.CapacityLimiter(1)

    async def run(self, work: Callable[[sqlite_utils.Database], T]) -> T:
        """Run `work` in one transaction: all of it is kept, or none.

        Not cancellable once begun, so that a cancelled caller cannot leave half a change; it
        is as short as its SQL. Raises `StoreFull` or `StoreError` when SQLite cannot.
        """
        return await trio.to_thread.run_sync(self.run_sync, work, limiter=self._turn)

    def run_sync(self, work: Callable[[sqlite_utils.Database], T]) -> T:
        """The same from a plain thread: for start, stop and tools."""
        try:
            with self._connection:
                self._connection.execute("BEGIN IMMEDIATE")
                return work(self._tables)
        except sqlite3.OperationalError as error:
            if "full" in str(error) or "disk I/O error" in str(error):
                raise StoreFull(
                    f"no space left for {self.path.name}: free some space; nothing was half written"
                ) from error
            raise StoreError(f"{self.path.name}: {error}") from error
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.IntegrityError):
                raise
            raise StoreError(
                f"{self.path.name} is damaged ({error}): restore it from the backups folder of the home"
            ) from error

    def close(self) -> None:
        self._connection.close()


def open_database(path: Path, *, durable: bool) -> Database:
    """Open or create the file. `durable` syncs each commit to disk (state), else only checkpoints (index)."""
    try:
        connection = sqlite3.connect(
            path, check_same_thread=False, isolation_level=None, timeout=10
        )
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("PRAGMA trusted_schema=OFF")
    except sqlite3.DatabaseError as error:
        raise StoreError(f"{path} cannot be opened as a database: {error}") from error
    path.chmod(0o600)
    return Database(path, connection)
