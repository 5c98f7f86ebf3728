"""What serving writes into the event log: who asked, which rule, where it went, how it ended.

Never what was asked or answered: ids, counts, labels, reasons.
"""

from __future__ import annotations

import logging
from typing import Any, Protocol

from node.store import StoreError

_log = logging.getLogger(__name__)


class Events(Protocol):
    """Where events go; `node.events.EventLog` is one."""

    async def append(self, kind: str, subject: str = "", **facts: Any) -> int: ...


class Records:
    """`keep` before something is allowed; `note` after something has happened anyway."""

    def __init__(self, events: Events) -> None:
        self._events = events

    async def keep(self, kind: str, subject: str, **facts: Any) -> None:
        """Write it, or raise `StoreError`: what cannot be recorded is not done."""
        await self._events.append(kind, subject, **facts)

    async def note(self, kind: str, subject: str, **facts: Any) -> None:
        """Write it; when that cannot be, the log file says so and life goes on."""
        try:
            await self._events.append(kind, subject, **facts)
        except StoreError as error:
            _log.error("the event %s of %s could not be kept: %s", kind, subject, error)
