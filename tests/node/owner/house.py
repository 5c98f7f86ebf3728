"""A home with a real store and the rooms up to feeds: what most tests here stand in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from node import events as events_room
from node import feeds as feeds_room
from node import owner as owner_room
from node.events import EventLog
from node.feeds import Feeds
from node.home import Home
from node.owner import Grants, Identity, open_grants, open_identity
from node.store import Database, open_store

MIGRATIONS = (*events_room.MIGRATIONS, *owner_room.MIGRATIONS, *feeds_room.MIGRATIONS)
START = 1_800_000_000.0


@dataclass
class Clock:
    """A clock that stands until a test moves it."""

    at: float = START

    def __call__(self) -> float:
        return self.at


@dataclass
class House:
    home: Home
    database: Database
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        self.events = EventLog(self.database)
        self.feeds = Feeds(self.database, now=self.clock)

    async def identity(self, name: str | None = "desk") -> Identity:
        return await open_identity(
            self.home, self.database, self.events, self.feeds, now=self.clock, device_name=name
        )

    async def grants(self, token: str = "kith_the-owners-own-token") -> Grants:
        return await open_grants(self.database, self.events, token=token, now=self.clock)

    async def told(self, kind: str) -> int:
        """How many events of a kind there are."""
        return len(await self.events.read(kind=kind))


@contextmanager
def house(root: Path) -> Iterator[House]:
    home = Home(root)
    home.prepare()
    with open_store(home, MIGRATIONS, []) as store:
        yield House(home, store.state)
