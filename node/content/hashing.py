"""The CID of a model: of its one file, or of the directory that its files make.

The work happens in a thread, in large reads; only what is asked for is computed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import BinaryIO, Final

import trio

from node.content.errors import AddFailed
from node.content.model import Fingerprint, ModelFile
from protocols.dagpb import Link
from protocols.limits import MIB
from protocols.unixfs import V1_2025, Built, FileHasher, directory_block

#: Told how many bytes more were done. Called from a worker thread; what it raises ends the work.
Tick = Callable[[int], None]

_READ: Final = 2 * MIB


class Hashes:
    """What is computed while the bytes of one file pass by."""

    def __init__(self, *, sha256: bool = False) -> None:
        self._file = FileHasher(V1_2025)
        self._whole = hashlib.sha256() if sha256 else None

    def update(self, data: bytes | bytearray | memoryview) -> None:
        self._file.update(data)
        if self._whole is not None:
            self._whole.update(data)

    def finish(self) -> tuple[Built, str]:
        """The file, and the sha256 of the whole in hex ("" when it was not asked for)."""
        return self._file.finish(), self._whole.hexdigest() if self._whole is not None else ""


def until_cancelled(_count: int) -> None:
    """A tick for a thread that trio started: the work ends when its caller is cancelled."""
    trio.from_thread.check_cancelled()


def read_through(file: BinaryIO, take: Callable[[memoryview], object], tick: Tick) -> None:
    """Hand all bytes from here on to `take`, in large pieces of one buffer."""
    buffer = bytearray(_READ)
    view = memoryview(buffer)
    while count := file.readinto(buffer):  # type: ignore[attr-defined]
        take(view[:count])
        tick(count)


def hash_file(path: Path, tick: Tick, *, sha256: bool = False) -> tuple[Built, ModelFile]:
    """Hash one file. Raises `AddFailed` when it changes meanwhile, `OSError` when it cannot be read."""
    before = Fingerprint.of(path)
    hashes = Hashes(sha256=sha256)
    with path.open("rb", buffering=0) as file:
        read_through(file, hashes.update, tick)
    built, digest = hashes.finish()
    if before is None or before != Fingerprint.of(path) or built.size != before.size:
        raise AddFailed(
            f"{path.name} changed while it was read (is it still being written?): try again when"
            " the program that writes it has finished"
        )
    return built, ModelFile(path.name, before, digest)


def hash_files(
    folder: Path, names: Iterable[str], tick: Tick = until_cancelled
) -> tuple[str, tuple[ModelFile, ...]]:
    """The CID of the model made of these files, and its files. Run it in a thread."""
    built: dict[str, Built] = {}
    files: list[ModelFile] = []
    for name in names:
        built[name], file = hash_file(folder / name, tick)
        files.append(ModelFile(name, file.was, file.sha256))
    return cid_of(built), tuple(files)


def cid_of(files: Mapping[str, Built]) -> str:
    """One file is named by itself; several by the directory that holds them under their names."""
    if len(files) == 1:
        return next(iter(files.values())).cid.text
    return _directory(files).cid.text


def _directory(files: Mapping[str, Built]) -> Built:
    here: dict[str, Built] = {}
    below: dict[str, dict[str, Built]] = {}
    for name, built in files.items():
        first, slash, rest = name.partition("/")
        if slash:
            below.setdefault(first, {})[rest] = built
        else:
            here[first] = built
    here |= {name: _directory(inner) for name, inner in below.items()}
    links = [Link(built.cid, name, built.tsize) for name, built in here.items()]
    return directory_block(links)[0]
