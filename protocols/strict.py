"""msgpack in one strict profile: every value has exactly one encoding.

Maps have string keys in UTF-8 order and none twice; integers are signed 64 bit in the shortest
form; there are no extension types. Signed content (the default) has no floats and only NFC text;
with `floats=True`, for frames that nobody signs, finite 64-bit floats and any valid text pass,
because a prompt that a person typed must travel as it is. Keys are NFC always.
"""

from __future__ import annotations

import math
import unicodedata
from types import UnionType
from typing import Any, Final, TypeVar, overload

import msgpack
import msgspec

from protocols import limits
from protocols.errors import Malformed

T = TypeVar("T")

_INT_MIN: Final = -(2**63)
_INT_MAX: Final = 2**63 - 1


class Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of everything that is decoded from outside: frozen, and unknown fields are refused."""


def encode(value: Any, *, floats: bool = False, max_depth: int = limits.MSGPACK_DEPTH) -> bytes:
    """The one encoding of `value`. Raises `Malformed` for what the profile cannot carry."""
    try:
        packed: bytes = msgpack.packb(_checked(value, max_depth, floats), use_bin_type=True)
    except Malformed:
        raise
    except (ValueError, OverflowError) as error:
        raise Malformed(f"cannot be encoded: {error}") from error
    return packed


def decode(
    data: bytes,
    *,
    max_bytes: int,
    max_depth: int = limits.MSGPACK_DEPTH,
    max_items: int = limits.MSGPACK_ITEMS,
    floats: bool = False,
) -> Any:
    """The value in `data`, which must be exactly its one encoding. Raises `Malformed` only.

    Size, shape and number of values are checked before anything is built from them.
    """
    if len(data) > max_bytes:
        raise Malformed(f"message of {len(data)} bytes is over the limit of {max_bytes}")
    _check_shape(data)
    if len(data) > max_items:  # a value takes at least one byte: a shorter message cannot hold more
        _check_items(data, max_items)
    try:
        value = msgpack.unpackb(data, raw=False, strict_map_key=True)
    except (ValueError, msgpack.UnpackException) as error:
        raise Malformed(f"not msgpack: {_reason(error)}") from error
    if encode(value, floats=floats, max_depth=max_depth) != data:
        raise Malformed("not in canonical form: the same value has another encoding")
    return value


@overload
def to_struct(kind: type[T], value: Any) -> T: ...
@overload
def to_struct(kind: UnionType, value: Any) -> Any: ...
def to_struct(kind: Any, value: Any) -> Any:
    """`value` (as decoded) as a `kind`. Raises `Malformed` when a field is missing, unknown or wrong.

    `kind` is a `Message`, or a union of them with tags; a plain Struct would let unknown fields pass.
    """
    try:
        return msgspec.convert(value, kind, strict=True, builtin_types=(bytes,))
    except msgspec.ValidationError as error:
        raise Malformed(str(error)) from error


def from_struct(message: msgspec.Struct) -> Any:
    """The plain maps and lists of a message, ready for `encode`."""
    return msgspec.to_builtins(message, builtin_types=(bytes,))


def _checked(value: Any, depth: int, floats: bool) -> Any:
    """`value` with its maps in order; raises `Malformed` for what the profile does not have."""
    kind = type(value)
    if kind is str:
        if not floats:
            _check_normal(value)
    elif kind is int:
        if not _INT_MIN <= value <= _INT_MAX:
            raise Malformed(f"integer {value:#x} does not fit into 64 signed bits")
    elif kind is dict or kind is list or kind is tuple:
        if depth <= 0:
            raise Malformed("nested too deep")
        if kind is dict:
            return {key: _checked(value[key], depth - 1, floats) for key in _ordered_keys(value)}
        return [_checked(item, depth - 1, floats) for item in value]
    elif kind is float:
        if not floats:
            raise Malformed("floats have no place in signed content")
        if not math.isfinite(value):
            raise Malformed("only finite floats can be sent")
    elif value is not None and kind is not bool and kind is not bytes:
        raise Malformed(f"a {kind.__name__} cannot be encoded")
    return value


def _ordered_keys(value: dict[Any, Any]) -> list[str]:
    for key in value:
        if type(key) is not str:
            raise Malformed(f"map keys are strings, not {type(key).__name__}")
        _check_normal(key)
    return sorted(value)  # code points order exactly as their UTF-8 bytes do


def _check_normal(text: str) -> None:
    if not text.isascii() and not unicodedata.is_normalized("NFC", text):
        raise Malformed("text is not in Unicode normal form C")


def _check_shape(data: bytes) -> None:
    """One whole value and nothing after it. Skipping builds nothing, so a lying length costs nothing."""
    unpacker = msgpack.Unpacker(None, read_size=max(len(data), 1), max_buffer_size=len(data) + 1)
    unpacker.feed(data)
    try:
        unpacker.skip()
    except (ValueError, msgpack.UnpackException) as error:
        raise Malformed(f"not msgpack: {_reason(error)}") from error
    if unpacker.tell() != len(data):
        raise Malformed("bytes follow after the message")


def _reason(error: Exception) -> str:
    if isinstance(error, msgpack.OutOfData):
        return "it ends too early"
    if isinstance(error, msgpack.StackError):
        return "nested too deep"
    return str(error) or type(error).__name__


#: First byte -> (bytes of the length that follows it, bytes of payload besides that length).
_SHAPES: Final = {
    **dict.fromkeys((0xC4, 0xD9), (1, 0)),
    **dict.fromkeys((0xC5, 0xDA), (2, 0)),
    **dict.fromkeys((0xC6, 0xDB), (4, 0)),
    0xC7: (1, 1),
    0xC8: (2, 1),
    0xC9: (4, 1),
    **dict.fromkeys((0xCC, 0xD0), (0, 1)),
    **dict.fromkeys((0xCD, 0xD1, 0xD4, 0xDC, 0xDE), (0, 2)),
    0xD5: (0, 3),
    **dict.fromkeys((0xCA, 0xCE, 0xD2, 0xDD, 0xDF), (0, 4)),
    0xD6: (0, 5),
    **dict.fromkeys((0xCB, 0xCF, 0xD3), (0, 8)),
    0xD7: (0, 9),
    0xD8: (0, 17),
}


def _check_items(data: bytes, max_items: int) -> None:
    """Counts the values of a message that `_check_shape` has passed."""
    position = count = 0
    while position < len(data):
        count += 1
        if count > max_items:
            raise Malformed(f"more than {max_items} values in one message")
        first = data[position]
        position += 1
        if 0xA0 <= first < 0xC0:
            position += first & 0x1F
        elif first in _SHAPES:
            width, extra = _SHAPES[first]
            if width:
                extra += int.from_bytes(data[position : position + width], "big")
            position += width + extra
