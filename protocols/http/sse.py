"""Server-sent events without any I/O: writing them, and reading them within bounds.

The reader takes bytes in pieces of any size, knows all three line ends of the standard, ignores
comments and unknown fields, and refuses lines or events beyond its bounds instead of growing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from protocols.errors import Malformed
from protocols.limits import SSE_LINE_BYTES

MEDIA_TYPE: Final = "text/event-stream"
DONE: Final = b"data: [DONE]\n\n"  # how OpenAI's streams end
COMMENT: Final = b": still here\n\n"  # keeps a quiet connection alive; readers skip it

_BOM: Final = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Event:
    data: str
    event: str = "message"
    id: str = ""


def encode(data: bytes, *, event: str = "", id: str = "") -> bytes:
    """One event. `data` is UTF-8 (JSON as a rule); line ends inside it become further data lines."""
    head = (f"event: {event}\n" if event else "") + (f"id: {id}\n" if id else "")
    if b"\n" not in data and b"\r" not in data:
        return b"%sdata: %s\n\n" % (head.encode(), data)
    lines = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    return head.encode() + b"".join(b"data: %s\n" % line for line in lines) + b"\n"


class Parser:
    """Feed it bytes, get whole events. After `Malformed` it must not be used again."""

    def __init__(self, *, max_line: int = SSE_LINE_BYTES, max_event: int = 4 * SSE_LINE_BYTES):
        self._max_line = max_line
        self._max_event = max_event
        self._buffer = bytearray()
        self._at_start = True
        self._after_return = False  # the last line ended with \r: a \n that follows belongs to it
        self._data: list[str] = []
        self._size = 0
        self._event = ""
        self._id = ""

    def feed(self, chunk: bytes) -> list[Event]:
        """The events that this chunk completes. Raises `Malformed` beyond a bound or for bad UTF-8."""
        if not chunk:
            return []
        self._buffer += chunk
        if self._at_start and not self._skip_bom():
            return []
        found: list[Event] = []
        for line in self._lines():
            event = self._take(line)
            if event is not None:
                found.append(event)
        if len(self._buffer) > self._max_line:
            raise Malformed(f"a line of the event stream is longer than {self._max_line} bytes")
        return found

    def _skip_bom(self) -> bool:
        """False while too few bytes came to know whether the stream starts with a mark."""
        if len(self._buffer) < len(_BOM) and _BOM.startswith(bytes(self._buffer)):
            return False
        if self._buffer.startswith(_BOM):
            del self._buffer[: len(_BOM)]
        self._at_start = False
        return True

    def _lines(self) -> list[bytes]:
        """Take all whole lines out of the buffer."""
        if self._after_return and self._buffer:
            if self._buffer[:1] == b"\n":
                del self._buffer[:1]
            self._after_return = False
        if b"\n" not in self._buffer and b"\r" not in self._buffer:
            return []
        self._after_return = self._buffer.endswith(b"\r")
        whole = bytes(self._buffer).replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *lines, rest = whole.split(b"\n")
        self._buffer[:] = rest
        return lines

    def _take(self, line: bytes) -> Event | None:
        if len(line) > self._max_line:
            raise Malformed(f"a line of the event stream is longer than {self._max_line} bytes")
        if not line:
            return self._dispatch()
        name, _, raw = line.partition(b":")
        try:
            value = raw.removeprefix(b" ").decode()
        except UnicodeDecodeError as error:
            raise Malformed("the event stream is not UTF-8") from error
        if name == b"data":
            self._size += len(raw) + 1
            if self._size > self._max_event:
                raise Malformed(f"one event is larger than {self._max_event} bytes")
            self._data.append(value)
        elif name == b"event":
            self._event = value
        elif name == b"id" and "\0" not in value:
            self._id = value
        return None

    def _dispatch(self) -> Event | None:
        data, event = self._data, self._event
        self._data, self._event, self._size = [], "", 0
        return Event("\n".join(data), event or "message", self._id) if data else None
