"""What the library knows about one model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import msgspec

from models.facts import ModelFacts

Storage = Literal["own", "linked", "reference"]
Kind = Literal["gguf", "onnx"]

#: Told (bytes done, bytes in all). Called from a worker thread: it must only note the numbers.
Progress = Callable[[int, int], None]


class Fingerprint(msgspec.Struct, frozen=True):
    """What tells cheaply that a file is still the one that was hashed."""

    size: int
    mtime_ns: int
    inode: int

    @classmethod
    def of(cls, path: Path) -> Fingerprint | None:
        """The fingerprint of a file now, or None when it cannot be reached. Blocks a little."""
        try:
            status = path.stat()
        except OSError:
            return None
        return cls(status.st_size, status.st_mtime_ns, status.st_ino)


class ModelFile(msgspec.Struct, frozen=True):
    """One file of a model: its path below the model's folder, and how it was when it was hashed."""

    name: str
    was: Fingerprint
    sha256: str = ""  # of the whole file, in hex, when it is known


@dataclass(frozen=True)
class Model:
    """One model in the library. `path` is what a worker opens; `folder` is where all files lie."""

    name: str
    cid: str
    facts: ModelFacts
    path: Path
    folder: Path
    parts: tuple[ModelFile, ...]
    storage: Storage
    source: str  # "built in", a path, an URL, a hub reference
    label: str
    added_at: float
    starter: bool = False
    missing: bool = field(default=False, compare=False)  # as it was when last looked at

    @property
    def kind(self) -> Kind:
        return self.facts.kind

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file of the model, in the order in which they belong."""
        return tuple(self.folder / part.name for part in self.parts)

    @property
    def size(self) -> int:
        return sum(part.was.size for part in self.parts)

    def fingerprints(self) -> tuple[Fingerprint | None, ...]:
        """How the files are now. Blocks on the disk a little."""
        return tuple(Fingerprint.of(path) for path in self.files)

    def unchanged(self) -> bool:
        """Whether every file looks as it did when it was hashed. Blocks on the disk a little."""
        return self.fingerprints() == tuple(part.was for part in self.parts)

    def is_missing(self) -> bool:
        """Whether a file is gone. Blocks on the disk a little."""
        return None in self.fingerprints()


class Named(Protocol):
    """A model as other rooms see it."""

    @property
    def cid(self) -> str: ...


@dataclass(frozen=True)
class Added:
    """What came of adding: the model, and whether the library had it already."""

    model: Model
    known: bool = False
