"""The library: every model that this node can serve, by name and by CID."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import partial
from pathlib import Path

import msgspec
import sqlite_utils
import trio

from models.errors import BadModel
from models.facts import ModelFacts
from node.config import ContentSettings
from node.content import names, tables
from node.content.add import Wish, bring_in
from node.content.errors import (
    AddFailed,
    ContentError,
    ModelChanged,
    ModelMissing,
    NotAllowed,
    UnknownModel,
)
from node.content.hashing import hash_files
from node.content.layout import lay_out
from node.content.model import Added, Fingerprint, Model, Named, Progress
from node.content.shelf import Shelf, delete_own
from node.content.staging import Placed, Staging, staged
from node.content.starter import packaged_starter, read_starter
from node.content.tables import Row
from node.events import EventLog
from node.home import Home
from node.store import Store, StoreError

_log = logging.getLogger(__name__)


class Library(Shelf):
    """Open with `open_library`."""

    async def add(
        self,
        path: Path,
        *,
        name: str | None = None,
        copy: bool = False,
        label: str = "device",
        progress: Progress | None = None,
    ) -> Model:
        """`bring_in` for the owner."""
        return (await self.bring_in(path, Wish(name, label), copy=copy, progress=progress)).model

    async def bring_in(
        self, path: Path, wish: Wish, *, copy: bool = False, progress: Progress | None = None
    ) -> Added:
        """Take the model at `path` into the library: as a reference to the files where they are, or
        with `copy` as a copy of our own. What the library has already is not stored again.

        Cancelling stops the hashing at once and leaves nothing behind. Raises `AddFailed`, `BadName`
        or `BadModel`.
        """
        return await bring_in(self, path, wish, copy=copy, progress=progress)

    async def check(self, model: Named) -> None:
        """Make sure that the files are still what they were when they were added.

        Files that look different are hashed again, which takes as long as adding did. Raises
        `ModelMissing` or `ModelChanged`, which say what to do, and `UnknownModel`.
        """
        mine = self.by_cid(model.cid)
        if mine is None:
            raise UnknownModel(model.cid)
        now = await trio.to_thread.run_sync(mine.fingerprints)
        if now == tuple(part.was for part in mine.parts):
            return
        if None in now:
            raise ModelMissing(_missing_message(mine, now))
        if self._told.get(mine.name) != now:
            if await self._is_same_after_all(mine):
                return
            self._told[mine.name] = now
            await self.events.append("model.changed", mine.cid, name=mine.name)
        raise ModelChanged(_changed_message(mine))

    async def _is_same_after_all(self, model: Model) -> bool:
        names_ = [part.name for part in model.parts]
        try:
            cid, files = await trio.to_thread.run_sync(hash_files, model.folder, names_)
        except (AddFailed, OSError):
            return False
        if cid != model.cid:
            return False
        known = {part.name: part.sha256 for part in model.parts}
        parts = tuple(msgspec.structs.replace(file, sha256=known[file.name]) for file in files)
        await self.change(replace(model, parts=parts))
        return True

    async def remove(self, name: str) -> int:
        """Take a model out, and delete its files if they are our own; how many bytes became free.

        Files of others (references) stay where they are. If it was the default, the starter becomes
        the default again. Raises `UnknownModel`, and `NotAllowed` for the starter.
        """
        async with self.turn:
            model = self.peek(name)
            if model.starter:
                raise NotAllowed(
                    "the starter model belongs to the program and takes no space of its own here:"
                    " choose another default with `node models default NAME` instead"
                )
            freed = 0 if model.storage == "reference" else model.size

            def work(db: sqlite_utils.Database) -> None:
                tables.delete_row(db, model.name)
                if self._chosen == model.name:
                    tables.write_default(db, "")
                facts = {"name": model.name, "freed": freed, "storage": model.storage}
                self.events.write(db, "model.removed", model.cid, **facts)

            with trio.CancelScope(shield=True):
                await self._store.state.run(work)
                del self._models[model.name]
                self._told.pop(model.name, None)
                if self._chosen == model.name:
                    self._chosen = ""
                await trio.to_thread.run_sync(delete_own, self.home, model)
        return freed

    async def set_default(self, name: str) -> None:
        """Choose the model for whoever names none. Raises `UnknownModel` or `NotAllowed`."""
        async with self.turn:
            model = self.peek(name)
            if model.facts.embedding or model.facts.reranker:
                raise NotAllowed(
                    f"{model.name} answers with numbers and cannot chat: choose a chat model"
                )

            def work(db: sqlite_utils.Database) -> None:
                tables.write_default(db, model.name)
                self.events.write(db, "model.default", model.cid, name=model.name)

            await self._store.state.run(work)
            self._chosen = model.name

    async def load(self, starter: Path) -> None:
        """Read what is kept, finish what an earlier run was killed in, take in the starter."""
        rows = await self._store.state.run(tables.read_rows)
        self._chosen = await self._store.state.run(tables.read_default)
        facts = await self._store.index.run(tables.read_facts)
        fresh = [row for row in rows if row.cid not in facts]
        read = await trio.to_thread.run_sync(lambda: [(row.cid, _facts_of(row)) for row in fresh])
        if read:
            await self._store.index.run(partial(tables.write_facts, facts=read))
        facts |= dict(read)
        self._models = {row.name: row.model(facts[row.cid]) for row in rows}
        for staging in await trio.to_thread.run_sync(staged, self.home):
            placed = await trio.to_thread.run_sync(staging.plan)
            if placed is not None:
                await self._finish(staging, placed)
            elif staging.is_copy:  # half of a file that still lies where it was
                await trio.to_thread.run_sync(staging.discard)
        await self._take_starter(starter)

    async def _finish(self, staging: Staging, placed: Placed) -> None:
        """What a killed run wrote down as whole becomes a model now."""
        row = placed.row
        if any(m.cid == row.cid and str(m.folder) == row.folder for m in self._models.values()):
            await trio.to_thread.run_sync(staging.discard)
            return
        _log.info("finishing %s, which was interrupted", row.name)
        name = row.name if self.by_cid(row.cid) else names.unused(row.name, self._models)
        placed = msgspec.structs.replace(placed, row=msgspec.structs.replace(row, name=name))
        try:
            await trio.to_thread.run_sync(staging.move, placed)
            facts = await trio.to_thread.run_sync(_facts_of, placed.row)
            async with self.turn:
                await self.place(staging, placed, facts)
        except (ContentError, StoreError, OSError) as error:
            _log.warning("%s could not be finished: %s", row.name, error)

    async def _take_starter(self, path: Path) -> None:
        known = self._models.get(names.STARTER)
        read = await trio.to_thread.run_sync(read_starter, path, known)
        if read is None:
            return
        row, facts = read
        event = "model.added" if known is None else "model.updated"
        told = {"source": row.source, "size": facts.size_bytes}
        async with self.turn:
            await self.insert(row.model(facts), event, told, instead_of=known)


async def open_library(
    home: Home,
    settings: ContentSettings,
    store: Store,
    events: EventLog,
    *,
    default: str = names.STARTER,
    starter: Path | None = None,
) -> Library:
    """The library of this home.

    `default` is the setting `serving.default_model`; `starter` replaces the packaged file in tests.
    Raises `StoreError`.
    """
    library = Library(home, settings, default, store, events)
    await library.load(starter or packaged_starter())
    return library


def _facts_of(row: Row) -> ModelFacts:
    """The facts read anew from the files; only what the row says when they cannot be read."""
    try:
        return lay_out(row.model_path).facts
    except BadModel:
        size = sum(file.was.size for file in row.files)
        return ModelFacts(kind=row.kind, size_bytes=size, name=row.name)


def _missing_message(model: Model, now: tuple[Fingerprint | None, ...]) -> str:
    gone = next(path for path, found in zip(model.files, now, strict=True) if found is None)
    return (
        f"the file {gone} of {model.name} is no longer there: put it back, or forget the model with"
        f" `node models rm {model.name}`"
    )


def _changed_message(model: Model) -> str:
    what = model.path if len(model.parts) == 1 else model.folder
    return (
        f"{what} no longer holds the model {model.name} (its bytes changed since it was added): take it"
        f" out with `node models rm {model.name}` and add it again with `node models add {model.path}`"
    )
