"""Feeds on disk: what is taken, what is refused, what is remembered."""

import pytest
from nacl.signing import SigningKey

from protocols.bodies import DeviceAdd, DeviceGenesis, DeviceRevoke
from protocols.chain import Equivocation, Fork
from protocols.errors import Malformed, Refused
from protocols.heads import Head, open_head, sign_head
from protocols.records import NET, open_record
from tests.node.feeds.writers import (
    AT,
    Chain,
    device_chain,
    key,
    owner_chain,
    public,
    publish,
    rotation,
)
from tests.node.owner.house import House

OWNER, DEVICE, STRANGER = key(1), key(7), key(9)


async def rule_of(here: House, envelope: bytes) -> str:
    with pytest.raises(Refused) as caught:
        await here.feeds.append(envelope)
    return caught.value.rule


async def stored(here: House, chain: Chain) -> list[bytes]:
    return await here.feeds.page(chain.feed)


async def two_feeds(here: House) -> tuple[Chain, Chain]:
    """An owner's chain and a device's feed with one record each besides the first, stored."""
    owner = owner_chain()
    device = device_chain(owner, DEVICE)
    device.add(DEVICE, publish("jokes"))
    await here.feeds.append(*owner.envelopes)
    await here.feeds.append(*device.envelopes)
    return owner, device


async def test_records_come_back_as_they_were_sent(here: House) -> None:
    owner, device = await two_feeds(here)
    assert await stored(here, owner) == owner.envelopes
    assert await stored(here, device) == device.envelopes
    assert await here.feeds.page(device.feed, start=1, limit=1) == device.envelopes[1:]
    assert await here.feeds.verify(owner.feed) is None
    assert await here.feeds.verify(device.feed) is None


async def test_an_unknown_record_type_is_kept(here: House) -> None:
    _owner, device = await two_feeds(here)
    device.add(DEVICE, {"any": "thing"}, type="later_invention")
    await here.feeds.append(device.envelopes[-1])
    assert await stored(here, device) == device.envelopes


async def test_a_replay_is_refused_and_adds_nothing(here: House) -> None:
    _owner, device = await two_feeds(here)
    for envelope in device.envelopes:
        assert await rule_of(here, envelope) == "replay"
    assert await stored(here, device) == device.envelopes


async def test_a_gap_is_refused(here: House) -> None:
    _, device = await two_feeds(here)
    assert await rule_of(here, device.record(DEVICE, publish("a"), seq=5)) == "gap"


async def test_a_record_that_follows_another_one_is_refused(here: House) -> None:
    _, device = await two_feeds(here)
    assert await rule_of(here, device.record(DEVICE, publish("a"), prev=bytes(32))) == "prev"


async def test_a_changed_record_is_refused(here: House) -> None:
    _, device = await two_feeds(here)
    envelope = bytearray(device.record(DEVICE, publish("a")))
    envelope[20] ^= 1
    with pytest.raises((Malformed, Refused)):
        await here.feeds.append(bytes(envelope))
    assert await stored(here, device) == device.envelopes


async def test_a_record_of_another_network_is_refused(here: House) -> None:
    _, device = await two_feeds(here)
    assert await rule_of(here, device.record(DEVICE, publish("a"), net="other")) == "net"


async def test_a_record_from_the_future_is_refused(here: House) -> None:
    _, device = await two_feeds(here)
    assert await rule_of(here, device.record(DEVICE, publish("a"), at=2 * AT)) == "future"


async def test_an_older_version_is_refused(here: House) -> None:
    _, device = await two_feeds(here)
    assert await rule_of(here, device.record(DEVICE, publish("jokes", (0, 9, 0)))) == "version"


async def test_a_device_without_its_owners_chain_is_refused(here: House) -> None:
    device = device_chain(owner_chain(), DEVICE)
    assert await rule_of(here, device.envelopes[0]) == "owner"


async def test_a_device_that_nobody_certified_is_refused(here: House) -> None:
    owner, _ = await two_feeds(here)
    alone = Chain()
    alone.add(STRANGER, DeviceGenesis(device=public(STRANGER), owner=owner.feed))
    assert await rule_of(here, alone.envelopes[0]) == "uncertified"


async def test_a_revoked_device_writes_no_more(here: House) -> None:
    owner, device = await two_feeds(here)
    state = await here.feeds.head(device.feed)
    assert state is not None
    owner.add(OWNER, DeviceRevoke(device=public(DEVICE), keep=state.head))
    await here.feeds.append(owner.envelopes[-1])
    assert await rule_of(here, device.record(DEVICE, publish("a"))) == "revoked"
    assert await here.feeds.verify(device.feed) is None  # what was kept still stands


