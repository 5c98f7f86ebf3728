"""API keys: who else may use this node, for what, until when.

Only a hash of each secret is kept. The live keys are held in memory in step with the database, so
that checking one costs no disk.
"""

from __future__ import annotations

import hmac
import json
import logging
import math
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

import msgspec
import sqlite_utils
import trio

from node.events import EventLog
from node.owner.callers import ACTIONS, OWNER_ONLY, Caller
from node.owner.callers import owner as _owner_caller
from node.owner.errors import OwnerError
from node.owner.keys import new_token
from node.store import Database, Migration, StoreError
from protocols.errors import Malformed
from protocols.http.control import Key, MadeKey, NewKey
from protocols.labels import Label, allows
from protocols.limits import NAME_CHARS

_SECRET_CHARS: Final = 256
_MOST_KEYS: Final = 1000  # that are neither revoked nor expired
_LONGEST_S: Final = 100 * 365 * 24 * 3600.0
_USE_WRITTEN_EVERY_S: Final = 60.0
_CLOSE_S: Final = 2.0
_log = logging.getLogger(__name__)


def _create(tables: sqlite_utils.Database) -> None:
    tables["grants"].create(
        {
            "id": str,
            "name": str,
            "hash": bytes,
            "label": str,
            "ceiling": str,
            "may": str,
            "created_at": float,
            "expires_at": float,
            "revoked_at": float,
            "last_used_at": float,
        },
        pk="id",
        not_null={"name", "hash", "label", "ceiling", "may", "created_at"},
    )
    tables["grants"].create_index(["hash"], unique=True)


MIGRATION = Migration("owner/0002-grants", _create)


@dataclass(frozen=True)
class _Live:
    """One key in memory."""

    digest: bytes
    key: Key
    caller: Caller


class Grants:
    """Make, list, revoke and recognise API keys. Open with `open_grants`."""

    def __init__(
        self,
        database: Database,
        events: EventLog,
        keys: list[tuple[bytes, Key]],
        *,
        token: str,
        default_label: str,
        now: Callable[[], float],
    ) -> None:
        self.owner_caller = _owner_caller(default_label)
        self._database = database
        self._events = events
        self._now = now
        self._token = _digest(token)
        self._live = {key.id: _live(digest, key) for digest, key in keys}
        self._used: dict[str, float] = {}
        self._turn = trio.Lock()

    @asynccontextmanager
    async def run(self) -> AsyncIterator[Grants]:
        """While open, writes down now and then when keys were last used; once more at the end."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._write_use_forever)
            try:
                yield self
            finally:
                nursery.cancel_scope.cancel()
                with trio.move_on_after(_CLOSE_S) as scope:
                    scope.shield = True
                    await self._try_write_use()

    def authenticate(self, secret: str) -> Caller | None:
        """Whose secret this is, or None for an unknown, revoked or expired one.

        Takes the same time wherever a secret differs: only hashes are compared, and always all of them.
        """
        if len(secret) > _SECRET_CHARS:
            return None
        digest, now = _digest(secret), self._now()
        found = self.owner_caller if hmac.compare_digest(digest, self._token) else None
        for live in self._live.values():
            if hmac.compare_digest(digest, live.digest) and _is_valid(live.key, now):
                self._used[live.key.id] = now
                found = live.caller
        return found

    async def new(self, ask: NewKey) -> MadeKey:
        """A new key; its secret is shown this once. Raises `OwnerError` for what cannot be given."""
        _check(ask)
        secret, at = new_token(), self._now()
        key = Key(
            id=secrets.token_hex(8),
            name=ask.name.strip(),
            label=ask.label,
            ceiling=ask.ceiling,
            may=tuple(sorted(set(ask.may))),
            created_at=at,
            expires_at=None if ask.expires_in_s is None else at + ask.expires_in_s,
        )
        async with self._turn:
            self._check_room(key, at)
            await self._database.run(lambda tables: self._insert(tables, key, _digest(secret)))
            self._live[key.id] = _live(_digest(secret), key)
        return MadeKey(key, secret)

    async def list(self) -> list[Key]:
        """Every key ever made, oldest first, without secrets."""
        async with self._turn:
            rows = await self._database.run(_read_all)
        return [_with_use(key, self._used.get(key.id)) for _, key in rows]

    async def revoke(self, id_or_name: str) -> Key:
        """End a key now. Revoking it again changes nothing. Raises `OwnerError` ("unknown_grant")."""
        async with self._turn:
            key = _find(await self._database.run(_read_all), id_or_name, self._now())
            if key.revoked_at is not None:
                return key
            at = self._now()
            self._live.pop(key.id, None)  # before the write: when that fails, it is still refused
            self._used.pop(key.id, None)
            await self._database.run(lambda tables: self._mark_revoked(tables, key, at))
        return msgspec.structs.replace(key, revoked_at=at)

    async def write_use(self) -> None:
        """Write down when keys were last used: one transaction for all that were."""
        used = dict(self._used)
        if used:
            await self._database.run(lambda tables: _mark_used(tables, used))
        for key_id, at in used.items():
            if self._used.get(key_id) == at:
                del self._used[key_id]

    async def _write_use_forever(self) -> None:
        while True:
            await trio.sleep(_USE_WRITTEN_EVERY_S)
            await self._try_write_use()

    async def _try_write_use(self) -> None:
        """When a key was last used is not worth a stop of the node."""
        try:
            await self.write_use()
        except StoreError as error:
            _log.warning("the last use of API keys is not written down: %s", error)

    def _check_room(self, key: Key, at: float) -> None:
        valid = [live.key for live in self._live.values() if _is_valid(live.key, at)]
        if len(valid) >= _MOST_KEYS:
            raise OwnerError(
                "bad_request",
                f"there are {_MOST_KEYS} API keys already: revoke some with `node grants revoke`",
            )
        if any(other.name == key.name for other in valid):
            raise OwnerError(
                "name_taken",
                f"an API key named {key.name!r} exists: choose another name, or revoke it first",
            )

    def _insert(self, tables: sqlite_utils.Database, key: Key, digest: bytes) -> None:
        row = msgspec.to_builtins(key) | {"hash": digest, "may": json.dumps(key.may)}
        tables["grants"].insert(row)
        self._events.write(
            tables,
            "grant.made",
            key.id,
            label=key.label,
            ceiling=key.ceiling,
            may=list(key.may),
            expires_at=key.expires_at,
        )

    def _mark_revoked(self, tables: sqlite_utils.Database, key: Key, at: float) -> None:
        tables.execute("UPDATE grants SET revoked_at = ? WHERE id = ?", [at, key.id])
        self._events.write(tables, "grant.revoked", key.id)


async def open_grants(
    database: Database,
    events: EventLog,
    *,
    token: str,
    default_label: str = "device",
    now: Callable[[], float],
) -> Grants:
    """The grants of this node; `token` is the owner's own, from the token file."""
    keys = [
        (digest, key) for digest, key in await database.run(_read_all) if key.revoked_at is None
    ]
    return Grants(database, events, keys, token=token, default_label=default_label, now=now)


