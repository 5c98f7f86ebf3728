"""Content ids: the multihash of a block and how to read it, byte for byte as IPFS writes them.

Only what the node stores can be named: sha2-256, and the codecs `raw` (a leaf of a file) and
`dag-pb` (a node above leaves). Version 0 is the old short form of a dag-pb CID.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass
from typing import Final

from protocols import base58, limits, varint
from protocols.errors import Malformed

RAW: Final = 0x55
DAG_PB: Final = 0x70
CODECS: Final = {RAW: "raw", DAG_PB: "dag-pb"}

_SHA2_256: Final = 0x12
_DIGEST_BYTES: Final = 32
_HASH_PREFIX: Final = bytes([_SHA2_256, _DIGEST_BYTES])
_V1_PREFIXES: Final = {bytes([1, codec]) + _HASH_PREFIX: codec for codec in CODECS}


@dataclass(frozen=True, slots=True)
class Cid:
    """One content id. Raises `Malformed` when built from parts that do not go together."""

    version: int
    codec: int
    digest: bytes

    def __post_init__(self) -> None:
        if self.version not in (0, 1):
            raise Malformed(f"CID version {self.version} is not known")
        if self.codec not in CODECS:
            raise Malformed(f"CID codec {self.codec:#x} is not known: only raw and dag-pb are")
        if self.version == 0 and self.codec != DAG_PB:
            raise Malformed("a version 0 CID is always dag-pb")
        if len(self.digest) != _DIGEST_BYTES:
            raise Malformed(f"a sha2-256 digest has 32 bytes, not {len(self.digest)}")

    @classmethod
    def of(cls, codec: int, block: bytes, *, version: int = 1) -> Cid:
        """The CID of a block's bytes."""
        return cls(version, codec, hashlib.sha256(block).digest())

    @property
    def text(self) -> str:
        """`Qm...` for version 0, lower-case base32 (`b...`) for version 1."""
        if self.version == 0:
            return base58.encode(self.bytes)
        return "b" + base32_encode(self.bytes)

    def __str__(self) -> str:
        return self.text

    def matches(self, block: bytes) -> bool:
        """Whether `block` is what this CID names."""
        return hashlib.sha256(block).digest() == self.digest

    @property
    def bytes(self) -> bytes:  # last: from here on the name means this property
        head = b"" if self.version == 0 else b"\x01\x55" if self.codec == RAW else b"\x01\x70"
        return head + _HASH_PREFIX + self.digest


def from_bytes(data: bytes) -> Cid:
    """The CID that `data` is, whole. Raises `Malformed`."""
    digest = data[-_DIGEST_BYTES:]
    if len(data) == 36 and data[:4] in _V1_PREFIXES:
        return Cid(1, data[1], digest)
    if len(data) == 34 and data[:2] == _HASH_PREFIX:
        return Cid(0, DAG_PB, digest)
    raise Malformed(_why_not(data))


def parse(text: str) -> Cid:
    """The CID written as `text`: `Qm...`, or base32 (`b`), base58 (`z`) or base16 (`f`). Raises `Malformed`."""
    if len(text) > limits.CID_TEXT_CHARS:
        raise Malformed(f"a CID has at most {limits.CID_TEXT_CHARS} characters, not {len(text)}")
    if len(text) == 46 and text.startswith("Qm"):
        return from_bytes(base58.decode(text))
    cid = from_bytes(_from_multibase(text))
    if cid.version == 0:
        raise Malformed("a version 0 CID is written without a multibase letter, as 'Qm...'")
    return cid


def _from_multibase(text: str) -> bytes:
    base, rest = text[:1], text[1:]
    if base == "b":
        return base32_decode(rest)
    if base == "z":
        return base58.decode(rest)
    if base == "f":
        return _base16_decode(rest)
    raise Malformed(f"not a CID: {text[:16]!r} starts with none of 'Qm', 'b', 'z', 'f'")


def base32_decode(text: str) -> bytes:
    """Lower-case RFC 4648 base32 without padding, one spelling per value. Raises `Malformed`."""
    try:
        data = base64.b32decode(text.upper() + "=" * (-len(text) % 8))
    except (binascii.Error, ValueError) as error:
        raise Malformed("not base32: only a-z and 2-7, in whole bytes") from error
    if base32_encode(data) != text:
        raise Malformed("not base32 as we write it: lower case, no padding, no spare bits")
    return data


def base32_encode(data: bytes) -> str:
    return base64.b32encode(data).decode("ascii").lower().rstrip("=")


def _base16_decode(text: str) -> bytes:
    try:
        data = binascii.unhexlify(text)
    except ValueError as error:  # binascii.Error, or characters that are not ASCII
        raise Malformed("not base16: only 0-9 and a-f, in pairs") from error
    if data.hex() != text:
        raise Malformed("base16 is written in lower case")
    return data


def _why_not(data: bytes) -> str:
    """Which part of `data` keeps it from being a CID that we know."""
    if data[:1] == _HASH_PREFIX[:1]:
        return "not a CID: a version 0 CID is 12 20 and 32 bytes of sha2-256"
    version, position = varint.decode(data)
    if version != 1:
        return f"not a CID: version {version} is not known"
    codec, position = varint.decode(data, position)
    if codec not in CODECS:
        return f"CID codec {codec:#x} is not known: only raw and dag-pb are"
    function, position = varint.decode(data, position)
    if function != _SHA2_256:
        return f"CID hash function {function:#x} is not known: only sha2-256 is"
    length, position = varint.decode(data, position)
    return f"not a CID: a sha2-256 digest has 32 bytes, not {min(length, len(data) - position)}"
