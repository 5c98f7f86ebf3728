"""Heads: a feed's writer says how far the feed goes, and until when that may be believed.

Records alone cannot show that newer ones are being withheld. A head that is older than its `ttl` is
stale: what it names is still true, but no longer known to be the newest.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta
from nacl.signing import SigningKey

from protocols import limits, strict
from protocols.bodies import Hash, Seq
from protocols.envelope import open_envelope, sign
from protocols.errors import Refused
from protocols.records import Net, UnixMs

DOMAIN: Final = "application/vnd.kith.head.v1+msgpack"


class Head(strict.Message, frozen=True, kw_only=True):
    """The newest record of a feed at the time `at`."""

    v: Literal[1] = 1
    net: Net
    feed: Hash
    seq: Seq
    hash: Hash  # of the payload at `seq`
    at: UnixMs
    ttl: Annotated[int, Meta(ge=1, le=limits.HEAD_TTL_MS)]  # milliseconds


def sign_head(key: SigningKey, head: Head) -> bytes:
    """The envelope of a head, signed with the feed's current key."""
    checked = strict.to_struct(Head, strict.from_struct(head))
    return sign(key, DOMAIN, strict.encode(strict.from_struct(checked)))


def open_head(data: bytes, *, key: bytes, feed: bytes, net: str, now_ms: int) -> Head:
    """The head in an envelope, signed by `key`, the current key of `feed`.

    Raises `Malformed` or `Refused`. A stale head opens: see `is_stale`.
    """
    opened = open_envelope(data, DOMAIN, max_bytes=limits.HEAD_BYTES)
    head = strict.to_struct(Head, strict.decode(opened.payload, max_bytes=limits.HEAD_BYTES))
    if head.net != net:
        raise Refused(f"the head is of the network {head.net!r}, not {net!r}", rule="net")
    if head.feed != feed:
        raise Refused("the head is of another feed", rule="feed")
    if head.at > now_ms + limits.RECORD_AHEAD_MS:
        raise Refused("the head is from the future", rule="future")
    if key not in opened.signers:
        raise Refused("the head is not signed by the feed's current key", rule="stranger")
    return head


def is_stale(head: Head, now_ms: int) -> bool:
    """Whether newer records may exist that nobody showed us."""
    return now_ms > head.at + head.ttl
