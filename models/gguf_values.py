"""The values in a GGUF header: every length is checked before a byte is read or kept."""

import math
import struct
from dataclasses import dataclass
from typing import Final

from models.errors import BadModel, shown
from models.reading import WINDOW, Cursor

STRING: Final = 8
ARRAY: Final = 9
BOOL: Final = 7
FLOAT32: Final = 6
INT_TYPES: Final = frozenset({0, 1, 2, 3, 4, 5, 10, 11})
TYPE_NAMES: Final = (
    "uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "bool", "string", "array",
    "uint64", "int64", "float64",
)  # fmt: skip
_FORMATS: Final = {
    0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<B", 10: "<Q", 11: "<q",
    12: "<d",
}  # fmt: skip
_SCALARS: Final = {number: struct.Struct(form) for number, form in _FORMATS.items()}
_U32: Final = struct.Struct("<I")
_U64: Final = struct.Struct("<Q")

MAX_KEY_BYTES: Final = 1024
MAX_STRING_BYTES: Final = 16 << 20  # one value, such as a chat template or a tokenizer's table
MAX_ITEM_BYTES: Final = 1 << 16  # one string in an array: a token or a merge
MAX_STRINGS: Final = 4 << 20  # strings in all arrays together; the largest vocabularies have 1 M
MAX_TOKENS: Final = 1 << 20
MAX_ARRAY_ITEMS: Final = 64 << 20  # of a fixed-size type
KEPT_STRING_BYTES: Final = 4096  # longer strings are checked and passed over, not kept
KEPT_ARRAY_ITEMS: Final = 1024
# Arrays with one entry per layer, which are checked and which the estimate of memory needs.
KEPT_ARRAYS: Final = (
    ".attention.head_count",
    ".attention.head_count_kv",
    ".feed_forward_length",
    ".expert_used_count",
)
TOKENS: Final = "tokenizer.ggml.tokens"
_CHECKED_FOR_NAN: Final = "tokenizer.ggml.scores"


@dataclass(frozen=True)
class LongText:
    """A string that was checked but not kept."""

    bytes: int


@dataclass(frozen=True)
class ArrayValue:
    """An array that was checked; `items` only for the few keys that need them."""

    item_type: int
    count: int
    items: tuple[int, ...] | None = None


Value = int | float | bool | str | LongText | ArrayValue


