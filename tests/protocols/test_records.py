from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from protocols import bodies, ids, limits, records, strict
from protocols.bodies import DeviceGenesis, Genesis, Member, Publish, Rate
from protocols.cid import RAW, Cid
from protocols.errors import Malformed, ProtocolError, Refused
from protocols.heads import open_head
from protocols.records import (
    make_record,
    open_record,
    payload_bytes,
    payload_hash,
    sign_record,
)
from tests.protocols import make_vectors
from tests.protocols.feeds import NET, NOW, Owner, fields_of, forge, take
from tests.protocols.keys import SMALL_ORDER, key, pub
from tests.protocols.values import values

VECTORS = json.loads((Path(__file__).parent / "vectors" / "records.json").read_text())
FEED, PREV = b"f" * 32, b"p" * 32
MANIFEST = Cid.of(RAW, b"manifest").bytes
RATE = Rate(MANIFEST, 5, "good")


def test_what_we_sign_today_is_byte_for_byte_the_golden_chain() -> None:
    assert make_vectors.chains() == VECTORS


def test_the_golden_chain_is_taken_and_ends_where_it_says() -> None:
    owner = None
    for envelope in VECTORS["owner_chain"][:2]:
        owner = take(owner, bytes.fromhex(envelope))
    feed = None
    for envelope in VECTORS["device_feed"]:
        feed = take(feed, bytes.fromhex(envelope), owner=owner)
    for envelope in VECTORS["owner_chain"][2:]:
        owner = take(owner, bytes.fromhex(envelope))
    assert owner is not None
    assert feed is not None
    for state, head in ((owner, VECTORS["owner_head"]), (feed, VECTORS["device_head"])):
        assert {"seq": state.seq, "hash": state.hash.hex()} == head
    assert ids.owner_text(owner.feed) == VECTORS["owner_id"]
    assert ids.device_id(feed.key) == VECTORS["device_id"]
    head = open_head(
        bytes.fromhex(VECTORS["head"]), key=owner.key, feed=owner.feed, net=NET, now_ms=NOW
    )
    assert head.hash == owner.hash


def test_a_record_is_opened_as_it_was_made() -> None:
    record = make_record(RATE, net=NET, seq=3, at=NOW, feed=FEED, prev=PREV)
    signed = open_record(sign_record(key("a"), record))
    assert signed.record == record
    assert signed.body == RATE
    assert signed.signers == (pub("a"),)
    assert signed.hash == payload_hash(payload_bytes(record))
    assert signed.feed == FEED


def test_the_first_record_names_its_feed() -> None:
    record = make_record(DeviceGenesis(pub("a"), FEED), net=NET, seq=0, at=NOW)
    signed = open_record(sign_record(key("a"), record))
    assert signed.feed == signed.hash


@given(values(floats=False))
@settings(max_examples=40)
def test_a_record_of_an_unknown_type_keeps_its_body(value: Any) -> None:
    body = {"anything": value}
    try:
        record = make_record(body, type="sings", net=NET, seq=1, at=NOW, feed=FEED, prev=PREV)
        signed = open_record(sign_record(key("a"), record))
    except Malformed as error:
        assert "deep" in str(error)  # noqa: PT017 - the body hangs two containers lower than alone
    else:
        assert signed.body is None
        assert signed.record.body == body


def test_the_two_keys_alone_give_the_owner_again() -> None:
    one = records.owner_genesis(pub("x"), pub("y"), net=NET)
    assert payload_bytes(one) == payload_bytes(records.owner_genesis(pub("x"), pub("y"), net=NET))


GOOD = fields_of(
    sign_record(key("a"), make_record(RATE, net=NET, seq=3, at=NOW, feed=FEED, prev=PREV))
)


