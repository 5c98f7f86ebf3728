"""Coming back: a new device of an owner, made from the owner's words and chain."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import sqlite_utils
import trio
from nacl.signing import SigningKey

from node.events import EventLog
from node.owner import chainfile, deeds, keys, words
from node.owner.errors import OwnerError
from node.owner.folder import KeyFolder
from node.owner.known import Known, Row, write_row
from node.owner.names import clean_name
from node.owner.seam import FeedWriter
from node.store import Database, StoreError
from protocols import ids
from protocols.chain import ChainState, Equivocation
from protocols.errors import ProtocolError
from protocols.http.control import RestoreIdentity


class Restorer:
    def __init__(
        self,
        folder: KeyFolder,
        database: Database,
        events: EventLog,
        feeds: FeedWriter,
        now: Callable[[], float],
    ) -> None:
        self._folder = folder
        self._database = database
        self._events = events
        self._feeds = feeds
        self._now = now

    async def become(self, ask: RestoreIdentity, known: Known) -> None:
        """Take new keys for a new device of the owner of `ask.words`."""
        entropy = await trio.to_thread.run_sync(words.from_words, ask.words)
        envelopes = chainfile.unpack(ask.chain) if ask.chain else []
        file = await trio.to_thread.run_sync(keys.seal, entropy, ask.passphrase)
        device = self._new_device(SigningKey.generate(), ask.device_name or known.row.name)
        with trio.CancelScope(shield=True):  # short; a half way here is for a crash only
            await self._check_chain(envelopes, entropy)
            old_chain = await self._database.run(partial(self._packed, feed=known.row.owner))
            await trio.to_thread.run_sync(self._folder.archive, old_chain)
            await trio.to_thread.run_sync(self._folder.stage, file, device.key)
            try:
                await self._database.run(partial(self._take_over, entropy=entropy, device=device))
            except (OwnerError, StoreError):
                await trio.to_thread.run_sync(self._folder.settle, known.row.device)  # noqa: ASYNC120
                raise
            await trio.to_thread.run_sync(self._folder.settle, device.public)

    async def certify(
        self, entropy: bytes, ask: RestoreIdentity, known: Known, device_key: SigningKey
    ) -> None:
        """Certify the pending device that this is, now that the chain is here."""
        if known.chain is not None and known.chain.device(known.row.device) is not None:
            raise OwnerError("bad_request", "to become a new device, give the owner's 24 words")
        if not ask.chain:
            raise OwnerError("bad_request", known.pending)
        envelopes = chainfile.unpack(ask.chain)
        device = self._new_device(device_key, ask.device_name or known.row.name)
        with trio.CancelScope(shield=True):
            await self._check_chain(envelopes, entropy)
            await self._database.run(partial(self._take_over, entropy=entropy, device=device))

    async def _check_chain(self, envelopes: list[bytes], entropy: bytes) -> None:
        """Keep the chain if it is the one of these words: on its own, so that proof of a fork is kept."""
        if envelopes:
            taken = await self._database.run(
                partial(self._take_chain, envelopes=envelopes, entropy=entropy)
            )
            if isinstance(taken, Equivocation):
                raise OwnerError(
                    "bad_chain",
                    f"this chain and the one that is here are two histories of one owner ({taken}):"
                    " the proof is kept; `node identity rotate` settles it",
                )

    def _take_chain(
        self, tables: sqlite_utils.Database, *, envelopes: list[bytes], entropy: bytes
    ) -> ChainState | Equivocation:
        state = deeds.take_chain(tables, self._feeds, envelopes)
        if not isinstance(state, Equivocation):
            deeds.current_key(state, entropy)
            if state.feed != deeds.owner_of(entropy, self._feeds.net):
                raise OwnerError(
                    "bad_chain", "the chain has these keys, but not their first record"
                )
        return state

    def _take_over(
        self, tables: sqlite_utils.Database, *, entropy: bytes, device: deeds.NewDevice
    ) -> None:
        """From here on this node is that device: certified when the chain is here, else pending."""
        owner = deeds.owner_of(entropy, self._feeds.net)
        chain = self._feeds.state(tables, owner)
        if chain is not None:
            try:
                deeds.add_device(tables, self._feeds, chain, entropy, device)
            except ProtocolError as error:
                raise OwnerError(
                    "bad_chain", f"the owner's chain does not take it: {error}"
                ) from error
        shown = -1 if chain is None else chain.seq
        write_row(
            tables,
            Row(owner, device.public, device.name, device.at_ms / 1000, True, shown),
        )
        self._events.write(
            tables,
            "owner.restored",
            ids.owner_text(owner),
            device=ids.device_id(device.public),
            certified=chain is not None,
        )

    def _packed(self, tables: sqlite_utils.Database, *, feed: bytes) -> str:
        envelopes = self._feeds.read(tables, feed)
        return chainfile.pack(envelopes) if envelopes else ""

    def _new_device(self, key: SigningKey, name: str) -> deeds.NewDevice:
        return deeds.NewDevice(key, clean_name(name), int(self._now() * 1000))