class ValueReader:
    """Reads GGUF's basic types from a cursor; every method raises BadModel."""

    def __init__(self, cursor: Cursor) -> None:
        self._cursor = cursor
        self._strings_left = MAX_STRINGS

    def u32(self) -> int:
        """An unsigned 32-bit number."""
        return int(_U32.unpack(self._cursor.take(4))[0])

    def u64(self) -> int:
        """An unsigned 64-bit number."""
        return int(_U64.unpack(self._cursor.take(8))[0])

    def text(self, what: str, limit: int) -> bytes:
        """A string of at most `limit` bytes."""
        length = self.u64()
        if length > limit:
            raise BadModel(f"{what} claims {length:,} bytes; at most {limit:,} are allowed")
        return self._cursor.take(length)

    def key(self) -> str:
        """A metadata key: ASCII and printable."""
        raw = self.text("a metadata key", MAX_KEY_BYTES)
        if not raw or not raw.isascii() or not raw.decode().isprintable():
            raise BadModel(f"a metadata key is not a plain name: {shown(raw)!r}")
        return raw.decode()

    def value(self, key: str) -> Value:
        """The value that follows a key, of the type that the file says."""
        kind = self.u32()
        if kind == STRING:
            return self._string(key)
        if kind == ARRAY:
            return self._array(key)
        return self._scalar(key, kind)

    def _scalar(self, key: str, kind: int) -> int | float | bool:
        form = _SCALARS.get(kind)
        if form is None:
            raise BadModel(f"{key} has the unknown type {kind}")
        number = form.unpack(self._cursor.take(form.size))[0]
        if kind == BOOL:
            if number > 1:
                raise BadModel(f"{key} is neither true nor false but {number}")
            return bool(number)
        if isinstance(number, float):
            if not math.isfinite(number):
                raise BadModel(f"{key} is not a number but {number}")
            return number
        return int(number)

    def _string(self, key: str) -> str | LongText:
        length = self.u64()
        if length > MAX_STRING_BYTES:
            raise BadModel(
                f"{key} claims {length:,} bytes; at most {MAX_STRING_BYTES:,} are allowed"
            )
        if length > KEPT_STRING_BYTES:
            self._cursor.skip(length)
            return LongText(length)
        return self._cursor.take(length).decode("utf-8", "replace")

    def _array(self, key: str) -> ArrayValue:
        kind, count = self.u32(), self.u64()
        if kind == ARRAY:
            raise BadModel(f"{key} is an array of arrays, which models do not use")
        if kind == STRING:
            self._pass_strings(key, count)
            return ArrayValue(kind, count)
        form = _SCALARS.get(kind)
        if form is None:
            raise BadModel(f"{key} is an array of the unknown type {kind}")
        if count > MAX_ARRAY_ITEMS:
            raise BadModel(f"{key} claims {count:,} entries; at most {MAX_ARRAY_ITEMS:,} may be")
        if key.endswith(KEPT_ARRAYS) and kind in INT_TYPES:
            return ArrayValue(kind, count, self._kept_items(key, form, count))
        if key == _CHECKED_FOR_NAN and kind == FLOAT32:
            self._refuse_nan(key, count)
        else:
            self._cursor.skip(count * form.size)
        return ArrayValue(kind, count)

    def _kept_items(self, key: str, form: struct.Struct, count: int) -> tuple[int, ...]:
        if count > KEPT_ARRAY_ITEMS:
            raise BadModel(f"{key} has {count:,} entries; no model has so many layers")
        raw = self._cursor.take(count * form.size)
        return tuple(int(item) for (item,) in form.iter_unpack(raw))

    def _refuse_nan(self, key: str, count: int) -> None:
        step = WINDOW // 4
        while count > 0:
            part = min(count, step)
            numbers = struct.unpack(f"<{part}f", self._cursor.take(part * 4))
            # A sum is NaN if one of them is: only then is it worth looking at each.
            if math.isnan(sum(numbers)) and any(map(math.isnan, numbers)):
                raise BadModel(f"{key} holds entries that are not numbers")
            count -= part

    def _pass_strings(self, key: str, count: int) -> None:
        """Check the lengths of an array's strings, one by one, and keep none of them."""
        if count > self._strings_left:
            raise BadModel(f"{key} claims {count:,} strings; at most {MAX_STRINGS:,} are allowed")
        self._strings_left -= count
        if key == TOKENS:
            self._pass_tokens(count)
            return
        while count:
            self._cursor.ensure(8)
            count = self._pass_in_window(key, count)

    def _pass_in_window(self, key: str, count: int) -> int:
        """Pass the strings whose lengths lie in the window; returns how many are left."""
        # This loop runs a million times for a large vocabulary: local names, no calls but one.
        cursor, unpack = self._cursor, _U64.unpack_from
        buffer, index = cursor.buffer, cursor.index
        last = len(buffer) - 8
        while count and index <= last:
            length = unpack(buffer, index)[0]
            if length > MAX_ITEM_BYTES:
                raise BadModel(f"a string in {key} claims {length:,} bytes")
            index += 8 + length
            count -= 1
        cursor.skip(index - cursor.index)
        return count

    def _pass_tokens(self, count: int) -> None:
        """Pass the vocabulary. No two tokens may be the same: native code would abort on them."""
        if count > MAX_TOKENS:
            raise BadModel(f"it claims {count:,} tokens; at most {MAX_TOKENS:,} are allowed")
        cursor, unpack = self._cursor, _U64.unpack_from
        seen: set[int] = set()  # hashes: a third of the memory of the tokens themselves
        add = seen.add
        for number in range(count):
            if cursor.index + 8 > len(cursor.buffer):
                cursor.ensure(8)
            length = unpack(cursor.buffer, cursor.index)[0]
            if length > MAX_ITEM_BYTES:
                raise BadModel(f"a token claims {length:,} bytes")
            end = cursor.index + 8 + length
            if end > len(cursor.buffer):
                cursor.ensure(8 + length)
                end = cursor.index + 8 + length
            text = cursor.buffer[end - length : end]
            if 0 in text:
                text = text[: text.index(0)]  # all that native code sees of it
            add(hash(text or b"[EMPTY_%d]" % number))  # its name for an empty token
            cursor.index = end
        if len(seen) != count:
            raise BadModel(f"{count - len(seen):,} of its tokens are there twice")
