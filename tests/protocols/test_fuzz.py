"""No bytes and no text from outside may do more than be refused, soon and by a `ProtocolError`."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from protocols import base58, chain, cid, dagpb, ids, limits, records, strict, unixfs, varint
from protocols.bodies import Publish
from protocols.cid import RAW, Cid
from protocols.dagpb import Link
from protocols.envelope import open_envelope, sign
from protocols.errors import ProtocolError
from protocols.heads import Head, open_head, sign_head
from protocols.labels import Label
from tests.protocols.feeds import NET, NOW, DeviceFeed, Owner, take
from tests.protocols.keys import key, pub
from tests.protocols.values import MAX, mutated

VECTORS = Path(__file__).parent / "vectors"
FEED = DeviceFeed(Owner("ann"))
FEED.add(Publish("model", "small", (1, 0, 0), Cid.of(RAW, b"m").bytes, 5))
OWNER = FEED.owner
STATES = [chain.dump(OWNER.state), chain.dump(FEED.state)]
HEAD = sign_head(
    OWNER.key, Head(net=NET, feed=OWNER.state.feed, seq=1, hash=OWNER.state.hash, at=NOW, ttl=5)
)
PAYLOADS = [strict.decode(e, max_bytes=MAX)["p"] for e in (*OWNER.log, *FEED.log)]
CHILD = Link(Cid.of(RAW, b"12345"), "", 5)
BLOCKS = [
    dagpb.encode_node([CHILD, CHILD], unixfs.file_data([5, 5])),
    unixfs.directory_block([Link(CHILD.cid, "a", 5), Link(CHILD.cid, "b", 5)])[1],
    unixfs.wrapped_leaf(b"hello"),
]
GOOD_MSGPACK = [
    bytes.fromhex(e) for _, e in json.loads((VECTORS / "strict.json").read_text())["good"]
]
CIDS = [entry[0] for entry in json.loads((VECTORS / "cid.json").read_text())["good"]]


def decode_any(data: bytes) -> Any:
    return strict.decode(data, max_bytes=MAX, max_items=20, floats=True)


def apply_as_signed(data: bytes) -> Any:
    """The payload as if the right key had signed it: what a hostile owner or device could send."""
    owner = sign(OWNER.key, records.DOMAIN, data, also=[OWNER.next_key])
    device = sign(key("laptop"), records.DOMAIN, data)
    for state, envelope in (
        (OWNER.state, owner),
        (None, owner),
        (FEED.state, device),
        (None, device),
    ):
        with suppress(ProtocolError):
            take(state, envelope, owner=OWNER.state, stored=OWNER.log[1] if state else None)


BYTES: dict[str, tuple[Callable[[bytes], Any], list[bytes]]] = {
    "strict": (decode_any, GOOD_MSGPACK + PAYLOADS),
    "envelope": (lambda d: open_envelope(d, records.DOMAIN, max_bytes=MAX), OWNER.log),
    "record": (records.open_record, OWNER.log + FEED.log),
    "record body": (apply_as_signed, PAYLOADS),
    "head": (
        lambda d: open_head(d, key=pub("ann0"), feed=OWNER.state.feed, net=NET, now_ms=NOW),
        [HEAD],
    ),
    "state": (chain.load, STATES),
    "varint": (varint.decode, [b"\x80\x01", b"\xff" * 8 + b"\x01"]),
    "cid": (cid.from_bytes, [cid.parse(text).bytes for text in CIDS]),
    "dag-pb": (dagpb.decode_node, BLOCKS),
    "unixfs": (unixfs.read_node, BLOCKS),
    "unixfs data": (
        lambda d: unixfs.read_node(dagpb.encode_node([CHILD], d)),
        [unixfs.file_data([5])],
    ),
}

TEXTS: dict[str, tuple[Callable[[str], Any], list[str]]] = {
    "cid": (cid.parse, CIDS),
    "base58": (base58.decode, ["2NEpo7TZRRrLZSi2U"]),
    "base32": (cid.base32_decode, ["mzxw6ytb"]),
    "owner": (ids.parse_owner_id, [ids.owner_text(bytes(32))]),
    "device": (ids.parse_device_id, [ids.device_id(bytes(32))]),
    "job": (lambda text: ids.parse_id(text, "job"), [ids.new_id("job", bytes(16))]),
    "label": (Label.parse, ["fleet", "mesh:home"]),
}

FUZZ = settings(max_examples=150, deadline=500, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize("name", BYTES)
@given(data=st.data())
@FUZZ
def test_random_bytes_are_only_refused(name: str, data: st.DataObject) -> None:
    decoder, samples = BYTES[name]
    given_bytes = data.draw(st.binary(max_size=200) | mutated(samples))
    with suppress(ProtocolError):
        decoder(given_bytes)


@pytest.mark.parametrize("name", BYTES)
def test_the_samples_themselves_are_taken(name: str) -> None:
    decoder, samples = BYTES[name]
    if name != "strict":
        for sample in samples:
            decoder(sample)


@pytest.mark.parametrize("name", TEXTS)
@given(data=st.data())
@FUZZ
def test_random_texts_are_only_refused(name: str, data: st.DataObject) -> None:
    decoder, samples = TEXTS[name]
    text = data.draw(st.sampled_from(samples))
    at = data.draw(st.integers(0, len(text)))
    changed = text[:at] + data.draw(st.text(max_size=3)) + text[at + data.draw(st.integers(0, 2)) :]
    with suppress(ProtocolError):
        decoder(data.draw(st.just(changed) | st.text(max_size=100)))


@pytest.mark.parametrize("name", TEXTS)
def test_an_endless_text_is_refused_at_once(name: str) -> None:
    decoder, samples = TEXTS[name]
    started = time.perf_counter()
    for text in (samples[0] * 100_000, "z" * 1_000_000, "b" + "a" * 1_000_000):
        if name == "base32":
            continue  # linear; every caller bounds its text first
        with pytest.raises(ProtocolError) as caught:
            decoder(text)
        assert len(str(caught.value)) < 1000
    assert time.perf_counter() - started < 1.0


@pytest.mark.parametrize("name", ["record", "dag-pb", "unixfs", "state", "envelope", "cid"])
@pytest.mark.parametrize(
    "fill", [b"\x00", b"\x91", b"\xff", b"\x12\x00", b"\xde\xff\xff", b"\x0a\x01\x00"]
)
def test_a_large_flood_is_refused_soon(name: str, fill: bytes) -> None:
    decoder, _ = BYTES[name]
    for size in (limits.RECORD_BYTES, limits.BLOCK_BYTES):
        started = time.perf_counter()
        with pytest.raises(ProtocolError):
            decoder(fill * (size // len(fill)))
        assert time.perf_counter() - started < 1.0
