"""Migrations: each room names its own, in order; what was applied is written in the database itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import sqlite_utils

from node.store.database import Database


@dataclass(frozen=True)
class Migration:
    """`apply` changes the tables once. The name ("events/0001-log") is never used again for another."""

    name: str
    apply: Callable[[sqlite_utils.Database], None]


def migrate(database: Database, migrations: Sequence[Migration]) -> list[str]:
    """Apply what has not been applied yet, each in a transaction; the names applied now."""
    return [m.name for m in migrations if database.run_sync(partial(_apply, migration=m))]


def applied(database: Database) -> set[str]:
    return database.run_sync(_applied)


def _applied(tables: sqlite_utils.Database) -> set[str]:
    if "migrations" not in tables.table_names():
        return set()
    return {str(row["name"]) for row in tables["migrations"].rows}


def _apply(tables: sqlite_utils.Database, migration: Migration) -> bool:
    tables.execute(
        "CREATE TABLE IF NOT EXISTS migrations (name TEXT PRIMARY KEY, at TEXT DEFAULT CURRENT_TIMESTAMP)"
    )
    if migration.name in _applied(tables):
        return False
    migration.apply(tables)
    tables.execute("INSERT INTO migrations (name) VALUES (?)", [migration.name])
    return True
