"""Walks protobuf messages in a file by a small schema, passing over everything else unread."""

from collections.abc import Iterator
from typing import Final, NamedTuple

from models.errors import BadModel
from models.reading import Cursor

VARINT: Final = 0
FIXED64: Final = 1
BYTES: Final = 2
FIXED32: Final = 5
MAX_FIELDS: Final = 4 << 20
_MAX_SHIFT: Final = 63


class Field(NamedTuple):
    """A field's number and wire type; `value` is a number, or the length of the bytes to come."""

    number: int
    wire: int
    value: int


class Walker:
    """Reads fields one after the other; the caller says what to enter, take or pass.

    Every method raises BadModel. The number of fields of the whole file is bounded.
    """

    def __init__(self, cursor: Cursor) -> None:
        self._cursor = cursor
        self._fields_left = MAX_FIELDS

    @property
    def position(self) -> int:
        """Where the next byte lies in the file."""
        return self._cursor.position

    def fields(self, end: int) -> Iterator[Field]:
        """The fields up to `end`. Numbers are read; bytes are the caller's to take or pass.

        After each BYTES field the position must be at its end: bytes not taken are passed over.
        """
        while self.position < end:
            self._fields_left -= 1
            if self._fields_left < 0:
                raise BadModel(f"it has more than {MAX_FIELDS:,} fields")
            field = self._field()
            stop = self.position + (field.value if field.wire == BYTES else 0)
            if stop > end:
                raise BadModel("a part of it claims to be longer than the whole")
            yield field
            self._cursor.skip(stop - self.position)
        if self.position != end:
            raise BadModel("a part of it ends in the middle of a field")

    def take(self, field: Field, limit: int, what: str) -> bytes:
        """The bytes of a BYTES field, at most `limit`."""
        if field.value > limit:
            raise BadModel(f"{what} is {field.value:,} bytes long; at most {limit:,} are allowed")
        return self._cursor.take(field.value)

    def text(self, field: Field, limit: int, what: str) -> str:
        """The text of a BYTES field, at most `limit` bytes of valid UTF-8."""
        try:
            return self.take(field, limit, what).decode()
        except UnicodeDecodeError:
            raise BadModel(f"{what} is not text") from None

    def packed(self, field: Field, limit: int) -> list[int]:
        """The numbers of a repeated whole-number field, in either of its two forms."""
        if field.wire == VARINT:
            return [field.value]
        numbers: list[int] = []
        end = self.position + field.value
        while self.position < end:
            numbers.append(self._varint())
            if len(numbers) > limit:
                raise BadModel(f"a list in it has more than {limit:,} entries")
        if self.position != end:
            raise BadModel("a list in it ends in the middle of a number")
        return numbers

    def _field(self) -> Field:
        tag = self._varint()
        number, wire = tag >> 3, tag & 7
        if not 0 < number < 1 << 29:
            raise BadModel(f"it has the impossible field number {number}")
        if wire in (VARINT, BYTES):
            return Field(number, wire, self._varint())
        if wire in (FIXED64, FIXED32):
            self._cursor.skip(8 if wire == FIXED64 else 4)
            return Field(number, wire, 0)
        raise BadModel(f"it has a field of the unknown kind {wire}")

    def _varint(self) -> int:
        value = 0
        for shift in range(0, _MAX_SHIFT + 1, 7):
            byte = self._cursor.take(1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if value >= 1 << 64:
                    break
                return value
        raise BadModel("it has a number of more than 64 bits")
