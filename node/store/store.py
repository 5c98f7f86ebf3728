"""Both databases of a home: open them, bring their tables up to date, close them.

A home remembers its layout version. An older one is backed up whole (both databases) before anything
is changed; a newer one is refused, because this program cannot know what it would break.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from time import strftime

from node.files import write_atomically
from node.home import Home, HomeError
from node.store.database import Database, StoreDamaged, StoreError, open_database
from node.store.migrations import Migration, applied, migrate

#: Raised by one when folders or files change so that the program before cannot use them. (Tables that
#: a program does not know are noticed by themselves.)
HOME_VERSION = 1
#: The layout of a home that does not say which it has.
FIRST_VERSION = 1
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Store:
    state: Database
    index: Database


@contextmanager
def open_store(
    home: Home, state: Sequence[Migration], index: Sequence[Migration]
) -> Iterator[Store]:
    """The home's databases, migrated. `HomeError` for a newer home, `StoreError` for a damaged one."""
    version = _read_version(home)
    if version > HOME_VERSION:
        raise _newer(home, f"layout {version}, this program knows {HOME_VERSION}")
    with (
        closing(open_database(home.state_db, durable=True)) as state_db,
        closing(_open_index(home.index_db)) as index_db,
    ):
        store = Store(state_db, index_db)
        if unknown := applied(state_db) - {m.name for m in state}:
            raise _newer(home, f"it holds {', '.join(sorted(unknown))}")
        if _has_content(store) and (_pending(store, state, index) or version != HOME_VERSION):
            back_up(home, store)
        migrate(store.state, state)
        migrate(store.index, index)
        if version != HOME_VERSION or not home.version_file.exists():
            _write_version(home)
        yield store


def back_up(home: Home, store: Store) -> Path:
    """Copy both databases into a new folder under `backups`, consistent even while in use.

    A folder that has its final name is whole; nothing is left of one that could not be. Raises
    `StoreFull` or `StoreError`.
    """
    name = strftime("before-migration-%Y%m%d-%H%M%S") + f"-{secrets.token_hex(2)}"
    partial = home.backups / f".{name}.partial"
    for killed in home.backups.glob(".before-migration-*.partial"):
        rmtree(killed, ignore_errors=True)
    try:
        partial.mkdir(mode=0o700, parents=True)
        for database in (store.state, store.index):
            database.copy_to(partial / database.path.name)
        return partial.rename(home.backups / name)
    except (OSError, StoreError) as error:
        rmtree(partial, ignore_errors=True)
        if isinstance(error, StoreError):
            raise
        raise StoreError(
            f"the backup before the migration cannot be written ({error.strerror}): make room in {home.backups}"
        ) from error


def _open_index(path: Path) -> Database:
    """The database that can be made again: a damaged one is, and nothing is lost with it."""
    try:
        database = open_database(path, durable=False)
        try:
            database.check()
        except StoreError:
            database.close()
            raise
        return database
    except StoreDamaged as error:
        _log.warning("%s is made again from the files (%s)", path.name, error.__cause__ or error)
        for end in ("", "-wal", "-shm"):
            path.with_name(path.name + end).unlink(missing_ok=True)
        return open_database(path, durable=False)


def _newer(home: Home, how: str) -> HomeError:
    return HomeError(
        f"the home folder {home.root} was made by a newer version ({how}): update the program, or choose"
        " another home with --home DIR"
    )


def _read_version(home: Home) -> int:
    """The layout of this home; a home that does not say is a new one, or of the first layout."""
    try:
        return int(home.version_file.read_text(encoding="ascii"))
    except FileNotFoundError:
        return FIRST_VERSION if home.state_db.exists() else HOME_VERSION
    except (ValueError, OSError) as error:
        raise HomeError(
            f"{home.version_file} is not a version number ({error}): write the number of this home's"
            f" layout into it (a home of this program has {HOME_VERSION})"
        ) from error


def _write_version(home: Home) -> None:
    write_atomically(home.version_file, f"{HOME_VERSION}\n".encode("ascii"))


def _pending(store: Store, state: Sequence[Migration], index: Sequence[Migration]) -> bool:
    return bool(
        {m.name for m in state} - applied(store.state)
        or {m.name for m in index} - applied(store.index)
    )


def _has_content(store: Store) -> bool:
    return bool(applied(store.state))