async def test_several_records_are_kept_all_or_none(here: House) -> None:
    _, device = await two_feeds(here)
    before = list(device.envelopes)
    device.add(DEVICE, publish("a"))
    with pytest.raises(Refused):
        await here.feeds.append(device.envelopes[-1], device.record(STRANGER, publish("b")))
    assert await stored(here, device) == before


class TestThieves:
    async def test_the_device_key_reaches_nothing_in_the_owners_chain(self, here: House) -> None:
        owner, _ = await two_feeds(here)
        mine = Chain()
        cert = mine.add(STRANGER, DeviceGenesis(device=public(STRANGER), owner=owner.feed))
        body = DeviceAdd(device=public(STRANGER), name="thief", cert=cert)
        assert await rule_of(here, owner.record(DEVICE, body)) == "stranger"

    async def test_a_stolen_signing_key_cannot_rotate(self, here: House) -> None:
        owner, _ = await two_feeds(here)
        assert await rule_of(here, owner.record(OWNER, rotation(9, 8))) == "rotation"
        assert await rule_of(here, owner.record(OWNER, rotation(2, 8))) == "stranger"

    async def test_a_retired_key_signs_nothing(self, here: House) -> None:
        owner, _ = await two_feeds(here)
        owner.add(key(2), rotation(2, 3))
        await here.feeds.append(owner.envelopes[-1])
        body = DeviceRevoke(device=public(DEVICE))
        assert await rule_of(here, owner.record(OWNER, body)) == "retired"

    async def test_a_retired_key_cannot_freeze_the_chain(self, here: House) -> None:
        owner, _ = await two_feeds(here)
        other = Chain(owner.envelopes[:1])
        forged = other.record(OWNER, DeviceRevoke(device=public(DEVICE)))
        owner.add(key(2), rotation(2, 3))
        await here.feeds.append(owner.envelopes[-1])
        assert await rule_of(here, forged) == "retired"
        assert await here.feeds.forks(owner.feed) == []

    async def test_a_strangers_fork_does_not_freeze_the_feed(self, here: House) -> None:
        _, device = await two_feeds(here)
        forged = Chain(device.envelopes[:1]).record(STRANGER, publish("evil"))
        assert await rule_of(here, forged) == "stranger"
        assert await here.feeds.forks(device.feed) == []
        await here.feeds.append(device.record(DEVICE, publish("a")))


class TestForks:
    async def test_two_histories_freeze_the_feed_and_the_proof_stays(self, here: House) -> None:
        _owner, device = await two_feeds(here)
        device.add(DEVICE, publish("a"))
        await here.feeds.append(device.envelopes[-1])
        # At an older place, so that the stored record has to be looked up.
        other = Chain(device.envelopes[:1]).record(DEVICE, publish("evil"))
        with pytest.raises(Equivocation):
            await here.feeds.append(other)
        (proof,) = await here.feeds.forks(device.feed)
        assert (proof.seq, proof.first, proof.second) == (1, device.envelopes[1], other)
        assert await stored(here, device) == device.envelopes
        assert await rule_of(here, device.record(DEVICE, publish("b"))) == "frozen"
        assert await here.feeds.verify(device.feed) is None

    async def test_a_proof_from_elsewhere_freezes_too(self, here: House, there: House) -> None:
        owner, device = await two_feeds(here)
        await there.feeds.append(*owner.envelopes)
        await there.feeds.append(*device.envelopes)
        with pytest.raises(Equivocation) as caught:
            await here.feeds.append(Chain(device.envelopes[:1]).record(DEVICE, publish("evil")))
        await there.feeds.take_fork(device.feed, caught.value.fork)
        assert await rule_of(there, device.record(DEVICE, publish("b"))) == "frozen"
        with pytest.raises(Refused):
            await there.feeds.take_fork(bytes(32), caught.value.fork)

    async def test_a_forged_proof_freezes_nothing(self, here: House) -> None:
        _owner, device = await two_feeds(here)
        forged = Chain(device.envelopes[:1]).record(STRANGER, publish("evil"))
        with pytest.raises(Refused):
            await here.feeds.take_fork(device.feed, Fork(1, device.envelopes[1], forged))
        await here.feeds.append(device.record(DEVICE, publish("b")))

    async def test_a_rotation_ends_the_freeze_of_an_owners_chain(self, here: House) -> None:
        owner, _ = await two_feeds(here)
        other = Chain(owner.envelopes[:1]).record(OWNER, DeviceRevoke(device=public(DEVICE)))
        with pytest.raises(Equivocation):
            await here.feeds.append(other)
        revoke = DeviceRevoke(device=public(DEVICE))
        assert await rule_of(here, owner.record(OWNER, revoke)) == "frozen"
        state = await here.database.run(
            lambda t: here.feeds.write(t, owner.feed, key(2), rotation(2, 3))
        )
        assert state.fork is None
        assert len(await here.feeds.forks(owner.feed)) == 1


