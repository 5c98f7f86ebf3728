"""Both databases of a home: open them, bring their tables up to date, close them.

A home remembers its layout version. An older one is backed up whole (both databases) before anything
is changed; a newer one is refused, because this program cannot know what it would break.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import strftime

from node.home import Home, HomeError
from node.store.database import Database, open_database
from node.store.migrations import Migration, applied, migrate

#: Raised by one whenever a home of this version cannot be used by the program before it.
HOME_VERSION = 1


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
        raise HomeError(
            f"the home folder {home.root} was made by a newer version (layout {version}, this program "
            f"knows {HOME_VERSION}): update the program, or choose another home with --home DIR"
        )
    store = Store(
        open_database(home.state_db, durable=True), open_database(home.index_db, durable=False)
    )
    try:
        if _pending(store, state, index) and _has_content(store):
            back_up(home, store)
        migrate(store.state, state)
        migrate(store.index, index)
        if version != HOME_VERSION:
            home.version_file.write_text(f"{HOME_VERSION}\n", encoding="ascii")
        yield store
    finally:
        store.state.close()
        store.index.close()


def back_up(home: Home, store: Store) -> Path:
    """Copy both databases into a new folder under `backups`, consistent even while in use."""
    folder = home.backups / strftime("before-migration-%Y%m%d-%H%M%S")
    folder.mkdir(parents=True, exist_ok=True)
    for database in (store.state, store.index):
        with sqlite3.connect(database.path) as source:
            target = sqlite3.connect(folder / database.path.name)
            try:
                source.backup(target)
            finally:
                target.close()
        source.close()
    return folder


def _read_version(home: Home) -> int:
    try:
        return int(home.version_file.read_text(encoding="ascii"))
    except FileNotFoundError:
        return HOME_VERSION
    except (ValueError, OSError) as error:
        raise HomeError(
            f"{home.version_file} is not a version number ({error}): restore or delete it"
        ) from error


def _pending(store: Store, state: Sequence[Migration], index: Sequence[Migration]) -> bool:
    return bool(
        {m.name for m in state} - applied(store.state)
        or {m.name for m in index} - applied(store.index)
    )


def _has_content(store: Store) -> bool:
    return bool(applied(store.state))
