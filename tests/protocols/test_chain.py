"""Attacks on an owner's chain, and what an honest one looks like."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from protocols import chain, limits, records, strict
from protocols.bodies import DeviceAdd, DeviceGenesis, DeviceRevoke, Genesis, Kept, Member, Rotate
from protocols.chain import Equivocation, Fork
from protocols.envelope import sign
from protocols.errors import Malformed, Refused
from protocols.heads import Head
from tests.protocols.feeds import NET, NOW, Owner, device_genesis, fields_of, forge, take
from tests.protocols.keys import key, pub

DAY = 24 * 3600 * 1000
NOTE = {"type": "note", "body": {"text": "of a later version"}}


@contextmanager
def refused(rule: str) -> Iterator[None]:
    with pytest.raises(Refused) as caught:
        yield
    assert caught.value.rule == rule, caught.value


@pytest.fixture
def owner() -> Owner:
    """An owner with a laptop, three records long."""
    made = Owner("ann")
    made.certify("laptop")
    made.append(forge(made.key, {**made.draft(Rotate(pub("x"), b"x" * 32)), **NOTE}))
    return made


def note(owner: Owner, text: str = "hello", **changes: Any) -> dict[str, Any]:
    """The fields of a harmless next record, of a type that nobody knows yet."""
    fields = owner.draft(Rotate(pub("x"), b"x" * 32))
    return {**fields, "type": "note", "body": {"text": text}, **changes}


def test_an_honest_chain_is_taken_whole(owner: Owner) -> None:
    state = None
    for envelope in owner.log:
        state = take(state, envelope)
    assert state == owner.state
    assert state is not None
    assert (state.sort, state.seq, state.key, state.owner) == ("owner", 2, pub("ann0"), state.feed)


def test_records_of_an_unknown_type_are_verified_kept_and_ignored(owner: Owner) -> None:
    before = owner.state
    owner.append(forge(owner.key, note(owner)))
    assert owner.state.seq == before.seq + 1
    assert owner.state.devices == before.devices
    with refused("stranger"):
        take(owner.state, forge(key("thief"), note(owner)))


def test_a_replayed_record_is_refused(owner: Owner) -> None:
    for seq, envelope in enumerate(owner.log):
        with refused("replay"):
            take(owner.state, envelope, stored=owner.log[seq])
    with refused("replay"):
        take(owner.state, owner.log[-1])
    with refused("past"):  # an old one cannot be judged without the stored one
        take(owner.state, owner.log[1])


def test_a_record_signed_once_more_is_still_the_same_record(owner: Owner) -> None:
    again = forge(owner.key, fields_of(owner.log[-1]), key("friend"))
    assert again != owner.log[-1]
    with refused("replay"):
        take(owner.state, again)


def test_a_changed_payload_is_refused(owner: Owner) -> None:
    envelope = forge(owner.key, note(owner, "weather"))
    with refused("signature"):
        take(owner.state, envelope.replace(b"weather", b"weathex"))


def test_a_left_out_record_is_noticed(owner: Owner) -> None:
    ahead = Owner("ann")
    ahead.log, ahead.state = list(owner.log), owner.state
    ahead.append(forge(ahead.key, note(ahead)))
    second = ahead.append(forge(ahead.key, note(ahead)))
    with refused("gap"):
        take(owner.state, second)
    with refused("gap"):
        take(None, owner.log[1])


def test_a_record_after_another_record_than_ours_is_refused(owner: Owner) -> None:
    with refused("prev"):
        take(owner.state, forge(owner.key, note(owner, prev=b"x" * 32)))


def test_a_stranger_cannot_add(owner: Owner) -> None:
    with refused("stranger"):
        take(owner.state, forge(key("thief"), note(owner)))


def test_the_committed_key_rotates_and_the_id_stays(owner: Owner) -> None:
    feed = owner.state.feed
    owner.rotate()
    assert owner.state.feed == feed
    assert owner.state.key == pub("ann1")
    assert owner.state.retired == (pub("ann0"),)
    owner.append(forge(owner.key, note(owner)))
    owner.rotate()
    assert owner.state.key == pub("ann2")


def test_the_old_key_is_not_needed_to_rotate(owner: Owner) -> None:
    fields = owner.draft(owner.rotation())
    state = take(owner.state, forge(owner.next_key, fields))
    assert state == take(owner.state, forge(owner.next_key, fields, owner.key)).replace(
        last=state.last
    )


def test_a_thief_with_the_signing_key_cannot_rotate(owner: Owner) -> None:
    mine = Rotate(pub("thief"), records.key_hash(pub("thief2")))
    with refused("rotation"):
        take(owner.state, forge(owner.key, owner.draft(mine), key("thief")))
    committed = owner.draft(owner.rotation())  # the next key is known, but not held
    with refused("stranger"):
        take(owner.state, forge(owner.key, committed))


def test_a_rotation_may_not_commit_to_a_key_that_was_used(owner: Owner) -> None:
    for name in ("ann0", "ann1"):
        body = Rotate(pub("ann1"), records.key_hash(pub(name)))
        with refused("rotation"):
            take(owner.state, forge(owner.next_key, owner.draft(body)))
    same = Genesis(pub("bob"), records.key_hash(pub("bob")))
    record = records.make_record(same, net=NET, seq=0, at=0)
    with refused("rotation"):
        take(None, records.sign_record(key("bob"), record))


def test_a_retired_key_adds_nothing(owner: Owner) -> None:
    owner.rotate()
    with refused("retired"):
        take(owner.state, forge(key("ann0"), note(owner)))


def test_rotations_are_counted(owner: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "OWNER_ROTATIONS", 1)
    owner.rotate()
    with refused("full"):
        owner.rotate()


def test_a_record_of_another_network_is_refused(owner: Owner) -> None:
    with refused("net"):
        take(owner.state, forge(owner.key, note(owner, net="other")))
    with refused("net"):
        take(None, owner.log[0], net="other")


def test_a_record_from_the_future_is_refused(owner: Owner) -> None:
    take(owner.state, forge(owner.key, note(owner, at=NOW + DAY)))
    with refused("future"):
        take(owner.state, forge(owner.key, note(owner, at=NOW + DAY + 1)))


def test_the_clock_does_not_order_records(owner: Owner) -> None:
    take(owner.state, forge(owner.key, note(owner, at=0)))


def test_a_record_of_another_feed_is_refused(owner: Owner) -> None:
    bob = Owner("bob")
    with refused("feed"):
        take(owner.state, forge(owner.key, note(owner, feed=bob.state.feed)))
    with refused("feed"):
        take(owner.state, bob.log[0])


def test_a_payload_that_is_not_canonical_is_refused(owner: Owner) -> None:
    payload = strict.encode(note(owner))
    longer = payload.replace(b"\xa3seq\x03", b"\xa3seq\xcd\x00\x03")
    assert longer != payload
    with pytest.raises(Malformed, match="canonical"):
        take(owner.state, sign(owner.key, records.DOMAIN, longer))


def test_size_comes_before_everything(owner: Owner) -> None:
    huge = forge(key("thief"), note(owner, "x" * (limits.RECORD_BYTES)))
    with pytest.raises(Malformed, match="over the limit"):
        take(owner.state, huge)


def test_a_fork_forged_by_a_stranger_changes_nothing(owner: Owner) -> None:
    for seq in (1, 2):
        fields = {**fields_of(owner.log[seq]), **NOTE, "body": {"text": "forged"}}
        with refused("stranger"):
            take(owner.state, forge(key("stranger"), fields), stored=owner.log[seq])
    take(owner.state, forge(owner.key, note(owner)))


def test_a_fork_forged_with_a_retired_key_changes_nothing(owner: Owner) -> None:
    old = owner.log[2]
    owner.rotate()
    owner.append(forge(owner.key, note(owner)))
    forged = {**fields_of(old), **NOTE, "body": {"text": "forged"}}
    with refused("retired"):
        take(owner.state, forge(key("ann0"), forged), stored=old)
    at_rotation = {**fields_of(owner.log[3]), **NOTE}
    with refused("retired"):
        take(owner.state, forge(key("ann0"), at_rotation), stored=owner.log[3])
    with pytest.raises(Refused):
        chain.freeze(owner.state, Fork(2, old, forge(key("ann0"), forged)))


def test_a_key_signs_only_for_the_places_where_it_was_valid(owner: Owner) -> None:
    """The new key signing for a place before its rotation is no history that anyone would take."""
    owner.rotate()
    for seq in (2, 3):
        forged = {**fields_of(owner.log[seq]), **NOTE, "body": {"text": "forged"}}
        with refused("stranger"):
            take(owner.state, forge(owner.key, forged), stored=owner.log[seq])


@pytest.mark.parametrize("seq", [1, 2])
def test_two_records_for_one_place_freeze_the_feed(owner: Owner, seq: int) -> None:
    other = forge(owner.key, {**fields_of(owner.log[seq]), "type": "note", "body": {"text": "two"}})
    with pytest.raises(Equivocation) as caught:
        take(owner.state, other, stored=owner.log[seq])
    frozen = caught.value.frozen
    assert caught.value.rule == "fork"
    assert frozen.fork == caught.value.fork == Fork(seq, owner.log[seq], other)
    assert (frozen.seq, frozen.hash, frozen.devices) == (2, owner.state.hash, owner.state.devices)
    with refused("frozen"):
        take(frozen, forge(owner.key, note(owner)))
    assert not chain.may_append(frozen, frozen.head)


def test_the_newest_record_needs_no_stored_one_to_prove_a_fork(owner: Owner) -> None:
    other = forge(owner.key, {**fields_of(owner.log[2]), "body": {"text": "two"}})
    with pytest.raises(Equivocation) as caught:
        take(owner.state, other)
    assert chain.freeze(owner.state, caught.value.fork) == caught.value.frozen


def test_two_rotations_to_the_same_key_are_a_fork(owner: Owner) -> None:
    fields = owner.draft(owner.rotation())
    owner.rotate()
    other = forge(owner.key, {**fields, "body": {**fields["body"], "next": b"n" * 32}})
    with pytest.raises(Equivocation):
        take(owner.state, other)


def test_a_rotation_that_nobody_could_take_is_no_fork(owner: Owner) -> None:
    owner.rotate()
    other = Rotate(pub("x"), records.key_hash(pub("y")))
    forged = {**fields_of(owner.log[-1]), "body": strict.from_struct(other)}
    with refused("stranger"):
        take(owner.state, forge(owner.key, forged, key("x")))


def test_a_proof_of_a_fork_convinces_others_who_hold_the_chain(owner: Owner) -> None:
    other = forge(owner.key, {**fields_of(owner.log[1]), **NOTE})
    frozen = chain.freeze(owner.state, Fork(1, owner.log[1], other))
    with refused("frozen"):
        take(frozen, forge(owner.key, note(owner)))


def test_what_proves_no_fork_freezes_nothing(owner: Owner) -> None:
    bob = Owner("bob")
    other = forge(owner.key, {**fields_of(owner.log[1]), **NOTE})
    ahead = [forge(owner.key, note(owner, text)) for text in "ab"]
    strange = [
        forge(key("thief"), {**fields_of(owner.log[1]), "type": "note", "body": {"n": n}})
        for n in (1, 2)
    ]
    for fork in (
        Fork(1, owner.log[1], owner.log[1]),
        Fork(1, owner.log[1], forge(owner.key, fields_of(owner.log[1]), key("friend"))),
        Fork(2, owner.log[1], other),
        Fork(1, owner.log[2], other),
        Fork(0, owner.log[0], bob.log[0]),
        Fork(3, *ahead),  # beyond what we hold the key may have been retired
        Fork(1, *strange),
        Fork(1, owner.log[1], strange[0]),
    ):
        with refused("no_fork"):
            chain.freeze(owner.state, fork)


def test_the_committed_next_key_ends_a_freeze(owner: Owner) -> None:
    other = forge(owner.key, {**fields_of(owner.log[2]), "body": {"text": "two"}})
    with pytest.raises(Equivocation) as caught:
        take(owner.state, other)
    owner.state = caught.value.frozen
    owner.rotate()
    assert owner.state.fork is None
    take(owner.state, forge(owner.key, note(owner)))


def test_an_older_copy_of_the_chain_is_noticed(owner: Owner) -> None:
    seen = owner.state.head
    shorter = take(take(None, owner.log[0]), owner.log[1])
    with refused("rollback"):
        chain.refuse_rollback(shorter, seen)
    chain.refuse_rollback(owner.state, seen)
    chain.refuse_rollback(owner.state, Kept(1, b"unchecked here" + bytes(18)))


def test_a_chain_that_contradicts_a_place_seen_before_is_refused(owner: Owner) -> None:
    seen = owner.state.head
    state = take(take(None, owner.log[0], pin=seen), owner.log[1], pin=seen)
    other = forge(owner.key, {**fields_of(owner.log[2]), "body": {"text": "two"}})
    with refused("rollback"):
        take(state, other, pin=seen)
    take(state, owner.log[2], pin=seen)
    with refused("rollback"):
        chain.refuse_rollback(take(state, other), seen)


def test_a_chain_starts_with_a_genesis_signed_by_its_own_key() -> None:
    genesis = fields_of(Owner("ann").log[0])
    with refused("stranger"):
        take(None, forge(key("thief"), genesis))
    with pytest.raises(Malformed):
        take(None, forge(key("ann0"), {**genesis, "type": "note", "body": {}}))


def test_an_owners_chain_holds_nothing_of_a_devices_feed(owner: Owner) -> None:
    with refused("sort"):
        owner.add(Member("home", joined=True))


def test_devices_come_and_go_at_places_of_the_chain(owner: Owner) -> None:
    owner.certify("phone", name="phone")
    owner.revoke("laptop")
    laptop, phone = owner.state.devices
    assert (laptop.key, laptop.since, laptop.until) == (pub("laptop"), 1, 4)
    assert [laptop.valid_at(seq) for seq in range(6)] == [False, True, True, True, False, False]
    assert owner.state.active_devices == (phone,)
    assert phone.valid_at(99)
    assert phone.feed == records.open_record(device_genesis("phone", owner.state.feed)).hash
    assert owner.state.device(pub("nobody")) is None


def test_a_device_comes_once_and_goes_once(owner: Owner) -> None:
    with refused("device"):
        owner.certify("laptop")
    owner.revoke("laptop")
    with refused("device"):
        owner.revoke("laptop")
    with refused("device"):
        owner.certify("laptop")
    with refused("device"):
        owner.add(DeviceRevoke(pub("nobody")))


def test_devices_are_counted(owner: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "OWNER_DEVICES", 1)
    with refused("full"):
        owner.certify("phone")


def test_a_device_is_certified_only_with_its_own_consent(owner: Owner) -> None:
    feed = owner.state.feed
    by_thief = records.device_genesis(pub("phone"), feed, net=NET, at=NOW)
    certs = {
        "other owner": device_genesis("phone", Owner("bob").state.feed),
        "other device": device_genesis("tablet", feed),
        "other network": device_genesis("phone", feed, net="other"),
        "no genesis of a device": owner.log[0],
    }
    for cert in certs.values():
        with refused("cert"):
            owner.add(DeviceAdd(pub("phone"), "phone", cert))
    with refused("stranger"):
        owner.add(DeviceAdd(pub("phone"), "phone", records.sign_record(key("thief"), by_thief)))
    with pytest.raises(Malformed):
        owner.add(DeviceAdd(pub("phone"), "phone", b""))


def test_an_owner_may_add_only_to_the_newest_head_seen(owner: Owner) -> None:
    state = owner.state
    old = take(take(None, owner.log[0]), owner.log[1])
    assert chain.may_append(state, state.head)
    assert chain.may_append(state, old.head)
    assert not chain.may_append(old, state.head)
    assert not chain.may_append(state, None)
    assert not chain.may_append(state, Kept(state.seq, b"x" * 32))
    body = DeviceRevoke(pub("laptop"))
    assert chain.next_record(state, body, at=NOW, known_head=state.head).seq == 3
    with refused("unseen"):
        chain.next_record(old, body, at=NOW, known_head=state.head)


def test_a_head_of_another_feed_or_network_says_nothing(owner: Owner) -> None:
    state = owner.state
    head = Head(net=NET, feed=state.feed, seq=state.seq, hash=state.hash, at=NOW, ttl=1)
    assert chain.may_append(state, head)
    for changes in ({"feed": b"x" * 32}, {"net": "other"}):
        other = Head(**{**strict.from_struct(head), **changes})
        assert not chain.may_append(state, other)


def test_a_state_is_kept_and_loaded(owner: Owner) -> None:
    owner.rotate()
    owner.revoke("laptop", Kept(0, b"x" * 32))
    assert chain.load(chain.dump(owner.state)) == owner.state
    other = forge(owner.key, {**fields_of(owner.log[-1]), **NOTE})
    with pytest.raises(Equivocation) as caught:
        take(owner.state, other)
    assert chain.load(chain.dump(caught.value.frozen)) == caught.value.frozen
    with pytest.raises(Malformed):
        chain.load(b"\x80")


def test_a_failed_record_leaves_the_given_state_as_it_was(owner: Owner) -> None:
    before = chain.dump(owner.state)
    with refused("stranger"):
        take(owner.state, forge(key("thief"), note(owner)))
    assert chain.dump(owner.state) == before


def test_a_device_genesis_is_not_taken_into_an_owners_chain(owner: Owner) -> None:
    body = DeviceGenesis(pub("laptop"), owner.state.feed)
    with pytest.raises(Malformed):
        take(
            owner.state,
            forge(
                owner.key,
                {**note(owner), "type": "device_genesis", "body": strict.from_struct(body)},
            ),
        )
