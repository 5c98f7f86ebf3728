"""What can be wrong with bytes or values that came from outside. All are ValueErrors."""

from __future__ import annotations


class ProtocolError(ValueError):
    """Something from outside was not taken. Catch this one at a boundary."""


class Malformed(ProtocolError):
    """The bytes or the text are not what they should be: too large, cut, wrong type, not canonical."""


class Refused(ProtocolError):
    """Well formed, but not allowed: a bad signature, a gap, a replay, a time in the future.

    `rule` is a short stable word for programs and tests; the message is for people.
    """

    def __init__(self, message: str, *, rule: str = "refused") -> None:
        super().__init__(message)
        self.rule = rule
