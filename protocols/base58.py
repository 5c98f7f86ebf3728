"""Base58 in Bitcoin's alphabet, for the short texts that need it: old CIDs and libp2p peer ids."""

from __future__ import annotations

from typing import Final

from protocols.errors import Malformed

_ALPHABET: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_VALUES: Final = {character: value for value, character in enumerate(_ALPHABET)}
_MAX_CHARS: Final = 128  # the work grows with the square of the length


def encode(data: bytes) -> str:
    number = int.from_bytes(data, "big")
    out: list[str] = []
    while number:
        number, digit = divmod(number, 58)
        out.append(_ALPHABET[digit])
    zeros = len(data) - len(data.lstrip(b"\0"))
    return "1" * zeros + "".join(reversed(out))


def decode(text: str) -> bytes:
    """Raises `Malformed` for other characters and for more than 128 of them."""
    if len(text) > _MAX_CHARS:
        raise Malformed(f"base58 text of {len(text)} characters is over the limit of {_MAX_CHARS}")
    number = 0
    for character in text:
        value = _VALUES.get(character)
        if value is None:
            raise Malformed(f"{character!r} is no base58 character")
        number = number * 58 + value
    zeros = len(text) - len(text.lstrip("1"))
    return b"\0" * zeros + number.to_bytes((number.bit_length() + 7) // 8, "big")