def _check(ask: NewKey) -> None:
    name = ask.name.strip()
    if not 0 < len(name) <= NAME_CHARS or not name.isprintable():
        raise OwnerError("bad_request", f"a key's name has 1 to {NAME_CHARS} printable characters")
    label, ceiling = _label("label", ask.label), _label("ceiling", ask.ceiling)
    if not allows(label, ceiling):
        raise OwnerError(
            "bad_request",
            f"the label {label} goes further than the ceiling {ceiling}: widen --ceiling or narrow --label",
        )
    if not ask.may:
        raise OwnerError("bad_request", "a key that may do nothing is of no use: list actions")
    for action in ask.may:
        if action in OWNER_ONLY:
            raise OwnerError(
                "bad_request", f"no API key can be given {action!r}: only the owner may"
            )
        if action != "*" and action not in ACTIONS:
            known = ", ".join(sorted(ACTIONS - OWNER_ONLY))
            raise OwnerError("bad_request", f"{action[:40]!r} is no action; known are * or {known}")
    after = ask.expires_in_s
    if after is not None and not (math.isfinite(after) and 0 < after <= _LONGEST_S):
        raise OwnerError("bad_request", "a key expires after more than 0 s and within 100 years")


def _label(name: str, text: str) -> Label:
    try:
        return Label.parse(text)
    except Malformed as error:
        raise OwnerError("bad_request", f"{name}: {error}") from error


def _find(rows: list[tuple[bytes, Key]], id_or_name: str, now: float) -> Key:
    """By id, else the valid key of that name, else the newest that had it."""
    keys = [key for _, key in rows]
    named = [key for key in keys if key.name == id_or_name]
    found = [key for key in keys if key.id == id_or_name]
    found = found or [key for key in named if _is_valid(key, now)] or named[-1:]
    if not found:
        raise OwnerError(
            "unknown_grant",
            f"there is no API key {id_or_name[:NAME_CHARS]!r}: `node grants list` shows them",
        )
    return found[0]


def _with_use(key: Key, at: float | None) -> Key:
    return key if at is None else msgspec.structs.replace(key, last_used_at=at)


def _is_valid(key: Key, now: float) -> bool:
    return key.revoked_at is None and (key.expires_at is None or now < key.expires_at)


def _digest(secret: str) -> bytes:
    """A plain hash is enough: the secrets are 256 random bits, nobody can guess their way back."""
    return sha256(secret.encode("utf-8", "surrogatepass")).digest()


def _live(digest: bytes, key: Key) -> _Live:
    return _Live(digest, key, Caller(key.id, "grant", key.label, key.ceiling, frozenset(key.may)))


def _read_all(tables: sqlite_utils.Database) -> list[tuple[bytes, Key]]:
    return [_from_row(row) for row in tables.query("SELECT * FROM grants ORDER BY rowid")]


def _from_row(row: dict[str, Any]) -> tuple[bytes, Key]:
    fields = {name: row[name] for name in Key.__struct_fields__ if name != "may"}
    return bytes(row["hash"]), Key(may=tuple(json.loads(row["may"])), **fields)


def _mark_used(tables: sqlite_utils.Database, used: dict[str, float]) -> None:
    for key_id, at in used.items():
        tables.execute("UPDATE grants SET last_used_at = ? WHERE id = ?", [at, key_id])
