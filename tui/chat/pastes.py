"""Large pastes: a short stand-in is edited, the whole text is sent."""

from __future__ import annotations

from typing import Final

from tui.chat.view import measure

LARGE_LINES: Final = 12
LARGE_CHARS: Final = 2000

Place = tuple[int, int]  # row and column


class Pastes:
    """The texts behind the stand-ins of one draft."""

    def __init__(self) -> None:
        self._whole: dict[str, str] = {}

    @staticmethod
    def is_large(text: str) -> bool:
        return len(text) > LARGE_CHARS or text.count("\n") >= LARGE_LINES

    def keep(self, text: str) -> str:
        """The stand-in for this text."""
        token = f"[Paste {len(self._whole) + 1}: {measure(text)}]"
        self._whole[token] = text
        return token

    def expand(self, draft: str) -> str:
        """The draft with every text in place of its stand-in, each where it was pasted."""
        found = sorted((place, token) for token in self._whole if (place := draft.find(token)) >= 0)
        parts, at = [], 0
        for place, token in found:
            if place >= at:
                parts += [draft[at:place], self._whole[token]]
                at = place + len(token)
        return "".join([*parts, draft[at:]])

    def clear(self) -> None:
        self._whole.clear()

    def around(self, line: str, start: int, end: int) -> tuple[int, int]:
        """A range of columns, widened so that it holds stand-ins whole or not at all.

        A place inside of one (an insertion there) moves behind it.
        """
        for token in self._whole:
            left = line.find(token)
            right = left + len(token)
            if left < 0 or end <= left or start >= right:
                continue
            if start == end:
                start = end = right
            else:
                start, end = min(start, left), max(end, right)
        return start, end


class History:
    """What was asked before; the draft of now is the last entry."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._at = 0

    def fill(self, texts: list[str]) -> None:
        self._texts = list(texts)
        self.leave()

    def add(self, text: str) -> None:
        if not self._texts or self._texts[-1] != text:
            self._texts.append(text)
        self.leave()

    def leave(self) -> None:
        self._at = len(self._texts)

    @property
    def browsing(self) -> bool:
        return self._at < len(self._texts)

    def older(self) -> str | None:
        if self._at == 0:
            return None
        self._at -= 1
        return self._texts[self._at]

    def newer(self) -> str:
        self._at = min(self._at + 1, len(self._texts))
        return self._texts[self._at] if self.browsing else ""
