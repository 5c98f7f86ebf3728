from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols import limits
from protocols.cid import RAW, Cid
from protocols.dagpb import Link, Node, decode_node, encode_node
from protocols.errors import Malformed
from tests.protocols.test_cid import cids

names = st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
links = st.builds(Link, cids, names, st.none() | st.integers(0, 2**63 - 1))

ONE = Cid.of(RAW, b"one")
HASH = "0a24" + ONE.bytes.hex()


@given(st.lists(links, max_size=6), st.none() | st.binary(max_size=40))
@settings(max_examples=80)
def test_nodes_come_back(some: list[Link], data: bytes | None) -> None:
    some.sort(key=lambda link: (link.name or "").encode())
    block = encode_node(some, data)
    assert decode_node(block) == Node(tuple(some), data)


def test_the_bytes_are_links_first_and_then_data() -> None:
    block = encode_node([Link(ONE, "a", 3)], b"\x08\x01")
    assert block.hex() == "122b" + HASH + "120161" + "1803" + "0a020801"


def link(message: str) -> str:
    return f"12{len(message) // 2:02x}{message}"


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ("0a020801" + link(HASH), "after the links"),
        ("0a0108" + "0a0108", "comes once"),
        (link(HASH + "120162") + link(HASH + "120161"), "sorted"),
        (link("120161" + HASH), "out of order"),
        (link(HASH + HASH), "out of order"),
        (link(HASH + "1803" + "1200"), "out of order"),
        (link("120161"), "no CID"),
        (link("0a00"), "varint|CID"),
        (link("0a26017112" + "20" + "00" * 34), "codec"),
        (link(HASH + "1201ff"), "UTF-8"),
        (link(HASH + "220161"), "field 4"),
        (link(HASH + "1001"), "field 2"),
        (link(HASH + "1a0161"), "field 3"),
        ("1a0161", "field 3"),
        ("0801", "field 1"),
        ("0a05", "cut"),
        ("0a", "cut"),
        ("8a00" + "0108", "longer than it needs"),
        ("0a8100" + "08", "longer than it needs"),
        ("0d00000000", "wire type 5"),
    ],
)
def test_any_other_form_is_refused(block: str, message: str) -> None:
    with pytest.raises(Malformed, match=message):
        decode_node(bytes.fromhex(block))


@pytest.mark.parametrize(
    "some",
    [
        [Link(ONE, "b"), Link(ONE, "a")],
        [Link(ONE, "n" * 256)],
        [Link(ONE, "\ud800")],
        [Link(ONE, "", -1)],
        [Link(ONE, "", 2**63)],
        [Link(ONE)] * (limits.BLOCK_LINKS + 1),
    ],
    ids=["order", "long", "surrogate", "negative", "huge", "many"],
)
def test_what_could_not_be_read_is_not_written(some: list[Link]) -> None:
    with pytest.raises(Malformed):
        encode_node(some, None)


def test_blocks_have_a_largest_size() -> None:
    assert decode_node(encode_node([], bytes(limits.BLOCK_BYTES - 4))).data is not None
    with pytest.raises(Malformed, match="over the limit"):
        encode_node([], bytes(limits.BLOCK_BYTES))
    with pytest.raises(Malformed, match="over the limit"):
        decode_node(bytes(limits.BLOCK_BYTES + 1))


def test_links_are_counted_while_reading() -> None:
    block = bytes.fromhex(link(HASH)) * (limits.BLOCK_LINKS + 1)
    with pytest.raises(Malformed, match="links in one block"):
        decode_node(block)