class TestHeads:
    async def test_a_signed_head_tells_how_far_the_feed_goes(self, here: House) -> None:
        _, device = await two_feeds(here)
        envelope = await here.feeds.sign_head(device.feed, DEVICE)
        head = open_head(envelope, key=public(DEVICE), feed=device.feed, net=NET, now_ms=AT)
        state = await here.feeds.head(device.feed)
        assert state is not None
        assert (head.seq, head.hash) == (1, state.hash)

    async def test_only_the_current_key_signs_the_head(self, here: House) -> None:
        _, device = await two_feeds(here)
        for feed, secret in ((device.feed, STRANGER), (bytes(32), DEVICE)):
            with pytest.raises(Refused):
                await here.feeds.sign_head(feed, secret)

    async def test_nothing_is_written_below_a_head_that_was_seen(self, here: House) -> None:
        _, device = await two_feeds(here)
        elsewhere = Chain(list(device.envelopes))
        elsewhere.add(DEVICE, publish("written-elsewhere"))
        await here.feeds.take_head(device.feed, head_of(elsewhere))
        with pytest.raises(Refused) as caught:
            await here.database.run(
                lambda t: here.feeds.write(t, device.feed, DEVICE, publish("mine"))
            )
        assert caught.value.rule == "unseen"
        assert await rule_of(here, device.record(DEVICE, publish("other"))) == "rollback"
        assert (await here.feeds.verify(device.feed)) is not None  # records are known to be missing
        await here.feeds.append(elsewhere.envelopes[-1])
        await here.database.run(lambda t: here.feeds.write(t, device.feed, DEVICE, publish("mine")))
        assert await here.feeds.verify(device.feed) is None

    async def test_a_strangers_head_is_not_remembered(self, here: House) -> None:
        _, device = await two_feeds(here)
        forged = head_of(device, secret=STRANGER, seq=99)
        with pytest.raises(Refused):
            await here.feeds.take_head(device.feed, forged)
        with pytest.raises(Refused):
            await here.feeds.take_head(bytes(32), forged)
        await here.feeds.append(device.record(DEVICE, publish("a")))

    async def test_a_head_that_contradicts_our_record_is_refused(self, here: House) -> None:
        _, device = await two_feeds(here)
        other = Chain(device.envelopes[:1])
        other.add(DEVICE, publish("evil"))
        with pytest.raises(Refused) as caught:
            await here.feeds.take_head(device.feed, head_of(other))
        assert caught.value.rule == "fork"


def head_of(chain: Chain, *, secret: SigningKey = DEVICE, seq: int | None = None) -> bytes:
    last = open_record(chain.envelopes[-1])
    place = last.record.seq if seq is None else seq
    head = Head(net=NET, feed=chain.feed, seq=place, hash=last.hash, at=AT, ttl=1000)
    return sign_head(secret, head)


class TestVerify:
    @pytest.mark.parametrize(
        ("sql", "seq", "rule"),
        [
            ("DELETE FROM records WHERE seq = 1", 2, "gap"),
            ("DELETE FROM records WHERE seq = 3", 2, "rollback"),
            ("DELETE FROM records WHERE seq = 0", 1, "gap"),
            ("UPDATE records SET envelope = zeroblob(length(envelope)) WHERE seq = 2", 2, "malformed"),
            ("UPDATE records SET envelope = (SELECT envelope FROM records r WHERE r.seq = 1"
             " AND r.feed = records.feed) WHERE seq = 2", 2, "replay"),
            ("DELETE FROM heads", None, None),
            ("DELETE FROM records WHERE seq = 3; DELETE FROM heads", 2, "state"),
            ("DELETE FROM records", 0, "gap"),
        ],
    )  # fmt: skip
    async def test_a_change_behind_our_back_is_found(
        self, here: House, sql: str, seq: int | None, rule: str | None
    ) -> None:
        _, device = await two_feeds(here)
        await here.feeds.append(device.add(DEVICE, publish("a")), device.add(DEVICE, publish("b")))
        for statement in sql.split(";"):
            await here.database.run(lambda tables, s=statement: tables.execute(s))
        problem = await here.feeds.verify(device.feed)
        assert (problem and problem.seq, problem and problem.rule) == (seq, rule)

    async def test_many_records_are_verified_page_by_page(self, here: House) -> None:
        _, device = await two_feeds(here)
        await here.feeds.append(*(device.add(DEVICE, publish(f"m{n}")) for n in range(600)))
        assert await here.feeds.verify(device.feed) is None
        await here.database.run(
            lambda t: t.execute("UPDATE records SET envelope = x'00' WHERE seq = 599")
        )
        problem = await here.feeds.verify(device.feed)
        assert problem is not None
        assert problem.seq == 599

    async def test_a_feed_that_is_not_here(self, here: House) -> None:
        problem = await here.feeds.verify(bytes(32))
        assert problem is not None
        assert await here.feeds.head(bytes(32)) is None
