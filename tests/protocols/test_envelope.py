from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols import strict
from protocols.envelope import Opened, open_envelope, pae, sign
from protocols.errors import Malformed, Refused
from tests.protocols.keys import SMALL_ORDER, key, pub

VECTORS = json.loads((Path(__file__).parent / "vectors" / "envelope.json").read_text())
DOMAIN = "application/vnd.kith.test.v1+msgpack"
MAX = 4096


def envelope(payload: bytes, *signatures: tuple[bytes, bytes]) -> bytes:
    return strict.encode({"p": payload, "s": [list(pair) for pair in signatures]})


def by(name: str, payload: bytes, domain: str = DOMAIN) -> tuple[bytes, bytes]:
    return pub(name), key(name).sign(pae(domain, payload)).signature


@given(st.binary(max_size=200), st.sets(st.sampled_from("abcd"), min_size=1))
@settings(max_examples=40)
def test_a_signed_payload_opens_and_names_its_signers(payload: bytes, names: set[str]) -> None:
    first, *more = sorted(names)
    data = sign(key(first), DOMAIN, payload, also=[key(name) for name in more])
    opened = open_envelope(data, DOMAIN, max_bytes=MAX)
    assert opened == Opened(payload, tuple(pub(name) for name in sorted(names)))


@pytest.mark.parametrize("vector", VECTORS["good"], ids=lambda vector: vector["name"])
def test_every_golden_envelope_is_made_and_opened(vector: dict[str, str]) -> None:
    payload = bytes.fromhex(vector["payload"])
    assert pae(vector["domain"], payload).hex() == vector["signed_bytes"]
    data = sign(key(vector["key"]), vector["domain"], payload)
    assert data.hex() == vector["envelope"]
    assert open_envelope(data, vector["domain"], max_bytes=MAX).payload == payload


def test_the_signed_bytes_are_those_of_dsse() -> None:
    assert pae("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


def test_a_signature_holds_for_its_domain_only() -> None:
    data = sign(key("a"), DOMAIN, b"payload")
    with pytest.raises(Refused, match="does not hold"):
        open_envelope(data, DOMAIN + "2", max_bytes=MAX)


def test_every_changed_bit_is_noticed() -> None:
    data = sign(key("a"), DOMAIN, b"payload")
    for at in range(len(data) * 8):
        changed = bytearray(data)
        changed[at // 8] ^= 1 << at % 8
        with pytest.raises((Malformed, Refused)):
            open_envelope(bytes(changed), DOMAIN, max_bytes=MAX)


def test_one_bad_signature_spoils_the_others() -> None:
    bad = (pub("b"), bytes(64))
    with pytest.raises(Refused, match="does not hold"):
        open_envelope(envelope(b"p", by("a", b"p"), bad), DOMAIN, max_bytes=MAX)


@pytest.mark.parametrize("point", SMALL_ORDER, ids=lambda point: point.hex()[:8])
@pytest.mark.parametrize("nonce", SMALL_ORDER[2:4], ids=["one", "one-"])
def test_a_key_of_small_order_signs_nothing(point: bytes, nonce: bytes) -> None:
    """With such a key A, the signature (R = identity, S = 0) satisfies 8SB = 8R + 8hA for any message."""
    forged = (point, nonce + bytes(32))
    with pytest.raises(Refused, match="does not hold"):
        open_envelope(envelope(b"any message", forged), DOMAIN, max_bytes=MAX)


def test_a_signature_has_one_form_only() -> None:
    """S and S + L satisfy the same equation; only the smaller is taken."""
    order = 2**252 + 27742317777372353535851937790883648493
    pubkey, signature = by("a", b"p")
    s = int.from_bytes(signature[32:], "little") + order
    other = signature[:32] + s.to_bytes(32, "little")
    with pytest.raises(Refused):
        open_envelope(envelope(b"p", (pubkey, other)), DOMAIN, max_bytes=MAX)


def test_a_co_signature_of_a_later_algorithm_is_kept_and_counts_for_nothing() -> None:
    later = (b"k" * 1952, b"s" * 3309)
    opened = open_envelope(envelope(b"p", by("a", b"p"), later), DOMAIN, max_bytes=8192)
    assert opened.signers == (pub("a"),)
    with pytest.raises(Refused, match="no signature that this version can check"):
        open_envelope(envelope(b"p", later), DOMAIN, max_bytes=8192)


def test_a_key_that_was_lengthened_no_longer_counts() -> None:
    pubkey, signature = by("a", b"p")
    with pytest.raises(Refused):
        open_envelope(envelope(b"p", (pubkey + b"\0", signature)), DOMAIN, max_bytes=MAX)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        strict.encode({"p": b"p"}),
        strict.encode({"p": b"p", "s": []}),
        strict.encode({"p": "p", "s": [[b"k", b"s"]]}),
        strict.encode({"p": b"p", "s": [[b"k"]]}),
        strict.encode({"p": b"p", "s": [[b"k", b"s", b"t"]]}),
        strict.encode({"p": b"p", "s": [[b"", b"s"]]}),
        strict.encode({"p": b"p", "s": [[b"k", b"s"]], "t": 1}),
        strict.encode([b"p", [[b"k", b"s"]]]),
        envelope(b"p", by("a", b"p"), by("a", b"p")),
        envelope(b"p", *[by(name, b"p") for name in "abcde"]),
        envelope(b"p", by("a", b"p")) + b"\0",
    ],
)
def test_what_is_no_envelope_is_malformed(data: bytes) -> None:
    with pytest.raises(Malformed):
        open_envelope(data, DOMAIN, max_bytes=MAX)


def test_size_is_checked_first() -> None:
    data = sign(key("a"), DOMAIN, bytes(100))
    with pytest.raises(Malformed, match="over the limit"):
        open_envelope(data, DOMAIN, max_bytes=len(data) - 1)


@pytest.mark.parametrize("domain", ["", "d" * 129, "caf\u00e9", "a\nb"])
def test_a_bad_domain_is_the_callers_mistake(domain: str) -> None:
    with pytest.raises(ValueError, match="domain"):
        sign(key("a"), domain, b"p")
