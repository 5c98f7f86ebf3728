"""The one error that a command raises for a person."""

from __future__ import annotations

FAILED = 1
USAGE = 2
NOT_RUNNING = 3
NOT_FOUND = 4
REFUSED = 5


class CliError(Exception):
    """What went wrong, why, and what to do, in one line; and the exit code."""

    def __init__(self, message: str, *, exit_code: int = FAILED) -> None:
        super().__init__(message)
        self.exit_code = exit_code
