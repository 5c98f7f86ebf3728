"""Keys for tests: fixed ones by name, and the points of small order with which anyone can sign."""

from __future__ import annotations

import hashlib

from nacl.signing import SigningKey


def key(name: str) -> SigningKey:
    """Always the same key for a name."""
    return SigningKey(hashlib.sha256(f"test key {name}".encode()).digest())


def pub(name: str) -> bytes:
    return bytes(key(name).verify_key)


_P = 2**255 - 19
#: y of the two points of order 8 that are not their own negative's mirror.
_Y8 = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD83D3D706A17C7


def _point(y: int, sign: int) -> bytes:
    return (y | sign << 255).to_bytes(32, "little")


#: Every encoding of a point whose order divides 8, canonical or not.
SMALL_ORDER = [
    _point(y, sign) for y in (0, 1, _P - 1, _Y8, _P - _Y8, _P, _P + 1) for sign in (0, 1)
]
