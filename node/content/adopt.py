"""Adopting: models that other programs have on this machine become models here, and no byte is copied."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import trio

from models.errors import BadModel
from node.content.add import Wish
from node.content.errors import AddFailed
from node.content.found import Found, Program, kind_of_folder, search, usual_folders
from node.content.layout import lay_out
from node.content.shelf import Shelf
from protocols.http.control import AdoptedModel, AdoptModels


@dataclass(frozen=True)
class Seen:
    """A model of another program: what to tell of it, and how it would be added here if it is new."""

    told: AdoptedModel
    path: Path
    wish: Wish


async def look_around(
    shelf: Shelf, what: AdoptModels, env: Mapping[str, str], user: Path
) -> list[Seen]:
    """The models of other programs, each "found", "known" or "refused" with its reason.

    Their headers are checked, and nothing is hashed. Raises `AddFailed` for a folder that is not there.
    """
    found: list[Found] = []
    for program, folder in await trio.to_thread.run_sync(_places, what, env, user):
        found += await trio.to_thread.run_sync(search, program, folder)
    return [await trio.to_thread.run_sync(_look_at, shelf, each) for each in found]


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


def _look_at(shelf: Shelf, found: Found) -> Seen:
    if found.problem:
        return _seen(found, "refused", reason=found.problem)
    if (known := shelf.at_path(found.path)) is not None:
        return _seen(found, "known", name=known.name, size=known.size)
    try:
        layout = lay_out(found.path)
    except BadModel as error:
        return _seen(found, "refused", reason=str(error))
    return _seen(found, "found", size=layout.facts.size_bytes)


def _seen(
    found: Found,
    state: Literal["found", "known", "refused"],
    *,
    name: str = "",
    size: int = 0,
    reason: str = "",
) -> Seen:
    told = AdoptedModel(name or found.name, str(found.path), found.program, size, state, reason)
    return Seen(told, found.path, Wish(source=found.source, otherwise=found.name))
