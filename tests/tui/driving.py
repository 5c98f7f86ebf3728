"""Driving the interface: a fake node, the app in a terminal that is not there, waiting for what should be."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from textual.pilot import Pilot

from tests.support.fake_node import FakeNode, a_fake_node
from tui.api import Api
from tui.app import KithApp
from tui.chat.screen import ChatScreen
from tui.frame import Frame, KeyLine, Line, StatusLine
from tui.link import Pace
from tui.models.screen import ModelsScreen

PATIENCE_S = 15.0
QUICK = Pace(calm=0.2, first=0.02, longest=0.05)
T = TypeVar("T")


def in_asyncio(scenario: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """A test that runs in asyncio: this project's async tests are trio's otherwise."""

    @functools.wraps(scenario)
    def run(*args: object, **kwargs: object) -> None:
        async def whole() -> None:
            async with asyncio.timeout(60):
                await scenario(*args, **kwargs)

        asyncio.run(whole())

    return run


async def until(true: Callable[[], T], what: str = "") -> T:
    """Wait, bounded, for something to hold; looks again whenever the loop comes round."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not (found := true()):  # noqa: ASYNC110 - any kind of change may make it so
                await asyncio.sleep(0.005)
            return found
    except TimeoutError:
        raise AssertionError(f"never became true: {what or true}") from None


@dataclass
class Driver:
    """The app, the keys, and what the screen shows."""

    app: KithApp
    pilot: Pilot[None]
    node: FakeNode

    @property
    def chat(self) -> ChatScreen:
        assert isinstance(self.app.screen, ChatScreen)
        return self.app.screen

    @property
    def models(self) -> ModelsScreen:
        assert isinstance(self.app.screen, ModelsScreen)
        return self.app.screen

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)

    async def write(self, text: str) -> None:
        await self.pilot.press(*("space" if letter == " " else letter for letter in text))

    async def ask(self, text: str) -> None:
        """Send, and wait for the answer to begin."""
        count = len(self.node.said)
        self.chat.prompt.focus()
        self.chat.prompt.put(text)
        await self.press("enter")
        await until(lambda: len(self.node.said) > count and self.chat.transcript.live, text)

    async def answered(self) -> None:
        await until(lambda: not self.chat.answering, "the answer ends")

    async def to(self, screen: type[Frame], key: str) -> None:
        await self.press(key)
        await until(lambda: isinstance(self.app.screen, screen), screen.__name__)

    def line(self, name: str) -> str:
        """The text of a line of the frame."""
        return str(self.app.screen.query_one(f"#{name}", Line).visual)

    def grid(self) -> list[str]:
        """The whole screen as rows of text."""
        width, height = self.app.size
        lines = self.app.screen._compositor.render_strips(self.app.size)
        return [strip.text.ljust(width) for strip in lines[:height]]

    def shown(self) -> str:
        return "\n".join(row.rstrip() for row in self.grid())


@asynccontextmanager
async def driven(
    folder: Path, size: tuple[int, int] = (80, 24), *, connected: bool = True
) -> AsyncIterator[Driver]:
    """The app at this size, beside a fake node that it found."""
    async with a_fake_node(folder) as node:
        app = KithApp(Api(node.address, folder / "token"), QUICK)
        async with app.run_test(size=size) as pilot:
            driver = Driver(app, pilot, node)
            if connected:
                await until(lambda: app.link.up, "the node is found")
            yield driver


__all__ = ["Driver", "KeyLine", "StatusLine", "driven", "in_asyncio", "until"]
