"""Secret files: written whole or not at all, readable by their user only."""

from __future__ import annotations

import errno
import logging
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from node.files import sync_folder, write_atomically
from node.owner.errors import OwnerError
from node.store import StoreError, StoreFull

_PRIVATE = 0o600
_log = logging.getLogger(__name__)


def write_private(path: Path, data: bytes) -> None:
    """Replace or make `path` with mode 0600. After a crash there is the old file or the new one, whole.

    Raises `StoreFull` or `StoreError`; no half-written file stays behind then.
    """
    with disk_errors(path):
        write_atomically(path, data)


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """What the disk refuses becomes the store's errors, which say what to do."""
    try:
        yield
    except OSError as error:
        why = error.strerror or str(error)
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise StoreFull(
                f"no space left for {path.name} ({why}): free some space; nothing was half written"
            ) from error
        raise StoreError(
            f"{path} cannot be written ({why}): make the home folder writable"
        ) from error


def read_private(path: Path, *, max_bytes: int) -> bytes:
    """The bytes of a secret file. A mode that is too open is tightened with a warning.

    Raises FileNotFoundError, or `OwnerError` when the file is another user's, no plain file, or too large.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as file:
        _check_and_tighten(path, file.fileno())
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise OwnerError(
            "keys_unusable",
            f"{path} is larger than {max_bytes} bytes: put the right file back from a backup",
        )
    return data


def remove(path: Path) -> None:
    """Delete a file for good, if it is there."""
    path.unlink(missing_ok=True)
    sync_folder(path.parent)


def remove_leftovers(folder: Path) -> None:
    """Delete what a killed `write_private` left: files that never got their name."""
    for path in folder.glob(".*.new"):
        path.unlink(missing_ok=True)


def _check_and_tighten(path: Path, handle: int) -> None:
    about = os.fstat(handle)
    if not stat.S_ISREG(about.st_mode):
        raise OwnerError("keys_unusable", f"{path} is not a plain file: put the key file back")
    if about.st_uid != os.geteuid():
        raise OwnerError(
            "keys_unusable",
            f"{path} belongs to another user (id {about.st_uid}), who could read or change it:"
            f" chown it to yourself if you trust it, or choose another home with --home DIR",
        )
    mode = stat.S_IMODE(about.st_mode)
    if mode & 0o077:
        _log.warning(
            "%s could be read by others (mode %o); it is private again (600)", path.name, mode
        )
        os.fchmod(handle, _PRIVATE)
