"""The tables of the feeds room and the statements on them. Every function works in the caller's transaction."""

from __future__ import annotations

import sqlite_utils

from node.store import Migration, StoreError
from protocols.bodies import Kept
from protocols.chain import ChainState, Fork, dump, load
from protocols.errors import Malformed


def _create(tables: sqlite_utils.Database) -> None:
    tables.execute(
        "CREATE TABLE feeds (feed BLOB PRIMARY KEY, sort TEXT NOT NULL, owner BLOB NOT NULL,"
        " seq INTEGER NOT NULL, hash BLOB NOT NULL, state BLOB NOT NULL)"
    )
    tables.execute(
        "CREATE TABLE records (feed BLOB NOT NULL REFERENCES feeds (feed), seq INTEGER NOT NULL,"
        " hash BLOB NOT NULL, envelope BLOB NOT NULL, UNIQUE (feed, seq))"
    )
    # The highest place that each feed was ever seen to have, stored here or not.
    tables.execute(
        "CREATE TABLE heads (feed BLOB PRIMARY KEY, seq INTEGER NOT NULL, hash BLOB NOT NULL)"
    )
    tables.execute(
        "CREATE TABLE forks (feed BLOB NOT NULL, seq INTEGER NOT NULL, first BLOB NOT NULL,"
        " second BLOB NOT NULL, UNIQUE (feed, seq, second))"
    )


MIGRATIONS = (Migration("feeds/0001-feeds", _create),)


def load_state(tables: sqlite_utils.Database, feed: bytes) -> ChainState | None:
    """Raises `StoreError` when the row was damaged."""
    for row in tables.query("SELECT state FROM feeds WHERE feed = ?", [feed]):
        try:
            return load(row["state"])
        except (Malformed, TypeError) as error:
            raise StoreError(
                f"state.db is damaged: what it says of the feed {feed.hex()[:16]} cannot be read"
                " (restore it from the backups folder of the home)"
            ) from error
    return None


def save_state(tables: sqlite_utils.Database, state: ChainState) -> None:
    tables.execute(
        "INSERT INTO feeds (feed, sort, owner, seq, hash, state) VALUES (?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (feed) DO UPDATE SET seq = excluded.seq, hash = excluded.hash, state = excluded.state",
        [state.feed, state.sort, state.owner, state.seq, state.hash, dump(state)],
    )


def add_record(tables: sqlite_utils.Database, state: ChainState, envelope: bytes) -> None:
    """The envelope that led to `state`. A second one for its place is refused by the table itself."""
    tables.execute(
        "INSERT INTO records (feed, seq, hash, envelope) VALUES (?, ?, ?, ?)",
        [state.feed, state.seq, state.hash, envelope],
    )


def envelope_at(tables: sqlite_utils.Database, feed: bytes, seq: int) -> bytes | None:
    query = "SELECT envelope FROM records WHERE feed = ? AND seq = ?"
    return next((bytes(row["envelope"]) for row in tables.query(query, [feed, seq])), None)


def hash_at(tables: sqlite_utils.Database, feed: bytes, seq: int) -> bytes | None:
    query = "SELECT hash FROM records WHERE feed = ? AND seq = ?"
    return next((bytes(row["hash"]) for row in tables.query(query, [feed, seq])), None)


def envelopes(
    tables: sqlite_utils.Database, feed: bytes, *, start: int = 0, limit: int = -1
) -> list[tuple[int, bytes]]:
    """Places and envelopes from place `start` on."""
    rows = tables.query(
        "SELECT seq, envelope FROM records WHERE feed = ? AND seq >= ? ORDER BY seq LIMIT ?",
        [feed, start, limit],
    )
    return [(int(row["seq"]), bytes(row["envelope"])) for row in rows]


def remember(tables: sqlite_utils.Database, feed: bytes, place: Kept) -> None:
    """Keep the higher of what is known and `place`."""
    tables.execute(
        "INSERT INTO heads (feed, seq, hash) VALUES (?, ?, ?) ON CONFLICT (feed) DO UPDATE"
        " SET seq = excluded.seq, hash = excluded.hash WHERE excluded.seq > heads.seq",
        [feed, place.seq, place.hash],
    )


def forget(tables: sqlite_utils.Database, feed: bytes) -> None:
    tables.execute("DELETE FROM heads WHERE feed = ?", [feed])


def highest(tables: sqlite_utils.Database, feed: bytes) -> Kept | None:
    rows = tables.query("SELECT seq, hash FROM heads WHERE feed = ?", [feed])
    return next((Kept(int(row["seq"]), bytes(row["hash"])) for row in rows), None)


def add_fork(tables: sqlite_utils.Database, feed: bytes, fork: Fork) -> None:
    tables.execute(
        "INSERT OR IGNORE INTO forks (feed, seq, first, second) VALUES (?, ?, ?, ?)",
        [feed, fork.seq, fork.first, fork.second],
    )


def forks(tables: sqlite_utils.Database, feed: bytes) -> list[Fork]:
    rows = tables.query("SELECT * FROM forks WHERE feed = ? ORDER BY seq, rowid", [feed])
    return [Fork(int(r["seq"]), bytes(r["first"]), bytes(r["second"])) for r in rows]
