"""Files and folders: writing that survives a crash, copies, and whether there is room."""

from __future__ import annotations

import errno
import os
import shutil
import sys
from pathlib import Path
from typing import Final

from node.content.hashing import Hashes, Tick, read_through
from node.content.model import Fingerprint, ModelFile
from protocols.limits import MIB
from protocols.unixfs import Built

#: Left free on the disk, so that the node's own databases can still be written.
SPARE_BYTES: Final = 16 * MIB
_FICLONE: Final = 0x40049409


def free_bytes(folder: Path) -> int:
    return shutil.disk_usage(folder).free


def keep_spare(folder: Path) -> None:
    """Raises `OSError` (no space) while there still is some, for the node's own databases."""
    if free_bytes(folder) < SPARE_BYTES:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def is_full(error: OSError) -> bool:
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def full_message(folder: Path, needed: int) -> str:
    free = free_bytes(folder)
    return (
        f"not enough space on the disk of {folder}: {size_text(needed)} more are needed and"
        f" {size_text(free)} are free"
    )


def size_text(count: int) -> str:
    """A size for people, in the units that disks are sold in."""
    size = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def copy_file(source: Path, target: Path, tick: Tick) -> tuple[Built, ModelFile]:
    """Copy and hash in one pass; where the file system can share blocks, nothing is copied at all.

    What is hashed is what the copy holds. Raises `OSError`.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    hashes = Hashes()
    with source.open("rb", buffering=0) as read, target.open("w+b", buffering=0) as write:
        if _clone(read.fileno(), write.fileno()):
            read_through(write, hashes.update, tick)
        else:

            def both(data: memoryview) -> None:
                hashes.update(data)
                write_all(write.fileno(), data)

            read_through(read, both, tick)
        os.fsync(write.fileno())
    was = Fingerprint.of(target)
    assert was is not None
    return hashes.finish()[0], ModelFile(target.name, was)


def write_all(descriptor: int, data: bytes | bytearray | memoryview) -> None:
    """Write every byte: a plain write may take only some. Raises `OSError`."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _clone(source: int, target: int) -> bool:
    """Let both files share their blocks (btrfs, xfs); False where that cannot be."""
    if sys.platform != "linux":
        return False
    import fcntl

    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError:
        return False
    return True
