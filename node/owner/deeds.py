"""What the owner's keys do in the chain. Each function works inside one transaction of state.db."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlite_utils
from nacl.signing import SigningKey

from node.owner.errors import OwnerError
from node.owner.keys import owner_key
from node.owner.seam import FeedWriter
from protocols.bodies import DeviceAdd, DeviceGenesis, DeviceRevoke, Genesis, Rotate
from protocols.chain import ChainState, Equivocation
from protocols.errors import ProtocolError
from protocols.records import key_hash, make_record, open_record, sign_record


@dataclass(frozen=True)
class NewDevice:
    key: SigningKey
    name: str
    at_ms: int

    @property
    def public(self) -> bytes:
        return bytes(self.key.verify_key)


def genesis(entropy: bytes, net: str) -> bytes:
    """The first record of the owner of these words. It has no time in it: the words alone give the owner's id."""
    first, second = owner_key(entropy, 0), owner_key(entropy, 1)
    body = Genesis(key=bytes(first.verify_key), next=key_hash(bytes(second.verify_key)))
    return sign_record(first, make_record(body, net=net, seq=0, at=0))


def owner_of(entropy: bytes, net: str) -> bytes:
    """The feed (and so the id) of the owner of these words."""
    return open_record(genesis(entropy, net)).feed


def begin_chain(tables: sqlite_utils.Database, feeds: FeedWriter, entropy: bytes) -> ChainState:
    """Start an owner's chain. Only for words that were drawn just now: see `take_chain` for others."""
    started = feeds.extend(tables, [genesis(entropy, feeds.net)])
    if isinstance(started, Equivocation):
        raise started
    return started


def take_chain(
    tables: sqlite_utils.Database, feeds: FeedWriter, envelopes: Sequence[bytes]
) -> ChainState | Equivocation:
    """Verify and keep a chain that was handed to us. Raises `OwnerError` ("bad_chain")."""
    try:
        if len({open_record(envelope).feed for envelope in envelopes}) != 1:
            raise OwnerError("bad_chain", "the file holds records of more than one chain")
        state = feeds.extend(tables, envelopes)
    except ProtocolError as error:
        raise OwnerError(
            "bad_chain", f"the chain does not verify ({error}): use the newest backup of it"
        ) from error
    if not isinstance(state, Equivocation) and state.sort != "owner":
        raise OwnerError("bad_chain", "that is a device's feed, not an owner's chain")
    return state


def current_key(chain: ChainState, entropy: bytes) -> SigningKey:
    """The owner's key that signs now. Raises `OwnerError` ("wrong_words") for another owner's secret."""
    key = owner_key(entropy, len(chain.retired))
    if bytes(key.verify_key) != chain.key:
        raise OwnerError(
            "wrong_words",
            "these words are good, but they belong to another owner than this chain:"
            " use the words that were shown with it",
        )
    return key


def add_device(
    tables: sqlite_utils.Database,
    feeds: FeedWriter,
    chain: ChainState,
    entropy: bytes,
    device: NewDevice,
) -> ChainState:
    """Certify the device in the owner's chain and begin the device's own feed."""
    said = DeviceGenesis(device=device.public, owner=chain.feed)
    cert = sign_record(device.key, make_record(said, net=feeds.net, seq=0, at=device.at_ms))
    body = DeviceAdd(device=device.public, name=device.name, cert=cert)
    after = feeds.write(tables, chain.feed, current_key(chain, entropy), body)
    feeds.extend(tables, [cert])
    return after


def rotate(
    tables: sqlite_utils.Database, feeds: FeedWriter, chain: ChainState, entropy: bytes
) -> ChainState:
    """The key that the chain committed to takes over and commits to the one after it."""
    current_key(chain, entropy)
    number = len(chain.retired) + 1
    new, after_it = owner_key(entropy, number), owner_key(entropy, number + 1)
    body = Rotate(key=bytes(new.verify_key), next=key_hash(bytes(after_it.verify_key)))
    return feeds.write(tables, chain.feed, new, body)


def revoke_device(
    tables: sqlite_utils.Database,
    feeds: FeedWriter,
    chain: ChainState,
    entropy: bytes,
    device: bytes,
    why: str,
) -> ChainState:
    """End a device; what we hold of its feed stays valid, whatever it writes from now on is void."""
    known = chain.device(device)
    feed = feeds.state(tables, known.feed) if known else None
    body = DeviceRevoke(device=device, why=why, keep=feed.head if feed else None)
    return feeds.write(tables, chain.feed, current_key(chain, entropy), body)
