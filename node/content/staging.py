"""Making model files our own: gathered in `partial`, whole and checked, then renamed into `models`.

What is to be done is written down before the rename. A node that is killed at any point finds it
at the next start and finishes: a model is either not there, or there with its row and its event.
"""

from __future__ import annotations

import logging
import secrets
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Final

import msgspec

from node.content.tables import Row
from node.files import sync_folder, write_atomically
from node.home import Home

_PLACED: Final = "placed.json"
_COPY: Final = "copy-"
_log = logging.getLogger(__name__)


class Placed(msgspec.Struct, frozen=True):
    """A model that is whole: its row, and what its event will say."""

    row: Row
    event: str
    facts: dict[str, str | int | float | bool | dict[str, int]]


class Staging:
    """One folder below `partial`. Its files are shown to nobody before `place`."""

    def __init__(self, home: Home, id_: str) -> None:
        self._home = home
        self.folder = home.partial / id_
        self.files = self.folder / "files"

    @classmethod
    def for_copy(cls, home: Home) -> Staging:
        """A new one for a copy of a file on this machine: not worth keeping when it is interrupted."""
        return cls(home, _COPY + secrets.token_hex(8))

    @property
    def is_copy(self) -> bool:
        return self.folder.name.startswith(_COPY)

    def prepare(self) -> None:
        self.files.mkdir(parents=True, exist_ok=True)

    def write_plan(self, placed: Placed) -> None:
        """From now on the files are whole and belong to this model."""
        for path in (self.files, *self.files.rglob("*")):
            if path.is_dir():  # gone when an earlier run moved them already
                sync_folder(path)
        write_atomically(self.folder / _PLACED, msgspec.json.encode(placed))

    def plan(self) -> Placed | None:
        """What `write_plan` wrote, or None."""
        try:
            return msgspec.json.decode((self.folder / _PLACED).read_bytes(), type=Placed)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError) as error:
            _log.warning("%s cannot be read and is left alone: %s", self.folder / _PLACED, error)
            return None

    def move(self, placed: Placed) -> None:
        """Rename the files into place. Doing it again does nothing."""
        target = Path(placed.row.folder)
        if self.files.exists():
            self.files.rename(target)
            sync_folder(target.parent)

    def discard(self) -> None:
        """Delete everything that is still here."""
        shutil.rmtree(self.folder, ignore_errors=True)


def free_folder(home: Home, name: str, used: Collection[Path]) -> Path:
    """A folder below `models` for a model of this name, that neither exists nor is promised."""
    folder, number = home.models / name, 1
    while folder.exists() or folder in used:
        number += 1
        folder = home.models / f"{name}-{number}"
    return folder


def staged(home: Home) -> list[Staging]:
    """Everything below `partial`."""
    return [Staging(home, path.name) for path in sorted(home.partial.iterdir()) if path.is_dir()]
