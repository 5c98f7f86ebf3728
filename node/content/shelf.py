"""The models that are here: in memory for whoever looks, in the databases for the next start."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import sqlite_utils
import trio

from models.facts import ModelFacts
from node.config import ContentSettings
from node.content import names, tables
from node.content.disk import is_full
from node.content.errors import AddFailed, NameTaken, UnknownModel
from node.content.model import Fingerprint, Model
from node.content.staging import Placed, Staging
from node.content.tables import Row
from node.events import EventLog
from node.home import Home
from node.store import Store

_CID_PREFIX = 7  # characters of a CID that are enough to be meant as one
_log = logging.getLogger(__name__)


class Shelf:
    """Finding models and keeping them. Whoever changes something holds `turn`."""

    def __init__(
        self, home: Home, settings: ContentSettings, default: str, store: Store, events: EventLog
    ) -> None:
        self.home = home
        self.settings = settings
        self.events = events
        self.turn = trio.Lock()
        self._store = store
        self._default = default.lower()  # from the settings; what a person chose comes first
        self._chosen = ""
        self._models: dict[str, Model] = {}
        self._told: dict[str, tuple[Fingerprint | None, ...]] = {}  # changes already found

    async def list(self) -> list[Model]:
        """Every model by name, the starter last; `missing` says whether files are gone."""
        models = sorted(self._models.values(), key=lambda model: (model.starter, model.name))
        gone = await trio.to_thread.run_sync(lambda: [model.is_missing() for model in models])
        return [replace(model, missing=away) for model, away in zip(models, gone, strict=True)]

    async def find(self, name_or_cid: str) -> Model:
        """The model of this name (in any case), CID, or unique start of a CID. Raises `UnknownModel`."""
        model = self.peek(name_or_cid)
        missing = await trio.to_thread.run_sync(model.is_missing)
        return replace(model, missing=missing)

    def peek(self, name_or_cid: str) -> Model:
        """`find` without a look at the disk. Raises `UnknownModel`."""
        wanted = name_or_cid.strip().lower()
        if wanted in self._models:
            return self._models[wanted]
        found = {m.cid: m for m in self._models.values() if _is_start(wanted, m.cid)}
        if len(found) == 1:
            return next(iter(found.values()))
        several = f"{name_or_cid[:80]!r} is the start of several models' CIDs" if found else ""
        close = [m.name for m in found.values()][:3] or names.nearest(wanted, self._models)
        raise UnknownModel(name_or_cid, close, several)

    def default(self) -> str:
        """The name of the model for whoever names none: chosen here, else by the settings, else the starter."""
        for name in (self._chosen, self._default):
            if name in self._models:
                return name
        return names.STARTER

    def by_cid(self, cid: str) -> Model | None:
        return next((model for model in self._models.values() if model.cid == cid), None)

    def by_sha256(self, digests: Iterable[str]) -> Model | None:
        """The model whose files have exactly these hashes, none of them unknown."""
        wanted = sorted(digests)
        for model in self._models.values():
            if all(wanted) and sorted(part.sha256 for part in model.parts) == wanted:
                return model
        return None

    def at_path(self, path: Path) -> Model | None:
        """The model that has this file and whose files are as they were. Blocks on the disk a little."""
        for model in list(self._models.values()):
            alike = any(part.name.endswith(path.name) for part in model.parts)  # else it takes long
            if alike and path in model.files and model.unchanged():
                return model
        return None

    def taken_names(self) -> set[str]:
        return set(self._models)

    def folders(self) -> set[Path]:
        return {model.folder for model in self._models.values()}

    async def insert(
        self, model: Model, event: str, facts: dict[str, Any], *, instead_of: Model | None = None
    ) -> Model:
        """Keep a model and its event together. The caller holds `turn`.

        `instead_of` is a model of the same bytes whose files are gone or spoilt: its name goes on with
        the new files. Raises `NameTaken`, `StoreError`.
        """
        other = self._models.get(model.name)
        if other is not None and other != instead_of:
            raise NameTaken(model.name)
        row = Row.of(model)

        def work(db: sqlite_utils.Database) -> None:
            tables.write_row(db, row)
            self.events.write(db, event, model.cid, name=model.name, **facts)

        await self._store.state.run(work)
        self._models[model.name] = model
        self._told.pop(model.name, None)
        await self._store.index.run(lambda db: tables.write_facts(db, [(model.cid, model.facts)]))
        if instead_of is not None and instead_of.folder != model.folder:
            await trio.to_thread.run_sync(delete_own, self.home, instead_of)
        return model

    async def place(self, staging: Staging, placed: Placed, facts: ModelFacts) -> Model:
        """Make staged files a model: written down, renamed, inserted. The caller holds `turn`.

        Not cancellable once begun; what is interrupted by force is finished at the next start.
        Raises `AddFailed` when the disk refuses, `StoreError` when the database does.
        """
        known, model = self.by_cid(placed.row.cid), placed.row.model(facts)
        with trio.CancelScope(shield=True):
            try:
                await trio.to_thread.run_sync(_write_and_move, staging, placed)
            except OSError as error:
                todo = (
                    "free some space and try again" if is_full(error) else "check the home folder"
                )
                raise AddFailed(
                    f"the model could not be put in place ({error.strerror or error}): {todo}"
                ) from error
            await self.insert(model, placed.event, dict(placed.facts), instead_of=known)
            await trio.to_thread.run_sync(staging.discard)
        return model

    async def change(self, model: Model) -> None:
        """Write down what was learnt about a model that is (still) here."""
        async with self.turn:
            if model.name in self._models:
                await self._store.state.run(lambda db: tables.write_row(db, Row.of(model)))
                self._models[model.name] = model


def delete_own(home: Home, model: Model) -> None:
    """Delete our own files of a model, and its folders when nothing else lies in them. Blocks."""
    if model.storage == "reference":
        return
    if home.models not in model.folder.parents:
        _log.error("%s is not below %s: nothing was deleted", model.folder, home.models)
        return
    for path in model.files:
        path.unlink(missing_ok=True)
    folders = {parent for path in model.files for parent in path.parents}
    for folder in sorted(folders, key=lambda path: len(path.parts), reverse=True):
        if home.models in folder.parents and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def _is_start(wanted: str, cid: str) -> bool:
    return len(wanted) >= _CID_PREFIX and cid.lower().startswith(wanted)


def _write_and_move(staging: Staging, placed: Placed) -> None:
    staging.write_plan(placed)
    staging.move(placed)
