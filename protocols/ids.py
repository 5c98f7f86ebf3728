"""How owners, devices, jobs and records are named in text. Each value has exactly one spelling."""

from __future__ import annotations

import hashlib
import re
from typing import Final

from nacl.bindings import crypto_core_ed25519_is_valid_point

from protocols import base58, limits
from protocols.cid import base32_decode, base32_encode
from protocols.errors import Malformed, Refused

HASH_BYTES: Final = 32
KEY_BYTES: Final = 32
RANDOM_BYTES: Final = 16

_OWNER_PREFIX: Final = "kith1"
#: The multihash `identity` of libp2p's protobuf of an Ed25519 public key, up to the key itself.
_PEER_PREFIX: Final = bytes.fromhex("002408011220")
_PREFIX: Final = re.compile(rf"[a-z]{{1,{limits.ID_PREFIX_CHARS}}}", re.ASCII)


def owner_id(genesis_payload: bytes) -> str:
    """The owner's id: `kith1` and the base32 of the sha256 of the genesis payload."""
    return owner_text(hashlib.sha256(genesis_payload).digest())


def owner_text(feed: bytes) -> str:
    """The owner's id when the id of the owner's feed is known. Both are the same 32 bytes."""
    if len(feed) != HASH_BYTES:
        raise Malformed(f"an owner id has {HASH_BYTES} bytes, not {len(feed)}")
    return _OWNER_PREFIX + base32_encode(feed)


def parse_owner_id(text: str) -> bytes:
    """The 32 bytes of an owner's id. Raises `Malformed`."""
    if len(text) != len(_OWNER_PREFIX) + 52 or not text.startswith(_OWNER_PREFIX):
        raise Malformed(f"{text[:80]!r} is no owner id: 'kith1' and 52 characters")
    return base32_decode(text.removeprefix(_OWNER_PREFIX))


def device_id(pubkey: bytes) -> str:
    """The device's id, which is its libp2p peer id: `12D3KooW...`."""
    if len(pubkey) != KEY_BYTES:
        raise Malformed(f"a device key has {KEY_BYTES} bytes, not {len(pubkey)}")
    return base58.encode(_PEER_PREFIX + pubkey)


def parse_device_id(text: str) -> bytes:
    """The Ed25519 public key of a device id. Raises `Malformed`."""
    if len(text) != 52 or not text.startswith("12D3KooW"):
        raise Malformed(f"{text[:80]!r} is no device id: 52 characters from '12D3KooW'")
    data = base58.decode(text)
    if len(data) != len(_PEER_PREFIX) + KEY_BYTES or not data.startswith(_PEER_PREFIX):
        raise Malformed(f"{text!r} is no Ed25519 peer id")
    return data.removeprefix(_PEER_PREFIX)


def check_key(pubkey: bytes) -> None:
    """Raises `Refused` for bytes that are no safe Ed25519 key, among them the keys of small order."""
    if len(pubkey) != KEY_BYTES or not crypto_core_ed25519_is_valid_point(pubkey):
        raise Refused(f"{pubkey.hex()[:64]} is no safe Ed25519 key", rule="key")


def new_id(prefix: str, random: bytes) -> str:
    """A fresh id such as `job_k7...` from 16 random bytes, which the caller draws."""
    if not _PREFIX.fullmatch(prefix):
        raise ValueError(
            f"an id's prefix is 1 to {limits.ID_PREFIX_CHARS} letters a-z, not {prefix!r}"
        )
    if len(random) != RANDOM_BYTES:
        raise ValueError(f"an id is made from {RANDOM_BYTES} random bytes, not {len(random)}")
    return f"{prefix}_{base32_encode(random)}"


def parse_id(text: str, prefix: str) -> bytes:
    """The 16 bytes of an id with this prefix. Raises `Malformed`."""
    found, _, rest = text.partition("_")
    if found != prefix or len(rest) != 26:
        raise Malformed(f"{text[:80]!r} is no id of the form '{prefix}_' and 26 characters")
    return base32_decode(rest)
