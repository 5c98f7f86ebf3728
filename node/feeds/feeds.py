"""Feeds on disk: append verified records, read them back, verify a whole feed, sign its head.

A record and the state after it are kept in one transaction, so a killed node has both or neither.
The highest place that a feed was ever seen to have is kept apart from its records: a feed that was cut
short, or given in an older copy, is noticed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import sqlite_utils
import trio
from nacl.signing import SigningKey

from node.feeds import tables as rows
from node.store import Database
from protocols import chain, heads, records
from protocols.bodies import Body, DeviceGenesis, Kept, Rotate
from protocols.chain import ChainState, Equivocation, Fork
from protocols.errors import ProtocolError, Refused
from protocols.heads import Head

_PAGE: Final = 256  # records verified between two looks at the database
_LATE: Final = 2**53
_HEAD_TTL_MS: Final = 24 * 3600 * 1000


@dataclass(frozen=True)
class FeedProblem:
    """What is wrong with a stored feed: the first place that does not fit, the rule, and a sentence."""

    seq: int
    rule: str
    message: str


class Feeds:
    """All feeds that this node holds. `now` gives seconds since 1970."""

    def __init__(
        self, database: Database, *, now: Callable[[], float], net: str = records.NET
    ) -> None:
        self.net = net
        self._database = database
        self._now = now

    # --- inside the caller's transaction (node.owner.FeedWriter) ---------------------------------

    def state(self, tables: sqlite_utils.Database, feed: bytes) -> ChainState | None:
        return rows.load_state(tables, feed)

    def read(self, tables: sqlite_utils.Database, feed: bytes) -> list[bytes]:
        return [envelope for _, envelope in rows.envelopes(tables, feed)]

    def extend(
        self, tables: sqlite_utils.Database, envelopes: Sequence[bytes]
    ) -> ChainState | Equivocation:
        """See `FeedWriter.extend`."""
        return self._add_all(tables, envelopes, pass_over=True)

    def write(
        self, tables: sqlite_utils.Database, feed: bytes, key: SigningKey, body: Body
    ) -> ChainState:
        """See `FeedWriter.write`."""
        state = rows.load_state(tables, feed)
        if state is None:
            raise Refused("the feed to write to is not here", rule="gap")
        known: Kept | None = rows.highest(tables, feed) or state.head
        if state.fork is not None:
            if not isinstance(body, Rotate):
                raise Refused(
                    "the feed is frozen: two histories of it were signed; an owner settles it with a rotation",
                    rule="frozen",
                )
            known = None  # the rotation that ends the freeze
        record = chain.next_record(state, body, at=self._now_ms(), known_head=known)
        return self._add(tables, records.sign_record(key, record))

    # --- on their own ----------------------------------------------------------------------------

    async def append(self, *envelopes: bytes) -> ChainState:
        """Verify and keep records of one feed: all of them, or none.

        Raises `Malformed`, `Refused`, or `Equivocation`, whose proof is kept and freezes the feed.
        """
        added = await self._database.run(lambda t: self._add_all(t, envelopes, pass_over=False))
        if isinstance(added, Equivocation):
            raise added
        return added

    async def head(self, feed: bytes) -> ChainState | None:
        """The feed up to its newest record."""
        return await self._database.run(lambda tables: rows.load_state(tables, feed))

    async def page(self, feed: bytes, *, start: int = 0, limit: int = 100) -> list[bytes]:
        """Envelopes from place `start` on."""
        found = await self._database.run(
            lambda tables: rows.envelopes(tables, feed, start=start, limit=limit)
        )
        return [envelope for _, envelope in found]

    async def forks(self, feed: bytes) -> list[Fork]:
        """Proofs that this feed's writer signed two histories."""
        return await self._database.run(lambda tables: rows.forks(tables, feed))

    async def take_fork(self, feed: bytes, fork: Fork) -> None:
        """Freeze a feed by a proof from elsewhere. `Malformed` or `Refused` when it proves nothing."""

        def work(tables: sqlite_utils.Database) -> None:
            state = rows.load_state(tables, feed)
            if state is None:
                raise Refused("the proof is about a feed that is not here", rule="no_fork")
            self._keep_fork(tables, chain.freeze(state, fork), fork)

        await self._database.run(work)

    async def sign_head(self, feed: bytes, key: SigningKey, *, ttl_ms: int = _HEAD_TTL_MS) -> bytes:
        """How far the feed goes, signed by its current key. Raises `Refused` with another key."""
        state = await self.head(feed)
        if state is None or bytes(key.verify_key) != state.key:
            raise Refused("only the feed's current key signs its head", rule="stranger")
        at = self._now_ms()
        head = Head(net=self.net, feed=feed, seq=state.seq, hash=state.hash, at=at, ttl=ttl_ms)
        return heads.sign_head(key, head)

    async def take_head(self, feed: bytes, envelope: bytes) -> Head:
        """Remember how far a feed goes elsewhere. Raises `Malformed` or `Refused`."""

        def work(tables: sqlite_utils.Database) -> Head:
            state = rows.load_state(tables, feed)
            if state is None:
                raise Refused("the head is of a feed that is not here", rule="feed")
            head = heads.open_head(
                envelope, key=state.key, feed=feed, net=self.net, now_ms=self._now_ms()
            )
            if rows.hash_at(tables, feed, head.seq) not in (None, head.hash):
                raise Refused(f"the head names another record at {head.seq} than ours", rule="fork")
            rows.remember(tables, feed, Kept(head.seq, head.hash))
            return head

        return await self._database.run(work)

    async def verify(self, feed: bytes) -> FeedProblem | None:
        """Replay every stored record from the first; None when all is as it should be.

        The database is free for others between pages.
        """
        state: ChainState | None = None
        owner = await self._owner_of(feed)
        while True:
            page = await self._database.run(partial(_next_page, feed=feed, replayed=state))
            if not isinstance(page, list):
                return page
            state, problem = await trio.to_thread.run_sync(self._replay, state, page, owner)
            if problem is not None:
                return problem

    def _replay(
        self, state: ChainState | None, page: list[tuple[int, bytes]], owner: ChainState | None
    ) -> tuple[ChainState | None, FeedProblem | None]:
        for seq, envelope in page:
            try:
                # Its time was judged when it came; a clock that was set back says nothing about it.
                state = chain.apply(state, envelope, now_ms=_LATE, net=self.net, owner=owner)
            except ProtocolError as error:
                return state, FeedProblem(seq, getattr(error, "rule", "malformed"), str(error))
            if state.seq != seq:
                return state, FeedProblem(seq, "gap", f"the record at {seq} says it is {state.seq}")
        return state, None

    async def _owner_of(self, feed: bytes) -> ChainState | None:
        def work(tables: sqlite_utils.Database) -> ChainState | None:
            state = rows.load_state(tables, feed)
            return None if state is None else rows.load_state(tables, state.owner)

        return await self._database.run(work)

    def _add_all(
        self, tables: sqlite_utils.Database, envelopes: Sequence[bytes], *, pass_over: bool
    ) -> ChainState | Equivocation:
        state: ChainState | None = None
        for envelope in envelopes:
            try:
                state = self._add(tables, envelope)
            except Equivocation as error:
                self._keep_fork(tables, error.frozen, error.fork)
                return error
            except Refused as error:
                if not pass_over or error.rule != "replay":
                    raise
        state = state or rows.load_state(tables, records.open_record(envelopes[-1]).feed)
        if state is None:
            raise Refused("nothing was added", rule="gap")
        return state

    def _add(self, tables: sqlite_utils.Database, envelope: bytes) -> ChainState:
        """Judge one record by what is stored, and keep it with the state after it."""
        signed = records.open_record(envelope)
        before = rows.load_state(tables, signed.feed)
        state = chain.apply(
            before,
            envelope,
            now_ms=self._now_ms(),
            net=self.net,
            owner=_owner_state(tables, before, signed.body),
            stored=rows.envelope_at(tables, signed.feed, signed.record.seq),
            pin=_pin(before, rows.highest(tables, signed.feed)),
        )
        rows.save_state(tables, state)
        rows.add_record(tables, state, envelope)
        if isinstance(signed.body, Rotate):
            rows.forget(tables, state.feed)  # what a retired key claimed counts for nothing
        rows.remember(tables, state.feed, state.head)
        return state

    def _keep_fork(self, tables: sqlite_utils.Database, frozen: ChainState, fork: Fork) -> None:
        rows.save_state(tables, frozen)
        rows.add_fork(tables, frozen.feed, fork)

    def _now_ms(self) -> int:
        return int(self._now() * 1000)


