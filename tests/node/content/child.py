"""A process of its own that pulls or copies a model, and may be killed at a named point.

    python -m tests.node.content.child pull|copy HOME STARTER ENDPOINT WHAT [POINT]

POINT is "module:Class.method:before|after": there the process kills itself with SIGKILL.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import trio

from node.config import Settings
from node.content import open_transfers
from node.owner import Caller
from protocols.http.control import AddModel, PullModel
from tests.node.content.conftest import opened

OWNER = Caller("owner", "owner", "device", "public", frozenset({"*"}))


def die_at(point: str) -> None:
    module, names, when = point.split(":")
    owner_name, method = names.split(".")
    owner = getattr(importlib.import_module(module), owner_name)
    real: Callable[..., Any] = getattr(owner, method)

    def dying(*args: Any, **kwargs: Any) -> Any:
        if when == "after":
            real(*args, **kwargs)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(owner, method, dying)


async def main(kind: str, root: Path, starter: Path, endpoint: str, what: str) -> None:
    settings = msgspec.convert({"content": {"hub_endpoint": endpoint}}, Settings)
    async with (
        opened(root, starter, settings) as place,
        open_transfers(place.home, settings, place.library, place.events) as transfers,
    ):
        if kind == "pull":
            begun = await transfers.start_pull(PullModel(ref=what), OWNER)
        else:
            begun = await transfers.start_add(AddModel(path=what, copy=True), OWNER)
        async with transfers.watch(begun.id) as channel:
            async for now in channel:
                print(now.state, now.done, now.message, flush=True)


if __name__ == "__main__":
    kind, root, starter, endpoint, what, *point = sys.argv[1:]
    if point:
        die_at(point[0])
    trio.run(main, kind, Path(root), Path(starter), endpoint, what)
