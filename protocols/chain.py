"""Chains: which record may follow which. A pure state machine over the envelopes of one feed.

`apply` takes the state so far and one envelope and gives the state after it, or raises. Nothing that
it is given can harm a state: a record that a stranger or a retired key signed is refused and
changes nothing, and only two different records by the key that is valid now freeze a feed.

Two sorts of feed exist. An owner's chain rotates its key and certifies devices. A device's feed has
one key for ever and takes records only while the owner's chain certifies that device.
"""

from __future__ import annotations

from protocols import bodies, ids, limits
from protocols.bodies import Kept
from protocols.chainstate import ChainState, Device, Fork, dump, load
from protocols.errors import Refused
from protocols.heads import Head
from protocols.records import Record, Signed, key_hash, make_record, open_record

__all__ = [
    "ChainState",
    "Device",
    "Equivocation",
    "Fork",
    "apply",
    "dump",
    "freeze",
    "load",
    "may_append",
    "next_record",
    "refuse_rollback",
]


class Equivocation(Refused):
    """The feed's key signed two different records for one place. `frozen` is the state to keep now."""

    def __init__(self, frozen: ChainState, fork: Fork) -> None:
        super().__init__(f"two different records are signed for place {fork.seq}", rule="fork")
        self.frozen = frozen
        self.fork = fork


def apply(
    state: ChainState | None,
    envelope: bytes,
    *,
    now_ms: int,
    net: str,
    owner: ChainState | None = None,
    stored: bytes | None = None,
    pin: Kept | None = None,
) -> ChainState:
    """The state after one more record; `state` is None before the first.

    `owner` is the owner's chain, needed for a device's feed. `stored` is the envelope that the caller
    already holds at this record's place, needed to tell a replay of an old record from a fork.
    `pin` is a place that this feed was once seen to have: a chain that contradicts it is refused.

    Raises `Malformed`, `Refused` (its `rule` says which) or `Equivocation`; the given state stays valid.
    """
    signed = open_record(envelope)
    _check_common(signed, net, now_ms)
    _check_pin(signed, pin)
    if state is None:
        return _start(signed, envelope, owner)
    if signed.feed != state.feed:
        raise Refused("the record belongs to another feed", rule="feed")
    if signed.record.seq <= state.seq:
        raise _judge_past(state, signed, envelope, stored)
    _check_follows(state, signed)
    _check_signer(state, signed)
    if state.sort == "owner":
        state = _apply_owner(state, signed)
    else:
        _check_device(signed, state.key, owner)
        state = _apply_device(state, signed)
    return state.after(signed, envelope)


def next_record(
    state: ChainState, body: bodies.Body, *, at: int, known_head: Head | Kept | None = None
) -> Record:
    """The record that the feed's writer would add now. Raises `Refused` when it must not: see `may_append`.

    Without `known_head` the caller vouches that its own state is the newest there is.
    """
    if known_head is not None and not may_append(state, known_head):
        raise Refused("this chain goes on elsewhere: fetch it before adding to it", rule="unseen")
    return make_record(
        body, net=state.net, seq=state.seq + 1, at=at, feed=state.feed, prev=state.hash
    )


def may_append(state: ChainState, known_head: Head | Kept | None) -> bool:
    """Whether the writer may add to this chain, `known_head` being the newest head found by asking around.

    A restored owner who has found none must not: a record added to an old copy forks the chain.
    """
    if known_head is None or state.fork is not None:
        return False
    if isinstance(known_head, Head) and (known_head.feed, known_head.net) != (
        state.feed,
        state.net,
    ):
        return False
    if known_head.seq == state.seq:
        return known_head.hash == state.hash
    return known_head.seq < state.seq


def refuse_rollback(state: ChainState, known: Head | Kept) -> None:
    """Raises `Refused` when `state` does not reach, or contradicts, a place that the feed is known to have."""
    if state.seq < known.seq:
        raise Refused(
            f"the chain ends at {state.seq}, but it is known to reach {known.seq}", rule="rollback"
        )
    if state.seq == known.seq and state.hash != known.hash:
        raise Refused(f"the chain differs from the known one at {known.seq}", rule="rollback")


