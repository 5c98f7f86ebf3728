"""Reading untrusted files: only regular ones, forwards, and never more than was asked for."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from models.errors import BadModel

WINDOW: Final = 1 << 18
_KINDS: Final = (
    (stat.S_ISDIR, "it is a folder"),
    (stat.S_ISFIFO, "it is a pipe"),
    (stat.S_ISSOCK, "it is a socket"),
    (stat.S_ISCHR, "it is a device"),
    (stat.S_ISBLK, "it is a device"),
)
_OS_ERRORS: Final = {
    errno.ELOOP: "its symbolic links lead in a circle",
    errno.ENOENT: "it does not exist",
    errno.ENOTDIR: "a part of its path is not a folder",
    errno.EACCES: "this user may not read it",
    errno.EPERM: "this user may not read it",
    errno.ENAMETOOLONG: "its name is too long",
    errno.ENXIO: "it is a pipe or socket",
}


@contextmanager
def open_regular(path: Path) -> Iterator[tuple[BinaryIO, int]]:
    """Open a regular file for reading, without ever waiting on a pipe; yields it with its size.

    Raises BadModel for everything else, and for any error of the operating system while reading.
    """
    try:
        with os.fdopen(_descriptor(path), "rb", buffering=0) as file:
            yield file, os.fstat(file.fileno()).st_size
    except OSError as error:
        raise os_error(error, path) from error
    except ValueError as error:  # a NUL byte in the path
        if isinstance(error, BadModel):
            raise
        raise BadModel(str(error), "Check the path").named(path) from error


def _descriptor(path: Path) -> int:
    # O_NONBLOCK: opening a pipe that nobody writes to would wait for ever.
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | getattr(os, "O_NONBLOCK", 0)
    descriptor = os.open(path, flags)
    try:
        mode = os.fstat(descriptor).st_mode
        for matches, why in _KINDS:
            if matches(mode):
                raise BadModel(why, "Give the path of a model file").named(path)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def os_error(error: OSError, path: Path) -> BadModel:
    """The operating system's refusal as a BadModel."""
    why = _OS_ERRORS.get(error.errno or 0, f"it cannot be read ({error.strerror or error})")
    return BadModel(why, "Check the path and its permissions").named(path)


def read_small(path: Path, limit: int) -> bytes:
    """All bytes of a small file; BadModel when it holds more than `limit`."""
    with open_regular(path) as (file, _):
        data = read_exactly(file, limit + 1)
        if len(data) > limit:
            raise BadModel(f"it is larger than {limit:,} bytes").named(path)
        return data


def read_exactly(file: BinaryIO, count: int) -> bytes:
    """Up to `count` bytes; fewer only at the end of the file."""
    parts = []
    while count > 0 and (part := file.read(min(count, WINDOW))):
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


class Cursor:
    """Walks forwards through an open file, holding one small window of it in memory.

    `buffer[index:]` are the next bytes; hot loops use them directly after `ensure`.
    """

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self.size = size
        self.buffer = b""
        self.index = 0
        self._start = 0  # where the buffer begins in the file

    @property
    def position(self) -> int:
        """How far into the file the next byte lies."""
        return self._start + self.index

    def ensure(self, count: int) -> None:
        """Make the next `count` bytes available in the buffer; BadModel when the file ends first.

        `count` must be bounded by the caller: this much memory is taken.
        """
        if self.index + count <= len(self.buffer):
            return
        if self.position + count > self.size:
            raise BadModel(f"it ends after {self.size:,} bytes, in the middle of its header")
        self._start, self.index = self.position, 0
        self._file.seek(self._start)
        self.buffer = read_exactly(self._file, min(max(count, WINDOW), self.size - self._start))
        if len(self.buffer) < count:
            raise BadModel("it became shorter while it was read")

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        self.ensure(count)
        self.index += count
        return self.buffer[self.index - count : self.index]

    def skip(self, count: int) -> None:
        """Pass over `count` bytes without reading them; BadModel when the file ends first."""
        if count < 0 or self.position + count > self.size:
            raise BadModel(f"it ends after {self.size:,} bytes, in the middle of its header")
        self.index += count
        if self.index > len(self.buffer):
            self._start, self.index, self.buffer = self.position, 0, b""
