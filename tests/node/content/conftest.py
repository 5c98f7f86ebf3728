"""A home with its library, small real models, and a hub on loopback."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from node.config import Settings
from node.content import INDEX_MIGRATIONS, MIGRATIONS, Library, open_library
from node.events import MIGRATIONS as EVENTS
from node.events import Entry, EventLog
from node.home import Home
from node.store import Store, open_store
from tests.support.gguf_maker import tiny_llama
from tests.support.hub import Hub


@dataclass
class Place:
    """What a running node has of this room."""

    home: Home
    store: Store
    events: EventLog
    library: Library

    async def happened(self, kind: str) -> list[Entry]:
        return await self.events.read(kind=kind, limit=1000)


@asynccontextmanager
async def opened(
    root: Path, starter: Path, settings: Settings | None = None
) -> AsyncIterator[Place]:
    """The room of the home at `root`, opened anew."""
    settings = settings or Settings()
    home = Home(root)
    home.prepare()
    with open_store(home, (*EVENTS, *MIGRATIONS), INDEX_MIGRATIONS) as store:
        events = EventLog(store.state)
        library = await open_library(
            home,
            settings.content,
            store,
            events,
            default=settings.serving.default_model,
            starter=starter,
        )
        yield Place(home, store, events, library)


@pytest.fixture(scope="session")
def starter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llama(tmp_path_factory.mktemp("packaged") / "starter.gguf", seed=1)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
async def place(root: Path, starter: Path) -> AsyncIterator[Place]:
    async with opened(root, starter) as place:
        yield place


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as hub:
        yield hub


@pytest.fixture
def unused_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
