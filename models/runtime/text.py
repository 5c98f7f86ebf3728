"""From tokens to text that may be sent: whole characters only, and no part of a stop string."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Sequence
from typing import NamedTuple

from models.backends.base import Logprob
from protocols.jobs import Piece, TokenLogprob


class _Held(NamedTuple):
    start: int  # where in the held text this token begins
    token: int
    raw: bytes
    logprob: Logprob | None


class TextStream:
    """Takes tokens, gives pieces. Bytes that are no UTF-8 become U+FFFD."""

    def __init__(self, stop: Sequence[str], piece: Callable[[int], bytes]) -> None:
        self._stop = tuple(stop)
        self._piece = piece
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._text = ""
        self._held: list[_Held] = []
        #: The stop string that was found; nothing may be added after that.
        self.stopped: str | None = None

    def add(self, token: int, logprob: Logprob | None = None) -> Piece | None:
        """What can be sent now, if anything."""
        raw = self._piece(token)
        self._held.append(_Held(len(self._text), token, raw, logprob))
        self._text += self._decoder.decode(raw)
        if self._stop:
            cut = self._find_stop()
            if cut is not None:
                return self._cut(cut)
            return self._release(len(self._text) - self._possible_stop())
        return self._release(len(self._text))

    def finish(self) -> Piece | None:
        """Everything still held; an unfinished character becomes U+FFFD."""
        if self.stopped is not None:
            return None
        self._text += self._decoder.decode(b"", True)
        text, held, self._text, self._held = self._text, self._held, "", []
        return self._make(text, held) if held or text else None

    def _find_stop(self) -> int | None:
        found = [
            (at, -len(stop), stop) for stop in self._stop if (at := self._text.find(stop)) >= 0
        ]
        if not found:
            return None
        at, _, self.stopped = min(found)
        return at

    def _possible_stop(self) -> int:
        """How many characters at the end could be the beginning of a stop string."""
        for length in range(min(len(self._text), max(map(len, self._stop)) - 1), 0, -1):
            end = self._text[-length:]
            if any(stop.startswith(end) for stop in self._stop):
                return length
        return 0

    def _cut(self, at: int) -> Piece | None:
        text, kept = self._text[:at], [held for held in self._held if held.start < at]
        self._text, self._held = "", []
        return self._make(text, kept) if kept else None

    def _release(self, end: int) -> Piece | None:
        if end <= 0:
            return None
        text, self._text = self._text[:end], self._text[end:]
        ready = [held for held in self._held if held.start < end]
        self._held = [held._replace(start=held.start - end) for held in self._held[len(ready) :]]
        return self._make(text, ready)

    def _make(self, text: str, held: list[_Held]) -> Piece:
        logprobs = tuple(
            self._logprob(item.raw, item.logprob) for item in held if item.logprob is not None
        )
        return Piece(text, tuple(item.token for item in held), logprobs)

    def _logprob(self, raw: bytes, logprob: Logprob) -> TokenLogprob:
        top = tuple(
            (_shown(other), value, other)
            for token, value in logprob.top
            for other in (self._piece(token),)
        )
        return TokenLogprob(_shown(raw), logprob.chosen, raw, top)


def _shown(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")
