"""What a node keeps of a feed so that it can judge the next record: small, frozen, storable."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

import msgspec

from protocols import limits, strict
from protocols.bodies import Hash, Kept, Key, Seq, Version
from protocols.records import Net, Signed, UnixMs


class Fork(strict.Message, frozen=True):
    """Proof that a writer signed two different records for one place: both envelopes."""

    seq: Seq
    first: bytes
    second: bytes


class Device(strict.Message, frozen=True):
    """A device as its owner's chain tells it. The numbers are places in the owner's chain."""

    key: Key
    name: str
    feed: Hash
    since: Seq
    until: Seq | None = None  # revoked there
    keep: Kept | None = None  # what stays valid of its feed after the revocation

    @property
    def active(self) -> bool:
        return self.until is None

    def valid_at(self, seq: int) -> bool:
        """Whether the device was certified at that place of the owner's chain."""
        return self.since <= seq and (self.until is None or seq < self.until)

    def keeps(self, seq: int, payload_hash: bytes) -> bool:
        """Whether a record of a revoked device stands: it is in the history that the owner kept."""
        if self.keep is None or seq > self.keep.seq:
            return False
        return seq < self.keep.seq or payload_hash == self.keep.hash

    def replace(self, **changes: Any) -> Self:
        return msgspec.structs.replace(self, **changes)


class ChainState(strict.Message, frozen=True, kw_only=True):
    """A feed up to its newest record. Made by `protocols.chain.apply`, and by nothing else."""

    sort: Literal["owner", "device"]
    net: Net
    feed: Hash
    owner: Hash  # the owner's feed; an owner's chain is its own
    seq: Seq
    hash: Hash
    at: UnixMs
    last: bytes  # the newest envelope: half of a proof, should another come for its place
    key: Key
    key_since: Seq
    retired: tuple[Key, ...] = ()
    next: Hash | None = None  # an owner's committed next key
    recovery: tuple[Hash, ...] = ()
    devices: tuple[Device, ...] = ()
    versions: Mapping[str, Version] = {}  # "kind/name" -> newest version published
    fork: Fork | None = None  # frozen by this proof

    @classmethod
    def begin(
        cls,
        sort: Literal["owner", "device"],
        signed: Signed,
        key: bytes,
        owner: bytes,
        envelope: bytes,
    ) -> Self:
        """The state after a feed's first record."""
        return cls(
            sort=sort,
            net=signed.record.net,
            feed=signed.feed,
            owner=owner,
            seq=0,
            hash=signed.hash,
            at=signed.record.at,
            last=envelope,
            key=key,
            key_since=0,
        )

    @property
    def head(self) -> Kept:
        """The place to remember against rollback."""
        return Kept(self.seq, self.hash)

    @property
    def active_devices(self) -> tuple[Device, ...]:
        return tuple(device for device in self.devices if device.active)

    def device(self, key: bytes) -> Device | None:
        """The device with this key, revoked or not."""
        return next((device for device in self.devices if device.key == key), None)

    def replace(self, **changes: Any) -> Self:
        return msgspec.structs.replace(self, **changes)

    def after(self, signed: Signed, envelope: bytes) -> Self:
        """The same state with its head moved on to this record."""
        record = signed.record
        return self.replace(seq=record.seq, hash=signed.hash, at=record.at, last=envelope)

    def frozen_by(self, fork: Fork) -> Self:
        return self.replace(fork=fork)


def dump(state: ChainState) -> bytes:
    """The bytes to keep. They are not signed: keep them where nobody else writes."""
    return strict.encode(strict.from_struct(state))


def load(data: bytes) -> ChainState:
    """The state that was dumped. Raises `Malformed`."""
    value = strict.decode(
        data, max_bytes=limits.CHAIN_STATE_BYTES, max_items=limits.CHAIN_STATE_ITEMS
    )
    return strict.to_struct(ChainState, value)