def _pin(before: ChainState | None, known: Kept | None) -> Kept | None:
    """A place that is known but not reached yet. (What is stored here is compared record by record.)"""
    reached = -1 if before is None else before.seq
    return known if known is not None and known.seq > reached else None


def _owner_state(
    tables: sqlite_utils.Database, before: ChainState | None, body: Body | None
) -> ChainState | None:
    """The owner's chain, for a device's feed."""
    if before is not None:
        return rows.load_state(tables, before.owner) if before.sort == "device" else None
    return rows.load_state(tables, body.owner) if isinstance(body, DeviceGenesis) else None


def _next_page(
    tables: sqlite_utils.Database, *, feed: bytes, replayed: ChainState | None
) -> list[tuple[int, bytes]] | FeedProblem | None:
    """More records, or the verdict when there are none: in one transaction, since others may add."""
    start = 0 if replayed is None else replayed.seq + 1
    page = rows.envelopes(tables, feed, start=start, limit=_PAGE)
    return page or _compare(tables, feed, replayed)


def _compare(
    tables: sqlite_utils.Database, feed: bytes, replayed: ChainState | None
) -> FeedProblem | None:
    """Whether the replayed records give the state that is stored, and reach what is remembered."""
    stored, known = rows.load_state(tables, feed), rows.highest(tables, feed)
    if replayed is None or stored is None:
        return FeedProblem(0, "gap", "nothing of this feed is stored")
    if known is not None:
        try:
            chain.refuse_rollback(replayed, known)
        except Refused as error:
            return FeedProblem(replayed.seq, error.rule, str(error))
    if replayed.replace(fork=stored.fork) != stored:
        return FeedProblem(replayed.seq, "state", "what is stored about it is not what it says")
    return None
