"""The living identity of this node: its owner, its device, and what the owner's key is used for."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import sqlite_utils
import trio
from nacl.signing import SigningKey

from node.events import EventLog
from node.home import Home
from node.owner import chainfile, deeds, keys, words
from node.owner.errors import OwnerError
from node.owner.folder import KeyFolder
from node.owner.known import Known, Row, read_known, read_row, write_row
from node.owner.names import clean_name
from node.owner.restoring import Restorer
from node.owner.seam import FeedWriter
from node.store import Database, StoreError
from protocols import ids, limits
from protocols.chain import ChainState
from protocols.envelope import sign
from protocols.errors import ProtocolError
from protocols.http import control

_log = logging.getLogger(__name__)


class Identity:
    """Made by `open_identity`. What changes the owner's chain runs one at a time and records an event."""

    def __init__(
        self,
        folder: KeyFolder,
        database: Database,
        events: EventLog,
        feeds: FeedWriter,
        *,
        known: Known,
        device_key: SigningKey,
        owner_file: keys.OwnerFile | None,
        token: str,
        now: Callable[[], float],
    ) -> None:
        self.token = token  # the owner's own, for `open_grants`
        self._folder = folder
        self._database = database
        self._events = events
        self._feeds = feeds
        self._known = known
        self._device_key = device_key
        self._owner_file = owner_file
        self._now = now
        self._turn = trio.Lock()

    @property
    def owner_id(self) -> str:
        return ids.owner_text(self._known.row.owner)

    @property
    def device_id(self) -> str:
        return ids.device_id(self._known.row.device)

    @property
    def device_name(self) -> str:
        return self._known.row.name

    def sign_as_device(self, domain: str, payload: bytes) -> bytes:
        """The envelope of `payload`, signed by this device for this domain."""
        return sign(self._device_key, domain, payload)

    def describe(self) -> control.Identity:
        known, file = self._known, self._owner_file
        return control.Identity(
            owner=self.owner_id,
            device=self.device_id,
            device_name=self.device_name,
            created_at=known.row.created_at,
            rotations=len(known.chain.retired) if known.chain else 0,
            backed_up=known.row.words_shown,
            key_on_device=file is not None,
            passphrase=file is not None and file.has_passphrase,
            devices=known.devices(),
            pending=known.pending,
        )

    def backup_hint(self) -> str | None:
        """One line to show when something would be lost with this machine; None when nothing would."""
        row, chain = self._known.row, self._known.chain
        if not row.words_shown:
            return (
                "Your identity exists only on this machine: write down its 24 words with"
                " `node identity backup`."
            )
        if chain is not None and chain.seq > row.chain_shown:
            return (
                "Your keys or devices changed since your last backup: save the chain again with"
                " `node identity backup`."
            )
        return None

    async def backup(
        self, passphrase: str | None = None, forget: bool = False
    ) -> control.BackupWords:
        """The 24 words and the chain. With `forget`, no owner key stays on this device afterwards.

        Raises `OwnerError`: "no_owner_key", "wrong_passphrase".
        """
        async with self._turn:
            entropy = await self._secret(None, passphrase)
            text = await trio.to_thread.run_sync(words.to_words, entropy)
            with trio.CancelScope(shield=True):  # what is written down has also happened
                chain = await self._database.run(partial(self._mark_backed_up, forget=forget))
                if forget:
                    await trio.to_thread.run_sync(self._folder.forget_owner)
                await self._reload()
        return control.BackupWords(text, chain)

    async def protect(self, passphrase: str | None, new: str | None) -> None:
        """Seal the owner's secret on this disk with the passphrase `new`; None takes the seal off."""
        async with self._turn:
            entropy = await self._secret(None, passphrase)
            file = await trio.to_thread.run_sync(keys.seal, entropy, new)
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(self._folder.write_owner, file)
                self._owner_file = file
                await self._events.append("owner.protected", self.owner_id, sealed=new is not None)

    async def restore(self, ask: control.RestoreIdentity) -> None:
        """Become a new device of the owner of these words, with a feed of its own.

        With the chain (given, or held already) the device is certified at once. Without, it is pending:
        nothing is ever added to a chain that was not seen. A pending device is certified by a second
        call with the chain, and needs no words then if the owner's key is on it. The keys of before
        are kept under `backups`. Raises `OwnerError`; nothing has changed then.
        """
        async with self._turn:
            restorer = Restorer(self._folder, self._database, self._events, self._feeds, self._now)
            if ask.words.strip():
                await restorer.become(ask, self._known)
            else:
                await restorer.certify(
                    await self._secret(None, ask.passphrase), ask, self._known, self._device_key
                )
            await self._reload()

    async def rotate(self, ask: control.RotateIdentity) -> None:
        """The next key becomes the key. Raises `OwnerError`, `wrong_words` among others."""
        async with self._turn:
            entropy = await self._secret(ask.words, ask.passphrase)
            await self._change(
                "owner.rotated",
                self.owner_id,
                partial(deeds.rotate, feeds=self._feeds, entropy=entropy),
            )

    async def revoke_device(
        self, id: str, why: str = "", *, words: str | None = None, passphrase: str | None = None
    ) -> None:
        """Another device is no longer the owner's. Raises `OwnerError`."""
        async with self._turn:
            device = self._find_other(id)
            if len(why) > limits.NOTE_CHARS:
                raise OwnerError(
                    "bad_request", f"a reason has at most {limits.NOTE_CHARS} characters"
                )
            entropy = await self._secret(words, passphrase)
            deed = partial(
                deeds.revoke_device, feeds=self._feeds, entropy=entropy, device=device, why=why
            )
            await self._change("device.revoked", ids.device_id(device), deed)

    async def _change(self, kind: str, subject: str, deed: Callable[..., ChainState]) -> None:
        """One change of the owner's chain with its event, and the new picture in memory."""

        def work(tables: sqlite_utils.Database) -> None:
            chain = self._feeds.state(tables, self._known.row.owner)
            if chain is None:
                raise OwnerError("not_certified", self._known.pending)
            after = deed(tables, chain=chain)
            self._events.write(tables, kind, subject, owner=self.owner_id, seq=after.seq)

        try:
            await self._database.run(work)
        except ProtocolError as error:
            raise OwnerError("bad_chain", f"the owner's chain does not take it: {error}") from error
        await self._reload()

    async def _secret(self, text: str | None, passphrase: str | None) -> bytes:
        """The owner's secret, from words or from this device's disk."""
        if text is not None and text.strip():
            return await trio.to_thread.run_sync(words.from_words, text)
        if self._owner_file is None:
            raise OwnerError(
                "no_owner_key", "no owner key is kept on this device: give your 24 words"
            )
        return await trio.to_thread.run_sync(self._owner_file.open, passphrase)

    def _find_other(self, id_or_name: str) -> bytes:
        chain = self._known.chain
        active = chain.active_devices if chain else ()
        found = [d for d in active if id_or_name in (ids.device_id(d.key), d.name)]
        if len(found) != 1:
            problem = (
                "is not one of your devices" if not found else "is the name of several devices"
            )
            raise OwnerError(
                "unknown_device",
                f"{id_or_name[: limits.NAME_CHARS]!r} {problem}: `node identity devices` shows their ids",
            )
        if found[0].key == self._known.row.device:
            raise OwnerError(
                "bad_request",
                "a device cannot revoke itself: do it on another of your devices",
            )
        return found[0].key

    def _mark_backed_up(self, tables: sqlite_utils.Database, *, forget: bool) -> str:
        row = self._known.row
        envelopes = self._feeds.read(tables, row.owner)
        write_row(tables, replace(row, words_shown=True, chain_shown=len(envelopes) - 1))
        self._events.write(tables, "owner.backed_up", self.owner_id, forgotten=forget)
        return chainfile.pack(envelopes) if envelopes else ""

    async def _reload(self) -> None:
        """Know in memory what was just committed; not cancellable, or both would differ."""
        with trio.CancelScope(shield=True):
            known = await self._database.run(lambda tables: read_known(tables, self._feeds))
            self._device_key, self._owner_file = await trio.to_thread.run_sync(
                _read_keys, self._folder, known.row
            )
            self._known = known
            try:
                await trio.to_thread.run_sync(_mark_in_use, self._folder, known.row)
            except StoreError as error:
                _log.warning("the note beside the keys is written at the next start: %s", error)