@pytest.mark.parametrize(
    "changes",
    [
        {"v": 2}, {"v": "1"}, {"net": ""}, {"net": "n" * 33}, {"net": 1}, {"feed": b"f"}, {"feed": None},
        {"type": "Rate"}, {"type": ""}, {"type": "r" * 33}, {"type": "rate\n"}, {"type": 1},
        {"seq": -1}, {"seq": 2**53}, {"seq": "3"}, {"seq": 0}, {"prev": None}, {"prev": b"p" * 33},
        {"at": -1}, {"at": 2**53}, {"at": None}, {"body": None}, {"body": []}, {"more": 1},
        {"type": "genesis"}, {"type": "device_genesis"},
        {"body": {}}, {"body": {**GOOD["body"], "more": 1}}, {"body": {**GOOD["body"], "stars": 6}},
        {"body": {**GOOD["body"], "stars": True}}, {"body": {**GOOD["body"], "text": "x" * 1001}},
        {"body": {**GOOD["body"], "manifest": b"m" * 36}},
    ],
    ids=str,
)  # fmt: skip
def test_a_signed_record_with_a_wrong_field_is_malformed(changes: dict[str, Any]) -> None:
    open_record(forge(key("a"), GOOD))
    with pytest.raises(Malformed):
        open_record(forge(key("a"), {**GOOD, **changes}))


@pytest.mark.parametrize("missing", sorted(GOOD))
def test_no_field_may_be_missing(missing: str) -> None:
    with pytest.raises(Malformed):
        open_record(
            forge(key("a"), {name: value for name, value in GOOD.items() if name != missing})
        )


def test_a_payload_that_is_not_canonical_is_refused_though_its_signature_holds() -> None:
    from protocols.envelope import sign

    payload = strict.encode(GOOD)
    assert payload.count(b"\xa3seq\x03") == 1
    longer = payload.replace(b"\xa3seq\x03", b"\xa3seq\xcc\x03")
    with pytest.raises(Malformed, match="canonical"):
        open_record(sign(key("a"), records.DOMAIN, longer))


def test_a_head_is_no_record_and_the_other_way_round() -> None:
    with pytest.raises(Refused, match="does not hold"):
        open_record(bytes.fromhex(VECTORS["head"]))


def test_a_record_that_nobody_would_take_is_not_made() -> None:
    for body, changes in (
        (Rate(MANIFEST, 6), {}),
        (RATE, {"seq": 0}),
        (RATE, {"prev": None}),
        ({"a": 1}, {}),  # an unknown type needs a name
        ({"a": 1.5}, {"type": "sings"}),
    ):
        common: dict[str, Any] = {"net": NET, "seq": 3, "at": NOW, "feed": FEED, "prev": PREV}
        with pytest.raises(ProtocolError):
            payload_bytes(make_record(body, **{**common, **changes}))


def test_a_record_has_a_largest_size() -> None:
    size = limits.RECORD_BYTES - 1000
    fits = make_record({"x": bytes(size)}, type="blob", net=NET, seq=1, at=0, feed=FEED, prev=PREV)
    open_record(sign_record(key("a"), fits))
    large = make_record(
        {"x": bytes(size + 1000)}, type="blob", net=NET, seq=1, at=0, feed=FEED, prev=PREV
    )
    with pytest.raises(Malformed, match="over the limit"):
        sign_record(key("a"), large)
    with pytest.raises(Malformed, match="over the limit"):
        open_record(forge(key("a"), strict.from_struct(large)))


@pytest.mark.parametrize("point", SMALL_ORDER[:4], ids=lambda point: point.hex()[:8])
def test_no_record_names_a_key_of_small_order(point: bytes) -> None:
    for build in (
        lambda: Genesis(point, PREV),
        lambda: bodies.Rotate(point, PREV),
        lambda: bodies.DeviceAdd(point, "x", b""),
        lambda: DeviceGenesis(point, FEED),
    ):
        with pytest.raises(Refused, match="no safe"):
            build()
    fields = fields_of(Owner().log[0])
    with pytest.raises(Malformed, match="no safe"):
        open_record(forge(key("a"), {**fields, "body": {**fields["body"], "key": point}}))


@pytest.mark.parametrize("name", ["", "A", "-a", "a_b", "a" * 65, "caf\u00e9", "a\n"])
def test_names_of_artifacts_are_plain(name: str) -> None:
    body = Publish("model", name, (1, 0, 0), MANIFEST, 1)
    with pytest.raises(Malformed):
        make_record(body, net=NET, seq=1, at=0, feed=FEED, prev=PREV)


def test_every_body_knows_its_type() -> None:
    for table in (bodies.OWNER_BODIES, bodies.DEVICE_BODIES):
        for name, kind in table.items():
            assert bodies._TYPES[kind] == name
    assert bodies.type_of(Member("home", joined=True)) == "member"
    with pytest.raises(Malformed):
        bodies.type_of(object())  # type: ignore[arg-type]
