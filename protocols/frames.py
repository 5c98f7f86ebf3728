"""Length-prefixed frames: a 4-byte big-endian length, then that many bytes. Sans-IO."""

from __future__ import annotations

import struct

from protocols.errors import Malformed

_LENGTH = struct.Struct(">I")


def frame(payload: bytes, *, max_bytes: int) -> bytes:
    """The bytes to send for one frame; `Malformed` when it is larger than the receiver takes."""
    if len(payload) > max_bytes:
        raise Malformed(f"frame of {len(payload)} bytes is over the limit of {max_bytes}")
    return _LENGTH.pack(len(payload)) + payload


class FrameReader:
    """Turns received bytes into whole frames; never holds more than one frame beyond what it was fed."""

    def __init__(self, *, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Every frame that `data` completes. Raises `Malformed` as soon as a length is too large."""
        self._buffer += data
        frames: list[bytes] = []
        start = 0
        while len(self._buffer) - start >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer, start)
            if length > self._max_bytes:
                raise Malformed(f"frame of {length} bytes is over the limit of {self._max_bytes}")
            end = start + _LENGTH.size + length
            if len(self._buffer) < end:
                break
            frames.append(bytes(self._buffer[start + _LENGTH.size : end]))
            start = end
        del self._buffer[:start]
        return frames

    @property
    def pending(self) -> int:
        """Bytes of a frame that has not arrived whole; nonzero at the end of a stream means a cut."""
        return len(self._buffer)
