"""The event log: hash-chained rows that are only ever added.

Each row's hash covers the row before it, so a changed row, or one missing between others, is found by
`verify`. (A chain cannot show that its newest rows were cut off.) An event never holds what was said in a chat: ids, counts, labels, rules and reasons only.
"""

from __future__ import annotations

import json
import logging
import time
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import sqlite_utils

from node.store import Database, Migration
from protocols.event_words import in_words

_GENESIS = bytes(32)
_DETAILS = frozenset({"job.routed"})  # for the table, not for a person who watches
_log = logging.getLogger("node.events")


def _create(tables: sqlite_utils.Database) -> None:
    tables["events"].create(
        {"seq": int, "at": float, "kind": str, "subject": str, "facts": str, "hash": bytes},
        pk="seq",
        not_null={"at", "kind", "subject", "facts", "hash"},
    )
    tables["events"].create_index(["subject"])
    tables["events"].create_index(["kind"])


MIGRATIONS = (Migration("events/0001-log", _create),)


@dataclass(frozen=True)
class Entry:
    seq: int
    at: float  # seconds since 1970; for people, never for order
    kind: str  # e.g. "job.ended", "model.added", "owner.rotated"
    subject: str  # the id it is about, or ""
    facts: dict[str, Any]


class EventLog:
    """Append, read, verify. Appending is part of doing: it raises when it cannot be kept."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def append(self, kind: str, subject: str = "", **facts: Any) -> int:
        """Write one event and return its number. Raises `StoreError` when it cannot be kept."""
        return await self._database.run(lambda tables: _append(tables, kind, subject, facts))

    def write(
        self, tables: sqlite_utils.Database, kind: str, subject: str = "", **facts: Any
    ) -> int:
        """Write one event inside a transaction of the same database: the deed and its event, or neither."""
        return _append(tables, kind, subject, facts)

    async def read(
        self, *, after: int = 0, limit: int = 100, kind: str = "", subject: str = ""
    ) -> list[Entry]:
        """Events after number `after`, oldest first; `kind` matches as a prefix ("job.")."""

        def work(tables: sqlite_utils.Database) -> list[Entry]:
            rows = tables.query(
                "SELECT * FROM events WHERE seq > ? AND substr(kind, 1, length(?)) = ?"
                " AND (? = '' OR subject = ?) ORDER BY seq LIMIT ?",
                [after, kind, kind, subject, subject, limit],
            )
            return [_entry(row) for row in rows]

        return await self._database.run(work)

    async def latest(self, limit: int = 100, *, kind: str = "", subject: str = "") -> list[Entry]:
        """The last events, oldest first; `kind` and `subject` as in `read`."""

        def work(tables: sqlite_utils.Database) -> list[Entry]:
            rows = tables.query(
                "SELECT * FROM events WHERE substr(kind, 1, length(?)) = ?"
                " AND (? = '' OR subject = ?) ORDER BY seq DESC LIMIT ?",
                [kind, kind, subject, subject, limit],
            )
            return [_entry(row) for row in rows][::-1]

        return await self._database.run(work)

    async def verify(self) -> int | None:
        """The number of the first event that does not fit its chain, or None when all do."""
        return await self._database.run(_first_broken)


def _append(tables: sqlite_utils.Database, kind: str, subject: str, facts: dict[str, Any]) -> int:
    last = list(tables.query("SELECT seq, hash FROM events ORDER BY seq DESC LIMIT 1"))
    seq, previous = (int(last[0]["seq"]) + 1, _as_bytes(last[0]["hash"])) if last else (1, _GENESIS)
    at = time.time()
    subject = _storable(subject)
    text = _storable(json.dumps(facts, sort_keys=True, ensure_ascii=False, separators=(",", ":")))
    tables.execute(
        "INSERT INTO events (seq, at, kind, subject, facts, hash) VALUES (?, ?, ?, ?, ?, ?)",
        [seq, at, kind, subject, text, _hash(previous, seq, at, kind, subject, text)],
    )
    # The log file follows along, for a person who watches; the table is what counts.
    level = logging.DEBUG if kind in _DETAILS else logging.INFO
    _log.log(level, "%s", f"{kind} {subject}  {in_words(kind, facts)}".rstrip())
    return seq


def _hash(previous: bytes, seq: int, at: float, kind: str, subject: str, facts: str) -> bytes:
    row = json.dumps([seq, repr(at), kind, subject, facts], ensure_ascii=False).encode()
    return sha256(previous + row).digest()


def _first_broken(tables: sqlite_utils.Database) -> int | None:
    previous, expected = _GENESIS, 1
    for row in tables.query("SELECT * FROM events ORDER BY seq"):
        if row["seq"] != expected or not _is_sound(row):
            return expected
        digest = _hash(previous, row["seq"], row["at"], row["kind"], row["subject"], row["facts"])
        if digest != row["hash"]:
            return expected
        previous, expected = digest, expected + 1
    return None


def _is_sound(row: dict[str, Any]) -> bool:
    """SQLite keeps any type in any column: whoever changed a row may have changed its types too."""
    texts = all(isinstance(row[name], str) for name in ("kind", "subject", "facts"))
    return texts and isinstance(row["at"], float)


def _entry(row: dict[str, Any]) -> Entry:
    """A row as it is. One that somebody broke is shown too: `verify` says that it is broken."""
    try:
        facts = json.loads(row["facts"])
    except (ValueError, TypeError):
        facts = None
    if not isinstance(facts, dict):
        facts = {"unreadable": str(row["facts"])}
    at = row["at"] if isinstance(row["at"], float) else 0.0
    return Entry(row["seq"], at, str(row["kind"]), str(row["subject"]), facts)


def _as_bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else _GENESIS


def _storable(text: str) -> str:
    """SQLite takes no lone surrogates, which names of files can hold."""
    return text.encode("utf-8", "replace").decode()
