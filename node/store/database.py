"""One SQLite file behind one thread: every piece of work is a function of a sqlite-utils Database.

SQLite calls block (an fsync takes milliseconds), so they run in a worker thread; a limiter of one
keeps them in order and makes each function one transaction that no other can interleave with.
"""

from __future__ import annotations

import os
import sqlite3
import threading
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


class StoreDamaged(StoreError):
    """The file is no database, or no longer a whole one."""


class Database:
    """Use `await database.run(work)`; `work` gets the sqlite-utils Database inside a transaction."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection
        self._tables = sqlite_utils.Database(connection, execute_plugins=False)
        self._turn = trio.CapacityLimiter(1)
        self._lock = threading.Lock()  # for run_sync beside run: one connection, one transaction

    async def run(self, work: Callable[[sqlite_utils.Database], T]) -> T:
        """Run `work` in one transaction: all of it is kept, or none.

        Not cancellable once begun, so that a cancelled caller cannot leave half a change; it
        is as short as its SQL. Raises `StoreFull` or `StoreError` when SQLite cannot.
        """
        return await trio.to_thread.run_sync(self.run_sync, work, limiter=self._turn)

    def run_sync(self, work: Callable[[sqlite_utils.Database], T]) -> T:
        """The same from a plain thread: for start, stop and tools."""
        with self._lock:
            try:
                with self._connection:
                    self._connection.execute("BEGIN IMMEDIATE")
                    return work(self._tables)
            except sqlite3.IntegrityError:
                raise
            except sqlite3.Error as error:
                raise _explain(self.path, error) from error

    def check(self) -> None:
        """Read all of the file once. Raises `StoreDamaged`."""
        found = self.run_sync(lambda tables: tables.execute("PRAGMA quick_check(1)").fetchone()[0])
        if found != "ok":
            raise _explain(self.path, _damage(found))

    def copy_to(self, path: Path) -> None:
        """A consistent copy in a new file, also while this one is in use. Raises `StoreError`."""
        copy = open_database(path, durable=True)
        try:
            with self._lock:
                self._connection.backup(copy._connection)
        except sqlite3.Error as error:
            raise _explain(path, error) from error
        finally:
            copy.close()

    def close(self) -> None:
        with self._lock:
            self._connection.close()


def open_database(path: Path, *, durable: bool) -> Database:
    """Open or create the file. `durable` syncs each commit to disk (state), else only checkpoints (index).

    Raises `StoreError` when it cannot be opened, or is no database.
    """
    connection = None
    try:
        _make_private(path)
        connection = sqlite3.connect(
            path, check_same_thread=False, isolation_level=None, timeout=10
        )
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("PRAGMA trusted_schema=OFF")
    except sqlite3.Error as error:
        if connection is not None:
            connection.close()
        raise _explain(path, error) from error
    except OSError as error:
        raise StoreError(f"{path} cannot be opened: {error.strerror or error}") from error
    return Database(path, connection)


def _make_private(path: Path) -> None:
    """Mode 0600 before SQLite opens it: the files that it makes beside it take the same mode.

    An existing file is never opened here: closing it would drop SQLite's own locks on it.
    """
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        if path.stat().st_mode & 0o077:
            path.chmod(0o600)


def _damage(found: str) -> sqlite3.DatabaseError:
    error = sqlite3.DatabaseError(found)
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error


def _explain(path: Path, error: sqlite3.Error) -> StoreError:
    # Errors of the module itself (a closed connection) carry no code of SQLite.
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return StoreFull(
            f"no space left for {path.name}: free some space; nothing was half written"
        )
    if code == sqlite3.SQLITE_IOERR:
        return StoreFull(
            f"the disk does not take {path.name} ({error}): free some space, or check the disk;"
            " nothing was half written"
        )
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return StoreDamaged(
            f"{path} is damaged ({error}): put a copy in its place, from the folder backups of the home or"
            " a backup of your own; without one, move the folders data and keys away, start, and use"
            " `node identity restore` with your words and chain"
        )
    return StoreError(f"{path.name}: {error}")