def freeze(state: ChainState, fork: Fork) -> ChainState:
    """The state with a fork that someone proved. Raises `Malformed` or `Refused` when it proves nothing."""
    first, second = open_record(fork.first), open_record(fork.second)
    if first.hash == second.hash:
        raise Refused("both records are the same", rule="no_fork")
    for signed in (first, second):
        if (signed.feed, signed.record.seq, signed.record.net) != (state.feed, fork.seq, state.net):
            raise Refused("the records are not for this place of this feed", rule="no_fork")
        if fork.seq > state.seq or not _holds_at(state, signed):
            raise Refused("the records are not signed by the feed's present key", rule="no_fork")
    return state.frozen_by(fork)


def _check_common(signed: Signed, net: str, now_ms: int) -> None:
    record = signed.record
    if record.net != net:
        raise Refused(f"the record is of the network {record.net!r}, not {net!r}", rule="net")
    if record.at > now_ms + limits.RECORD_AHEAD_MS:
        raise Refused("the record is from the future", rule="future")


def _check_pin(signed: Signed, pin: Kept | None) -> None:
    if pin is not None and signed.record.seq == pin.seq and signed.hash != pin.hash:
        raise Refused(f"the record at {pin.seq} is not the one seen before", rule="rollback")


def _start(signed: Signed, envelope: bytes, owner: ChainState | None) -> ChainState:
    body = signed.body
    if isinstance(body, bodies.Genesis):
        _need_signer(body.key, signed)
        if body.next == key_hash(body.key):
            raise Refused("the next key is the key itself", rule="rotation")
        state = ChainState.begin("owner", signed, body.key, signed.feed, envelope)
        return state.replace(next=body.next, recovery=body.recovery)
    if isinstance(body, bodies.DeviceGenesis):
        _need_signer(body.device, signed)
        _check_device(signed, body.device, owner)
        return ChainState.begin("device", signed, body.device, body.owner, envelope)
    raise Refused("the feed's first record is needed first", rule="gap")


def _judge_past(
    state: ChainState, signed: Signed, envelope: bytes, stored: bytes | None
) -> Refused:
    """What to say about a record for a place that is already taken."""
    seq = signed.record.seq
    held = state.last if seq == state.seq else stored
    if signed.hash == state.hash or (held is not None and open_record(held).hash == signed.hash):
        return Refused(f"the record at {seq} is already here", rule="replay")
    if not _holds_at(state, signed):
        return _stranger(state, signed)
    if held is None:
        return Refused(f"place {seq} is taken; compare with the stored record", rule="past")
    fork = Fork(seq, held, envelope)
    return Equivocation(freeze(state, fork), fork)


def _holds_at(state: ChainState, signed: Signed) -> bool:
    """Whether the key that is valid now has signed this record, for a place where it was valid.

    A retired key proves nothing: whoever stole it must not be able to freeze the feed.
    """
    if state.key not in signed.signers or signed.record.seq < state.key_since:
        return False
    if signed.record.seq == state.key_since > 0:
        return isinstance(signed.body, bodies.Rotate) and signed.body.key == state.key
    return True


def _check_follows(state: ChainState, signed: Signed) -> None:
    record = signed.record
    if state.fork is not None and record.type != "rotate":
        raise Refused("the feed is frozen: its writer signed two histories", rule="frozen")
    if record.seq > state.seq + 1:
        raise Refused(f"records {state.seq + 1} to {record.seq - 1} are missing", rule="gap")
    if record.prev != state.hash:
        raise Refused("the record follows another one than ours", rule="prev")


def _check_signer(state: ChainState, signed: Signed) -> None:
    body = signed.body
    if isinstance(body, bodies.Rotate) and state.sort == "owner":
        if key_hash(body.key) != state.next:
            raise Refused("the new key is not the one committed to before", rule="rotation")
        _need_signer(body.key, signed)
    elif state.key not in signed.signers:
        raise _stranger(state, signed)


