from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols import base58, cid, varint
from protocols.cid import DAG_PB, RAW, Cid
from protocols.errors import Malformed

VECTORS = json.loads((Path(__file__).parent / "vectors" / "cid.json").read_text())

digests = st.binary(min_size=32, max_size=32)
cids = st.builds(Cid, st.just(1), st.sampled_from([RAW, DAG_PB]), digests) | st.builds(
    Cid, st.just(0), st.just(DAG_PB), digests
)


@pytest.mark.parametrize(("text", "data", "canonical"), VECTORS["good"])
def test_every_golden_cid_is_read_and_written(text: str, data: str, canonical: str) -> None:
    found = cid.parse(text)
    assert found.bytes.hex() == data
    assert found.text == str(found) == canonical
    assert cid.from_bytes(bytes.fromhex(data)) == found


@pytest.mark.parametrize(("why", "text"), VECTORS["bad"])
def test_every_bad_text_is_refused(why: str, text: str) -> None:
    with pytest.raises(Malformed):
        cid.parse(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("f0171" + "1220" + "00" * 32, "codec 0x71"),
        ("f0155" + "1340" + "00" * 64, "at most"),
        ("f0155" + "1320" + "00" * 32, "hash function 0x13"),
        ("f0255" + "1220" + "00" * 32, "version 2"),
        ("f0155" + "1220" + "00" * 31, "32 bytes, not 31"),
        ("f1220" + "00" * 32, "without a multibase"),
        ("f1221" + "00" * 33, "12 20"),
    ],
)
def test_the_error_says_what_is_wrong(text: str, message: str) -> None:
    with pytest.raises(Malformed, match=message):
        cid.parse(text)


@given(cids)
def test_bytes_and_text_come_back(one: Cid) -> None:
    assert cid.from_bytes(one.bytes) == one
    assert cid.parse(one.text) == one
    if one.version == 1:
        assert cid.parse("z" + base58.encode(one.bytes)) == one
        assert cid.parse("f" + one.bytes.hex()) == one


def test_a_cid_names_its_block_and_no_other() -> None:
    one = Cid.of(RAW, b"hello world")
    assert one.matches(b"hello world")
    assert not one.matches(b"hello worle")


@pytest.mark.parametrize(
    "parts", [(2, RAW, bytes(32)), (0, RAW, bytes(32)), (1, 0x71, bytes(32)), (1, RAW, bytes(31))]
)
def test_a_cid_cannot_be_built_wrong(parts: tuple[int, int, bytes]) -> None:
    with pytest.raises(Malformed):
        Cid(*parts)


@given(st.integers(0, 2**63 - 1), st.binary(max_size=3))
def test_varints_come_back(number: int, after: bytes) -> None:
    data = varint.encode(number)
    assert varint.decode(b"xx" + data + after, 2) == (number, 2 + len(data))
    assert len(data) == max(1, (number.bit_length() + 6) // 7)


@pytest.mark.parametrize("data", ["", "80", "8000", "ff00", "808080808080808080", "ff" * 9 + "01"])
def test_bad_varints_are_refused(data: str) -> None:
    with pytest.raises(Malformed):
        varint.decode(bytes.fromhex(data))


@pytest.mark.parametrize("number", [-1, 2**63])
def test_numbers_out_of_range_have_no_varint(number: int) -> None:
    with pytest.raises(ValueError, match="63-bit"):
        varint.encode(number)


@given(st.binary(max_size=60))
def test_base58_comes_back(data: bytes) -> None:
    assert base58.decode(base58.encode(data)) == data


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("", ""),
        ("00", "1"),
        ("0000287fb4cd", "11233QC4"),
        (b"Hello World!".hex(), "2NEpo7TZRRrLZSi2U"),
    ],
)
def test_base58_is_the_usual_one(data: str, text: str) -> None:
    assert base58.encode(bytes.fromhex(data)) == text
    assert base58.decode(text) == bytes.fromhex(data)


@pytest.mark.parametrize("text", ["0", "O", "I", "l", " ", "\u00e9", "1" * 129])
def test_other_texts_are_not_base58(text: str) -> None:
    with pytest.raises(Malformed):
        base58.decode(text)
