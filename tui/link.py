"""Whether the node answers: asked again and again, a little later after each failure."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from protocols.http import requests
from protocols.http.control import Status
from protocols.http.requests import ApiProblem
from tui.api import Api, Unreachable, words_of


@dataclass(frozen=True)
class Link:
    """What is known about the node. `status` stays what it last said, also while it is gone."""

    status: Status | None = None
    tries: int = 0  # failed tries since it last answered
    reason: str = ""  # why the last try failed, in words
    refused: bool = False  # a node answers, and says no

    @property
    def up(self) -> bool:
        return self.status is not None and self.tries == 0


@dataclass(frozen=True)
class Pace:
    """How often to ask, in seconds."""

    calm: float = 3.0  # while it answers
    first: float = 0.5  # after the first failure; doubled after each
    longest: float = 5.0

    def after(self, link: Link) -> float:
        return (
            self.calm if link.up else min(self.longest, self.first * 2.0 ** min(link.tries - 1, 8))
        )


CALM: Final = Pace()


class Watch:
    """Asks the node for its status and tells `changed` what it learns."""

    def __init__(self, api: Api, changed: Callable[[Link], None], pace: Pace = CALM) -> None:
        self._api = api
        self._changed = changed
        self._pace = pace
        self._at_once = asyncio.Event()
        self._link = Link()

    def ask_now(self) -> None:
        """Do not wait for the next turn: something else saw a change."""
        self._at_once.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self._at_once.clear()
            self._link = await self._asked()
            self._changed(self._link)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._pace.after(self._link)):
                    await self._at_once.wait()

    async def _asked(self) -> Link:
        try:
            status = await self._api.call(requests.status())
            return Link(status)
        except Unreachable as error:
            reason, refused = str(error), False
        except ApiProblem as error:
            reason, refused = words_of(error), True
        if not self._link.up:
            self._api.read_token()  # a node with a new home has a new token
        return replace(self._link, tries=self._link.tries + 1, reason=reason, refused=refused)
