"""Taking a model on this machine into the shelf."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import trio

from node.content import names
from node.content.disk import SPARE_BYTES, copy_file, free_bytes, full_message, is_full
from node.content.errors import AddFailed, NameTaken
from node.content.hashing import cid_of, hash_files, until_cancelled
from node.content.layout import Layout, lay_out
from node.content.model import Added, Model, ModelFile, Progress
from node.content.shelf import Shelf
from node.content.staging import Placed, Staging, free_folder
from node.content.tables import Row
from protocols.errors import Malformed
from protocols.labels import Label
from protocols.unixfs import Built


@dataclass(frozen=True)
class Wish:
    """How a model is to be kept, and who wants it."""

    name: str | None = None  # what a person chose
    label: str = "device"
    asked_by: str = "owner"
    source: str = ""  # where it came from; empty: the path
    otherwise: str = ""  # what to call it when no name was chosen; empty: after the file


async def bring_in(
    shelf: Shelf, path: Path, wish: Wish, *, copy: bool, progress: Progress | None
) -> Added:
    """See `Library.bring_in`."""
    _check_path(shelf, path)
    layout = await trio.to_thread.run_sync(lay_out, path)
    wish = replace(
        wish,
        name=names.checked(wish.name) if wish.name else None,
        otherwise=wish.otherwise or name_for(layout),
        label=checked_label(wish.label),
        source=wish.source or str(path),
    )
    known = await trio.to_thread.run_sync(shelf.at_path, layout.folder / layout.opened)
    if known is not None:
        return Added(known, known=True)
    tick = _teller(layout, progress)
    try:
        return await (_copy if copy else _refer)(shelf, layout, wish, tick)
    except OSError as error:
        raise AddFailed(_os_message(error, path)) from error


async def _refer(shelf: Shelf, layout: Layout, wish: Wish, tick: Callable[[int], None]) -> Added:
    cid, files = await trio.to_thread.run_sync(hash_files, layout.folder, layout.names, tick)
    async with shelf.turn:
        known = await healthy(shelf, cid)
        if known is not None:
            return Added(known, known=True)
        row = make_row(shelf, layout, wish, cid, files, storage="reference")
        model = await shelf.insert(
            row.model(layout.facts),
            "model.added",
            event_facts(row, wish),
            instead_of=shelf.by_cid(cid),
        )
        return Added(model)


async def _copy(shelf: Shelf, layout: Layout, wish: Wish, tick: Callable[[int], None]) -> Added:
    staging = Staging.for_copy(shelf.home)
    try:
        await trio.to_thread.run_sync(_check_room, shelf.home.partial, layout)
        cid, files = await trio.to_thread.run_sync(_copy_all, staging, layout, tick)
        async with shelf.turn:
            known = await healthy(shelf, cid)
            if known is not None:
                return Added(known, known=True)
            row = make_row(shelf, layout, wish, cid, files, storage="own")
            placed = Placed(row, "model.added", event_facts(row, wish))
            return Added(await shelf.place(staging, placed, layout.facts))
    finally:
        if staging.plan() is None:  # with a plan the files are whole: the next start finishes
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(staging.discard)


async def healthy(shelf: Shelf, cid: str) -> Model | None:
    """The model of this CID, if the library has it and its files are as they were."""
    known = shelf.by_cid(cid)
    if known is None:
        return None
    fine = known.starter or await trio.to_thread.run_sync(known.unchanged)
    return known if fine else None


def make_row(
    shelf: Shelf,
    layout: Layout,
    wish: Wish,
    cid: str,
    files: tuple[ModelFile, ...],
    *,
    storage: str,
) -> Row:
    """The row of a new model, or of a known one whose files are gone (name and label stay).

    Raises `NameTaken` when the chosen name is another model's.
    """
    known, taken = shelf.by_cid(cid), shelf.taken_names()
    if known is not None:
        name = known.name
    elif wish.name is not None:
        if wish.name in taken:
            raise NameTaken(wish.name)
        name = wish.name
    else:
        name = names.unused(wish.otherwise, taken)
    own = storage == "own"
    return Row(
        name=name,
        cid=cid,
        kind=layout.facts.kind,
        folder=str(free_folder(shelf.home, name, shelf.folders()) if own else layout.folder),
        opened=layout.opened,
        files=files,
        storage="own" if own else "reference",
        source=wish.source,
        label=known.label if known else wish.label,
        added_at=time.time(),
    )


def event_facts(row: Row, wish: Wish) -> dict[str, str | int | float | bool | dict[str, int]]:
    return {
        "source": row.source,
        "storage": row.storage,
        "size": sum(file.was.size for file in row.files),
        "label": row.label,
        "asked_by": wish.asked_by,
    }


def checked_label(label: str) -> str:
    """The label in its one spelling. Raises `AddFailed`."""
    try:
        return str(Label.parse(label))
    except Malformed as error:
        raise AddFailed(str(error)) from error


def _check_path(shelf: Shelf, path: Path) -> None:
    if not path.is_absolute():
        raise AddFailed(f"{path} is not a full path: give it from the root of the file system on")
    try:
        os.fsencode(path).decode("utf-8")
    except UnicodeError:
        raise AddFailed(f"{str(path)!a} holds characters that are not UTF-8: rename it") from None
    if shelf.home.partial in path.parents:
        raise AddFailed(f"{path} is a download that is not whole: pull it again to go on with it")


def name_for(layout: Layout) -> str:
    """From the file's name; a file that is always named the same is named for its folder."""
    opened = layout.folder / layout.opened
    if layout.facts.kind == "onnx" and opened.name == "model.onnx":
        return names.clean(layout.folder.resolve().name)
    return names.clean(opened.name)


def _teller(layout: Layout, progress: Progress | None) -> Callable[[int], None]:
    total, done = layout.facts.size_bytes, 0

    def tick(count: int) -> None:
        nonlocal done
        until_cancelled(count)
        done += count
        if progress is not None:
            progress(done, max(total, done))

    return tick


def _check_room(partial: Path, layout: Layout) -> None:
    if free_bytes(partial) < layout.facts.size_bytes + SPARE_BYTES:
        raise AddFailed(
            full_message(partial, layout.facts.size_bytes + SPARE_BYTES)
            + ": free some space, or add the model without a copy"
        )


def _copy_all(
    staging: Staging, layout: Layout, tick: Callable[[int], None]
) -> tuple[str, tuple[ModelFile, ...]]:
    staging.prepare()
    built: dict[str, Built] = {}
    files: list[ModelFile] = []
    for name in layout.names:
        built[name], file = copy_file(layout.folder / name, staging.files / name, tick)
        files.append(ModelFile(name, file.was))
    copied = lay_out(staging.files / layout.opened)  # what counts is what the copy holds
    if copied.facts.size_bytes != layout.facts.size_bytes:
        raise AddFailed(f"{layout.opened} changed while it was copied: try again")
    return cid_of(built), tuple(files)


def _os_message(error: OSError, path: Path) -> str:
    if is_full(error):
        return f"the disk is full: free some space, or add {path} without a copy"
    return (
        f"{path} could not be added ({error.strerror or error}): check the path and its permissions"
    )
