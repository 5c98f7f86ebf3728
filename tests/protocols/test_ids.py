from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.signing import SigningKey

from protocols import ids
from protocols.errors import Malformed, Refused
from tests.protocols.keys import SMALL_ORDER

keys = st.binary(min_size=32, max_size=32)


def test_an_owner_is_named_by_the_hash_of_the_genesis() -> None:
    text = ids.owner_id(b"genesis")
    assert text == "kith1" + "v3v22stzn7gc4fo4jrqgdnc63gzxh4tk37dzrst5fwgmlamcogha"
    assert ids.parse_owner_id(text) == hashlib.sha256(b"genesis").digest()


def test_a_device_is_named_as_libp2p_names_it() -> None:
    """The Ed25519 key and peer id of libp2p's own specification of peer ids."""
    pub = bytes.fromhex("1ed1e8fae2c4a144b8be8fd4b47bf3d3b34b871c3cacf6010f0e42d474fce27e")
    assert ids.device_id(pub) == "12D3KooWBtg3aaRMjxwedh83aGiUkwSxDwUZkzuJcfaqUmo7R3pq"
    assert ids.parse_device_id(ids.device_id(pub)) == pub


@given(keys)
def test_ids_come_back(key: bytes) -> None:
    assert ids.parse_device_id(ids.device_id(key)) == key
    assert ids.parse_owner_id(ids.owner_text(key)) == key


def test_a_fresh_id_is_made_from_the_bytes_that_it_is_given() -> None:
    assert ids.new_id("job", bytes(16)) == "job_" + "a" * 26
    assert ids.parse_id(ids.new_id("job", bytes(range(16))), "job") == bytes(range(16))


@pytest.mark.parametrize(("prefix", "random"), [("", bytes(16)), ("Job", bytes(16)), ("a_b", bytes(16)),
                                                ("a" * 17, bytes(16)), ("job", bytes(15))])  # fmt: skip
def test_a_wrong_prefix_or_too_little_chance_makes_no_id(prefix: str, random: bytes) -> None:
    with pytest.raises(ValueError, match="id"):
        ids.new_id(prefix, random)


GOOD = ids.owner_id(b"x")


@pytest.mark.parametrize(
    "text",
    ["", "kith1", GOOD[:-1], GOOD + "a", GOOD.upper(), "kith2" + GOOD[5:], GOOD[:-1] + "9",
     GOOD[:-1] + "b"],
)  # fmt: skip
def test_other_texts_are_no_owner(text: str) -> None:
    with pytest.raises(Malformed):
        ids.parse_owner_id(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "12D3KooW",
        "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N",
        "12D3KooW" + "0" * 44,
        "12D3KooW" + "z" * 44,
    ],
)
def test_other_texts_are_no_device(text: str) -> None:
    with pytest.raises(Malformed):
        ids.parse_device_id(text)


@pytest.mark.parametrize(
    "text", ["", "job_", "job" + "a" * 26, "run_" + "a" * 26, "job_" + "a" * 25 + "b"]
)
def test_other_texts_are_no_job(text: str) -> None:
    with pytest.raises(Malformed):
        ids.parse_id(text, "job")


@pytest.mark.parametrize("key", SMALL_ORDER, ids=lambda key: key.hex()[:8])
def test_keys_of_small_order_are_not_safe(key: bytes) -> None:
    with pytest.raises(Refused):
        ids.check_key(key)


def test_an_ordinary_key_is_safe() -> None:
    ids.check_key(bytes(SigningKey(bytes(32)).verify_key))


@pytest.mark.parametrize("length", [31, 33])
def test_keys_have_thirty_two_bytes(length: int) -> None:
    for function in (ids.device_id, ids.owner_text):
        with pytest.raises(Malformed):
            function(bytes(length))
    with pytest.raises(Refused):
        ids.check_key(bytes(length))
