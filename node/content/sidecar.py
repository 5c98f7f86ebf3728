"""What is known about a pull that is not whole yet: a small file beside its bytes.

It is written before the first byte and again whenever bytes are safely on the disk, so that a pull
that was killed goes on where it was.
"""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
import time
from pathlib import Path
from typing import Final

import msgspec

from node.content.errors import BadRef
from node.content.refs import Ref
from node.content.staging import Staging, staged
from node.files import write_atomically
from node.home import Home
from protocols.http.control import PullModel

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


def new_sidecar(what: PullModel, ref: Ref, old: Sidecar | None, asked_by: str) -> Sidecar:
    """Of a pull that begins, or goes on with what an earlier run knows of its files."""
    known = {file.url: file for file in old.files} if old else {}
    files = [known.get(file.url) or PartialFile(file.name, file.url) for file in ref.files]
    for file in files:
        if file.pinned or what.sha256:
            file.sha256, file.pinned = what.sha256 or "", what.sha256 is not None
    return Sidecar(
        id=old.id if old else secrets.token_hex(8),
        ref=what.ref.strip(),
        name=what.name,
        sha256=what.sha256,
        label=what.label,
        asked_by=asked_by,
        started_at=time.time(),
        files=files,
        boot=old.boot if old else "",
    )


def staging_id(ref: Ref) -> str:
    """The same reference finds its unfinished bytes again."""
    return "pull-" + hashlib.sha256(ref.files[0].url.encode()).hexdigest()[:32]


def checked_sha256(text: str | None, ref: Ref) -> str | None:
    """The hash that a person gave for the one file of `ref`. Raises `BadRef`."""
    if not text:
        return None
    lowered = text.strip().lower()
    if len(lowered) != 64 or any(c not in "0123456789abcdef" for c in lowered):
        raise BadRef("a sha256 has 64 characters of 0-9 and a-f: compare it with the page")
    if len(ref.files) > 1:
        raise BadRef(
            "one sha256 cannot hold for a model in several parts: leave it out; the hub's own are checked"
        )
    return lowered


def unfinished(home: Home) -> list[tuple[Staging, Sidecar]]:
    """Every pull that can go on; what nothing can be made of is deleted. Blocks on the disk."""
    found: list[tuple[Staging, Sidecar]] = []
    for staging in staged(home):
        sidecar = read_sidecar(staging)
        if sidecar is not None:
            found.append((staging, sidecar))
        elif staging.plan() is None:  # without a sidecar nobody knows what its bytes belong to
            staging.discard()
    return found


def boot_id() -> str:
    """Which start of the machine this is; "" where that cannot be told."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""
