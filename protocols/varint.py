"""Unsigned LEB128 integers, shortest form only, as CIDs and protobuf use them."""

from __future__ import annotations

from typing import Final

from protocols.errors import Malformed

_MAX_BYTES: Final = 9  # 63 bits
_SMALL: Final = tuple(bytes([number]) for number in range(128))


def encode(number: int) -> bytes:
    """Raises ValueError for what is negative or needs more than 63 bits."""
    if 0 <= number < 128:
        return _SMALL[number]
    if number < 0 or number >> 63:
        raise ValueError(f"{number} is no unsigned 63-bit integer")
    out = bytearray()
    while number >= 128:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def decode(data: bytes, position: int = 0) -> tuple[int, int]:
    """The number at `position` and the position after it. Raises `Malformed`."""
    number = shift = 0
    for at in range(position, min(len(data), position + _MAX_BYTES)):
        byte = data[at]
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            if byte == 0 and shift:
                raise Malformed("a varint is longer than it needs to be")
            return number, at + 1
        shift += 7
    raise Malformed("a varint is cut" if shift < 7 * _MAX_BYTES else "a varint is too long")