async def open_identity(
    home: Home,
    database: Database,
    events: EventLog,
    feeds: FeedWriter,
    *,
    now: Callable[[], float],
    device_name: str | None = None,
) -> Identity:
    """The identity of this home; the first time it makes owner, device and token.

    Killed at any moment, the next start goes on where this one stopped. Raises `OwnerError` when keys
    and database do not belong together, `StoreError` or `OSError` when the disk refuses.
    """
    folder = KeyFolder(home)
    row = await database.run(read_row)
    await trio.to_thread.run_sync(folder.settle, row.device if row else None)
    token = await trio.to_thread.run_sync(keys.ensure_token, home.token_file)
    if row is None:
        await trio.to_thread.run_sync(folder.check_unused)
        entropy, device_key = await trio.to_thread.run_sync(folder.make_keys)
        device = deeds.NewDevice(device_key, clean_name(device_name), int(now() * 1000))
        await database.run(
            partial(_begin, events=events, feeds=feeds, entropy=entropy, device=device)
        )
    known = await database.run(lambda tables: read_known(tables, feeds))
    device_key, owner_file = await trio.to_thread.run_sync(_read_keys, folder, known.row)
    await trio.to_thread.run_sync(_mark_in_use, folder, known.row)
    return Identity(
        folder,
        database,
        events,
        feeds,
        known=known,
        device_key=device_key,
        owner_file=owner_file,
        token=token,
        now=now,
    )


def _begin(
    tables: sqlite_utils.Database,
    *,
    events: EventLog,
    feeds: FeedWriter,
    entropy: bytes,
    device: deeds.NewDevice,
) -> None:
    chain = deeds.begin_chain(tables, feeds, entropy)
    deeds.add_device(tables, feeds, chain, entropy, device)
    write_row(tables, Row(chain.feed, device.public, device.name, device.at_ms / 1000))
    owner = ids.owner_text(chain.feed)
    events.write(tables, "owner.made", owner)
    events.write(tables, "device.added", ids.device_id(device.public), owner=owner)


def _read_keys(folder: KeyFolder, row: Row) -> tuple[SigningKey, keys.OwnerFile | None]:
    return folder.device_key(row.device), folder.read_owner()


def _mark_in_use(folder: KeyFolder, row: Row) -> None:
    folder.mark_in_use(ids.owner_text(row.owner), ids.device_id(row.device))
