"""Attacks on a device's feed, which lives only while its owner's chain certifies the device."""

from __future__ import annotations

import pytest

from protocols import chain, limits, strict
from protocols.bodies import DeviceRevoke, Endorse, Kept, Member, Publish, Version, Yank
from protocols.chain import ChainState, Equivocation
from protocols.cid import RAW, Cid
from tests.protocols.feeds import DeviceFeed, Owner, device_genesis, fields_of, forge, take
from tests.protocols.keys import key, pub
from tests.protocols.test_chain import refused

MANIFEST = Cid.of(RAW, b"manifest").bytes
JOINED = Member("home", joined=True)


def publish(version: Version, name: str = "weather") -> Publish:
    return Publish("plugin", name, version, MANIFEST, 12345)


@pytest.fixture
def feed() -> DeviceFeed:
    made = DeviceFeed(Owner("ann"))
    made.add(publish((1, 0, 0)))
    made.add(publish((1, 1, 0)))
    return made


def replayed(log: list[bytes], owner: ChainState) -> ChainState:
    state = None
    for envelope in log:
        state = take(state, envelope, owner=owner)
    assert state is not None
    return state


def test_an_honest_feed_is_taken_whole(feed: DeviceFeed) -> None:
    feed.add(Yank("plugin", "weather", (1, 0, 0)))
    feed.add(Endorse(MANIFEST))
    feed.add(JOINED)
    state = replayed(feed.log, feed.owner.state)
    assert state == feed.state
    assert (state.sort, state.owner, state.key) == ("device", feed.owner.state.feed, pub("laptop"))
    assert state.versions == {"plugin/weather": (1, 1, 0)}
    assert chain.load(chain.dump(state)) == state


def test_records_of_an_unknown_type_stay_in_the_feed(feed: DeviceFeed) -> None:
    fields = {**feed.draft(JOINED), "type": "sings", "body": {"song": b"la"}}
    state = take(feed.state, forge(key("laptop"), fields), owner=feed.owner.state)
    assert state.seq == feed.state.seq + 1


def test_no_record_is_taken_without_the_owners_chain(feed: DeviceFeed) -> None:
    with refused("owner"):
        take(None, feed.log[0])
    with refused("owner"):
        take(None, feed.log[0], owner=feed.state)


def test_a_device_that_nobody_certified_has_no_feed(feed: DeviceFeed) -> None:
    owner = feed.owner.state
    with refused("uncertified"):
        take(None, device_genesis("phone", owner.feed), owner=owner)
    with refused("uncertified"):  # certified, but by someone else
        take(None, feed.log[0], owner=Owner("bob").state)


def test_a_device_has_one_feed_only(feed: DeviceFeed) -> None:
    owner = feed.owner.state
    second = device_genesis("laptop", owner.feed, at=1)
    with refused("uncertified"):
        take(None, second, owner=owner)


def test_only_the_device_writes_its_feed(feed: DeviceFeed) -> None:
    owner = feed.owner
    for signer in (key("phone"), owner.key, owner.next_key):
        with refused("stranger"):
            take(feed.state, forge(signer, feed.draft(JOINED)), owner=owner.state)
    with refused("stranger"):
        take(None, forge(key("thief"), fields_of(feed.log[0])), owner=owner.state)


def test_a_device_cannot_do_what_only_the_owner_may(feed: DeviceFeed) -> None:
    for body in (DeviceRevoke(pub("laptop")), feed.owner.rotation()):
        with refused("sort"):
            feed.add(body)


def test_a_version_never_goes_back(feed: DeviceFeed) -> None:
    for version in ((1, 0, 5), (1, 1, 0), (0, 9, 9)):
        with refused("version"):
            feed.add(publish(version))
    feed.add(publish((0, 1, 0), name="tides"))
    feed.add(publish((1, 1, 1)))


def test_names_are_counted(feed: DeviceFeed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "FEED_NAMES", 1)
    with refused("full"):
        feed.add(publish((1, 0, 0), name="tides"))


def test_a_revoked_device_adds_nothing(feed: DeviceFeed) -> None:
    envelope = forge(key("laptop"), feed.draft(JOINED))
    feed.owner.revoke("laptop")
    with refused("revoked"):
        take(feed.state, envelope, owner=feed.owner.state)
    with refused("revoked"):
        take(None, feed.log[0], owner=feed.owner.state)


def test_what_the_owner_keeps_of_a_revoked_device_stays_readable(feed: DeviceFeed) -> None:
    late = forge(key("laptop"), feed.draft(JOINED))
    feed.owner.revoke("laptop", feed.state.head)
    assert replayed(feed.log, feed.owner.state) == feed.state
    with refused("revoked"):
        take(feed.state, late, owner=feed.owner.state)


def test_the_thief_of_a_revoked_device_cannot_rewrite_what_was_kept(feed: DeviceFeed) -> None:
    feed.owner.revoke("laptop", feed.state.head)
    state = replayed(feed.log[:2], feed.owner.state)
    other = forge(key("laptop"), {**fields_of(feed.log[2]), "type": "note", "body": {}})
    with refused("revoked"):
        take(state, other, owner=feed.owner.state)


def test_a_place_kept_earlier_cuts_the_later_records_off(feed: DeviceFeed) -> None:
    before = replayed(feed.log[:2], feed.owner.state)
    feed.owner.revoke("laptop", Kept(before.seq, before.hash))
    assert replayed(feed.log[:2], feed.owner.state) == before
    with refused("revoked"):
        take(before, feed.log[2], owner=feed.owner.state)


def test_the_feed_goes_on_when_the_owner_rotates(feed: DeviceFeed) -> None:
    feed.owner.rotate()
    feed.add(JOINED)


def test_replay_gap_and_fork_are_judged_as_in_any_chain(feed: DeviceFeed) -> None:
    owner = feed.owner.state
    with refused("replay"):
        take(feed.state, feed.log[1], owner=owner, stored=feed.log[1])
    ahead = forge(key("laptop"), {**feed.draft(JOINED), "seq": 9})
    with refused("gap"):
        take(feed.state, ahead, owner=owner)
    strange = forge(key("stranger"), {**fields_of(feed.log[1]), "type": "note", "body": {}})
    with refused("stranger"):
        take(feed.state, strange, owner=owner, stored=feed.log[1])
    other = forge(key("laptop"), {**fields_of(feed.log[1]), "type": "note", "body": {}})
    with pytest.raises(Equivocation) as caught:
        take(feed.state, other, owner=owner, stored=feed.log[1])
    with refused("frozen"):
        take(caught.value.frozen, forge(key("laptop"), feed.draft(JOINED)), owner=owner)


def test_a_frozen_devices_feed_cannot_be_freed_by_a_rotation(feed: DeviceFeed) -> None:
    other = forge(key("laptop"), {**fields_of(feed.log[2]), "type": "note", "body": {}})
    with pytest.raises(Equivocation) as caught:
        take(feed.state, other, owner=feed.owner.state)
    fields = {
        **feed.draft(JOINED),
        "type": "rotate",
        "body": strict.from_struct(feed.owner.rotation()),
    }
    with refused("sort"):
        take(caught.value.frozen, forge(key("laptop"), fields), owner=feed.owner.state)
