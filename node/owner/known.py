"""Who this node is, as the database tells it: one row, and the owner's chain."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import sqlite_utils

from node.owner.seam import FeedWriter
from node.store import Migration
from protocols import ids
from protocols.bodies import DeviceAdd, DeviceRevoke
from protocols.chain import ChainState
from protocols.http.control import DeviceEntry
from protocols.records import open_record


def _create(tables: sqlite_utils.Database) -> None:
    tables.execute(
        "CREATE TABLE identity (id INTEGER PRIMARY KEY CHECK (id = 1), owner BLOB NOT NULL,"
        " device BLOB NOT NULL, name TEXT NOT NULL, created_at REAL NOT NULL,"
        " words_shown INTEGER NOT NULL DEFAULT 0, chain_shown INTEGER NOT NULL DEFAULT -1)"
    )


MIGRATION = Migration("owner/0001-identity", _create)


@dataclass(frozen=True)
class Row:
    owner: bytes  # the feed of the owner's chain
    device: bytes  # this device's public key
    name: str
    created_at: float
    words_shown: bool = False
    chain_shown: int = -1  # the place up to which the chain was ever handed out


@dataclass(frozen=True)
class Known:
    """A snapshot; replaced whole after each change."""

    row: Row
    chain: ChainState | None  # None: restored from words, and the chain was not seen yet
    times: dict[bytes, float] = field(default_factory=dict)  # when devices were added or revoked

    @property
    def pending(self) -> str:
        """Why this device is not its owner's, and what to do; "" when it is."""
        device = self.chain.device(self.row.device) if self.chain else None
        if device is None:
            return (
                "this device has not seen its owner's chain yet, so it is not certified:"
                " give it the chain from your backup with `node identity restore --chain FILE`"
            )
        if not device.active:
            return (
                "the owner revoked this device: make it a new one with `node identity restore`"
                " and the owner's words and chain"
            )
        return ""

    def devices(self) -> tuple[DeviceEntry, ...]:
        found = [
            DeviceEntry(
                id=ids.device_id(device.key),
                name=device.name,
                state="certified" if device.active else "revoked",
                this=device.key == self.row.device,
                since=self.times.get(device.key, 0.0),
            )
            for device in (self.chain.devices if self.chain else ())
        ]
        if not any(entry.this for entry in found):
            row = self.row
            found.append(
                DeviceEntry(ids.device_id(row.device), row.name, "pending", True, row.created_at)
            )
        return tuple(found)


def read_row(tables: sqlite_utils.Database) -> Row | None:
    for row in tables.query("SELECT * FROM identity"):
        return Row(
            bytes(row["owner"]),
            bytes(row["device"]),
            row["name"],
            row["created_at"],
            bool(row["words_shown"]),
            row["chain_shown"],
        )
    return None


def write_row(tables: sqlite_utils.Database, row: Row) -> None:
    values: list[Any] = [row.owner, row.device, row.name, row.created_at]
    tables.execute(
        "INSERT OR REPLACE INTO identity"
        " (id, owner, device, name, created_at, words_shown, chain_shown) VALUES (1, ?, ?, ?, ?, ?, ?)",
        [*values, row.words_shown, row.chain_shown],
    )


def read_known(tables: sqlite_utils.Database, feeds: FeedWriter) -> Known:
    row = read_row(tables)
    if row is None:
        raise LookupError("no identity was made yet")
    chain = feeds.state(tables, row.owner)
    times: dict[bytes, float] = {}
    for envelope in feeds.read(tables, row.owner):
        signed = open_record(envelope)
        if isinstance(signed.body, DeviceAdd | DeviceRevoke):
            times[signed.body.device] = signed.record.at / 1000
    return Known(row, chain, times)