def _stranger(state: ChainState, signed: Signed) -> Refused:
    if any(key in state.retired for key in signed.signers):
        return Refused("the record is signed by a retired key", rule="retired")
    return Refused("the record is not signed by the feed's key for this place", rule="stranger")


def _need_signer(key: bytes, signed: Signed) -> None:
    if key not in signed.signers:
        raise Refused("the record is not signed by the key that it names", rule="stranger")


def _apply_owner(state: ChainState, signed: Signed) -> ChainState:
    body = signed.body
    if signed.record.type in bodies.DEVICE_BODIES:
        raise Refused(f"{signed.record.type!r} has no place in an owner's chain", rule="sort")
    if isinstance(body, bodies.Rotate):
        return _rotate(state, body, signed.record.seq)
    if isinstance(body, bodies.DeviceAdd):
        return _add_device(state, body, signed.record)
    if isinstance(body, bodies.DeviceRevoke):
        return _revoke_device(state, body, signed.record.seq)
    return state


def _rotate(state: ChainState, body: bodies.Rotate, seq: int) -> ChainState:
    used = (*state.retired, state.key)
    if body.next in {key_hash(key) for key in (*used, body.key)}:
        raise Refused("the next key has been used before", rule="rotation")
    if len(used) > limits.OWNER_ROTATIONS:
        raise Refused(f"more than {limits.OWNER_ROTATIONS} rotations", rule="full")
    # The committed key decides which history stands: a rotation also ends a freeze.
    return state.replace(key=body.key, key_since=seq, next=body.next, retired=used, fork=None)


def _add_device(state: ChainState, body: bodies.DeviceAdd, record: Record) -> ChainState:
    if state.device(body.device) is not None:
        raise Refused("the device was added before; a new start needs a new key", rule="device")
    if len(state.devices) >= limits.OWNER_DEVICES:
        raise Refused(f"more than {limits.OWNER_DEVICES} devices", rule="full")
    cert = open_record(body.cert)
    said = cert.body
    if not isinstance(said, bodies.DeviceGenesis) or cert.record.net != record.net:
        raise Refused("the certificate is no device's genesis of this network", rule="cert")
    if said.device != body.device or said.owner != state.feed:
        raise Refused("the certificate names another device or owner", rule="cert")
    _need_signer(body.device, cert)
    device = Device(key=body.device, name=body.name, feed=cert.hash, since=record.seq)
    return state.replace(devices=(*state.devices, device))


def _revoke_device(state: ChainState, body: bodies.DeviceRevoke, seq: int) -> ChainState:
    device = state.device(body.device)
    if device is None or device.until is not None:
        raise Refused("there is no such device to revoke", rule="device")
    gone = device.replace(until=seq, keep=body.keep)
    return state.replace(devices=tuple(gone if d is device else d for d in state.devices))


def _check_device(signed: Signed, key: bytes, owner: ChainState | None) -> None:
    """Whether the owner's chain lets this device write this record."""
    if owner is None or owner.sort != "owner":
        raise Refused("a device's record needs its owner's chain", rule="owner")
    device = owner.device(key)  # its certificate named this owner and this feed
    if device is None or device.feed != signed.feed:
        raise Refused("the owner's chain does not certify this device's feed", rule="uncertified")
    if device.until is not None and not device.keeps(signed.record.seq, signed.hash):
        raise Refused(
            f"the device {ids.device_id(key)} was revoked before this record", rule="revoked"
        )


def _apply_device(state: ChainState, signed: Signed) -> ChainState:
    body = signed.body
    if signed.record.type in bodies.OWNER_BODIES:
        raise Refused(f"{signed.record.type!r} has no place in a device's feed", rule="sort")
    if not isinstance(body, bodies.Publish):
        return state
    name = f"{body.kind}/{body.name}"
    before = state.versions.get(name)
    if before is not None and body.version <= before:
        raise Refused(f"{name}: version {body.version} does not follow {before}", rule="version")
    if before is None and len(state.versions) >= limits.FEED_NAMES:
        raise Refused(f"more than {limits.FEED_NAMES} names in one feed", rule="full")
    return state.replace(versions={**state.versions, name: body.version})
