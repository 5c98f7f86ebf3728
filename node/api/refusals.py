"""Requests that were refused or could not be served, for the log: a line each, but never a flood."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

from node.api.problems import ApiError

MOST: Final = 20  # lines in
EVERY_S: Final = 60.0
_TOLD: Final = frozenset({401, 403, 429})

_log = logging.getLogger(__name__)


class Refusals:
    """Whoever knocks all day fills no log: a number of lines a minute, then their count."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since = clock()
        self._told = self._silent = 0

    def note(self, method: str, path: str, error: ApiError, caller: str = "") -> None:
        """Only what an owner would want to know of; a misspelt field is between the two."""
        if error.status not in _TOLD and error.status < 500:
            return
        now = self._clock()
        if now - self._since >= EVERY_S:
            if self._silent:
                _log.warning("%d more requests were refused and are not listed", self._silent)
            self._since, self._told, self._silent = now, 0, 0
        if self._told >= MOST:
            self._silent += 1
            return
        self._told += 1
        by = f" by {caller}" if caller else ""
        _log.warning("%s %r%s: %d %s", method, path[:200], by, error.status, error)
