"""Records: the signed entries of a feed.

A feed is named by the sha256 of its first payload, and every later payload names the one before it.
Signatures cover the payload's bytes as they were sent; bytes that are not the one canonical
encoding of what they say are refused even when the signature holds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from msgspec import Meta
from nacl.signing import SigningKey

from protocols import bodies, limits, strict
from protocols.bodies import Body, Hash, Seq
from protocols.envelope import open_envelope, sign
from protocols.errors import Malformed

DOMAIN: Final = "application/vnd.kith.record.v1+msgpack"
#: The network that a node belongs to unless its settings say otherwise.
NET: Final = "kith"

Net = Annotated[str, Meta(min_length=1, max_length=limits.NET_CHARS)]
TypeName = Annotated[str, Meta(pattern=rf"\A[a-z][a-z0-9_]{{0,{limits.RECORD_TYPE_CHARS - 1}}}\Z")]
UnixMs = Annotated[int, Meta(ge=0, le=2**53 - 1)]


class Record(strict.Message, frozen=True):
    """One entry of a feed. `seq` orders; `at` (unix milliseconds) is what the writer's clock said."""

    v: Literal[1]
    net: Net
    feed: Hash | None  # None in the first record, whose hash is the feed's id
    type: TypeName
    seq: Seq
    prev: Hash | None  # sha256 of the payload before this one; None in the first
    at: UnixMs
    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Signed:
    """A record whose signatures hold. Whether its place in a chain is right is for `protocols.chain`."""

    record: Record
    body: Body | None  # None: the type is unknown
    hash: bytes  # sha256 of the payload
    signers: tuple[bytes, ...]

    @property
    def feed(self) -> bytes:
        """The feed that the record belongs to."""
        return self.hash if self.record.feed is None else self.record.feed


def payload_hash(payload: bytes) -> bytes:
    return hashlib.sha256(payload).digest()


def key_hash(pubkey: bytes) -> bytes:
    """How a record commits to a key without showing it."""
    return hashlib.sha256(pubkey).digest()


def payload_bytes(record: Record) -> bytes:
    """The bytes of a record that are signed and hashed."""
    return strict.encode(strict.from_struct(record))


def make_record(
    body: Body | Mapping[str, Any],
    *,
    net: str,
    seq: int,
    at: int,
    feed: bytes | None = None,
    prev: bytes | None = None,
    type: str | None = None,
) -> Record:
    """A record, checked as a reader would check it. `type` is needed only for a body of an unknown type.

    Raises `Malformed` or `Refused` for what no reader would take.
    """
    if isinstance(body, Mapping):
        fields, name = dict(body), type
    else:
        fields, name = strict.from_struct(body), bodies.type_of(body)
    record = strict.to_struct(
        Record,
        {
            "v": 1,
            "net": net,
            "feed": feed,
            "type": name,
            "seq": seq,
            "prev": prev,
            "at": at,
            "body": fields,
        },
    )
    _check_first(record)
    read_body(record)
    return record


def owner_genesis(
    key: bytes, next_key: bytes, *, net: str, recovery: Sequence[bytes] = ()
) -> Record:
    """The first record of an owner. Its time is 0: whoever has the two keys has the owner's id again."""
    body = bodies.Genesis(key, key_hash(next_key), tuple(key_hash(k) for k in recovery))
    return make_record(body, net=net, seq=0, at=0)


def device_genesis(device: bytes, owner: bytes, *, net: str, at: int) -> Record:
    """The first record of a device's feed. Signed by the device, it is the `cert` of `DeviceAdd`."""
    return make_record(bodies.DeviceGenesis(device, owner), net=net, seq=0, at=at)


def sign_record(key: SigningKey, record: Record, *, also: Sequence[SigningKey] = ()) -> bytes:
    """The envelope to store and send. Raises `Malformed` when it is too large to be taken."""
    data = sign(key, DOMAIN, payload_bytes(record), also=also)
    if len(data) > limits.RECORD_BYTES:
        raise Malformed(f"record of {len(data)} bytes is over the limit of {limits.RECORD_BYTES}")
    return data


def open_record(envelope: bytes) -> Signed:
    """The record in an envelope: size first, then signatures, canonical form, types.

    Raises `Malformed` or `Refused`.
    """
    opened = open_envelope(envelope, DOMAIN, max_bytes=limits.RECORD_BYTES)
    value = strict.decode(opened.payload, max_bytes=limits.RECORD_BYTES)
    record = strict.to_struct(Record, value)
    _check_first(record)
    return Signed(record, read_body(record), payload_hash(opened.payload), opened.signers)


def read_body(record: Record) -> Body | None:
    """The typed body of a record, or None when its type is unknown. Raises `Malformed` or `Refused`."""
    kind = bodies.OWNER_BODIES.get(record.type) or bodies.DEVICE_BODIES.get(record.type)
    if kind is None:
        return None
    return strict.to_struct(kind, record.body)


def _check_first(record: Record) -> None:
    """Exactly the first record has no feed and no record before it."""
    first = record.seq == 0
    if first != (record.feed is None) or first != (record.prev is None):
        raise Malformed("the first record, and only that, names no feed and no record before it")
    if first != (record.type in ("genesis", "device_genesis")):
        raise Malformed("a feed starts with a genesis record and has no other")
