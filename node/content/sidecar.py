"""What is known about a pull that is not whole yet: a small file beside its bytes.

It is written before the first byte and again whenever bytes are safely on the disk, so that a pull
that was killed goes on where it was.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Final

import msgspec

from node.content.disk import write_atomically
from node.content.staging import Staging, staged
from node.home import Home

_NAME: Final = "pull.json"
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_log = logging.getLogger(__name__)


class PartialFile(msgspec.Struct):
    """One file on its way."""

    name: str
    url: str
    size: int | None = None
    sha256: str = ""  # what the whole file must have, when it is known
    pinned: bool = False  # the person said so: not even the hub may change it
    validator: str = ""  # ETag or date of what came so far
    synced: int = 0  # bytes that even a loss of power leaves


class Sidecar(msgspec.Struct):
    """One pull."""

    id: str
    ref: str
    name: str | None
    sha256: str | None
    label: str
    asked_by: str
    started_at: float
    files: list[PartialFile]
    boot: str = ""  # which start of the machine the bytes were written in

    def save(self, staging: Staging) -> None:
        """Write it down. `settle` comes first in every run. Raises `OSError`."""
        write_atomically(staging.folder / _NAME, msgspec.json.encode(self))

    def trusted(self, file: PartialFile, staging: Staging) -> int:
        """How many bytes on the disk are as they were written.

        A killed process loses nothing that it wrote; a machine that went down loses what was not synced.
        """
        try:
            length = (staging.files / file.name).stat().st_size
        except FileNotFoundError:
            return 0
        same_boot = self.boot and self.boot == boot_id()
        return length if same_boot else min(length, file.synced)

    def settle(self, staging: Staging) -> None:
        """Cut off what cannot be trusted, before anything new is written. Raises `OSError`."""
        for file in self.files:
            path, trusted = staging.files / file.name, self.trusted(file, staging)
            if path.exists():
                os.truncate(path, trusted)
            file.synced = min(file.synced, trusted)
        self.boot = boot_id()

    def present(self, staging: Staging) -> int:
        return sum(self.trusted(file, staging) for file in self.files)

    @property
    def total(self) -> int | None:
        sizes = [file.size for file in self.files]
        return sum(size for size in sizes if size is not None) if None not in sizes else None


def read_sidecar(staging: Staging) -> Sidecar | None:
    """The sidecar of a staging folder, or None when there is none that can be read."""
    try:
        return msgspec.json.decode((staging.folder / _NAME).read_bytes(), type=Sidecar)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        _log.warning("%s cannot be read: %s", staging.folder / _NAME, error)
        return None


def unfinished(home: Home) -> list[tuple[Staging, Sidecar]]:
    """Every pull that can go on. Blocks on the disk."""
    found = [(staging, read_sidecar(staging)) for staging in staged(home)]
    return [(staging, sidecar) for staging, sidecar in found if sidecar is not None]


def boot_id() -> str:
    """Which start of the machine this is; "" where that cannot be told."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""
