"""Adopting: models that other programs have on this machine become models here, and no byte is copied."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import trio

from models.errors import BadModel
from node.content.add import Wish
from node.content.errors import AddFailed, ContentError
from node.content.found import Found, Program, kind_of_folder, search, usual_folders
from node.content.layout import Layout, lay_out
from node.content.library import Library
from node.content.model import Model
from node.store import StoreError
from protocols.http.control import Adopted, AdoptedModel, AdoptModels


async def adopt(
    library: Library,
    what: AdoptModels,
    *,
    env: Mapping[str, str] | None = None,
    user: Path | None = None,
) -> Adopted:
    """Look for models and refer to them where they are; with `dry_run` only say what is there.

    Hashing takes as long as reading the files. What cannot be used is listed with its reason. Raises
    `AddFailed` for a folder that is not there.
    """
    places = await trio.to_thread.run_sync(_places, what, env or os.environ, user or Path.home())
    found: list[Found] = []
    for program, folder in places:
        found += await trio.to_thread.run_sync(search, program, folder)
    results = [await _one(library, each, dry_run=what.dry_run) for each in found]
    return Adopted(tuple(results))


def _places(what: AdoptModels, env: Mapping[str, str], user: Path) -> list[tuple[Program, Path]]:
    if what.folder is None:
        usual = usual_folders(env, user)
        return [(p, folder) for p, folder in usual if what.source in ("all", p) and folder.is_dir()]
    folder = Path(what.folder)
    if not folder.is_absolute():
        raise AddFailed(f"{folder} is not a full path: give it from the root of the file system on")
    if not folder.is_dir():
        raise AddFailed(f"{folder} is not a folder that can be read: check the path")
    return [(kind_of_folder(folder) if what.source == "all" else what.source, folder)]


async def _one(library: Library, found: Found, *, dry_run: bool) -> AdoptedModel:
    if found.problem:
        return _result(found, "refused", reason=found.problem)
    try:
        layout = await trio.to_thread.run_sync(lay_out, found.path)
        if dry_run:
            opened = layout.folder / layout.opened
            known = await trio.to_thread.run_sync(library.at_path, opened)
            return _result(found, "known" if known else "found", layout=layout, model=known)
        wish = Wish(source=found.source, otherwise=found.name)
        added = await library.bring_in(found.path, wish)
    except (ContentError, BadModel, StoreError) as error:
        return _result(found, "refused", reason=str(error))
    return _result(found, "known" if added.known else "added", layout=layout, model=added.model)


def _result(
    found: Found,
    state: Literal["found", "added", "known", "refused"],
    *,
    layout: Layout | None = None,
    model: Model | None = None,
    reason: str = "",
) -> AdoptedModel:
    return AdoptedModel(
        name=model.name if model else found.name,
        path=str(found.path),
        source=found.program,
        size=layout.facts.size_bytes if layout else 0,
        state=state,
        reason=reason,
    )
