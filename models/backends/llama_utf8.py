"""Keeps an answer to a grammar in UTF-8: llama.cpp takes any byte for the rest of a character.

First come masks over the whole vocabulary, from how many continuation bytes a token begins with.
They leave little to refuse: then the strict decoder has the last word about the chosen token.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Mask = NDArray[np.bool_]

_MOST_REST = 3  # continuation bytes of one character


class ByteKinds:
    """For every token, whether it can follow when so many bytes of a character are missing."""

    def __init__(self, tokens: int, piece: Callable[[int], bytes]) -> None:
        begins = np.zeros(tokens, np.int8)  # with so many continuation bytes
        only = np.zeros(tokens, np.bool_)  # they are all it has
        for token in range(tokens):
            raw = piece(token)
            count = len(raw) - len(raw.lstrip(_CONTINUATIONS))
            begins[token] = min(count, _MOST_REST + 1)
            only[token] = count == len(raw) > 0
        self.fitting: tuple[Mask, ...] = tuple(
            (begins == missing) | (only & (begins < missing) & (begins > 0))
            for missing in range(_MOST_REST + 1)
        )


_CONTINUATIONS = bytes(range(0x80, 0xC0))


class Utf8Guard:
    """The bytes of one answer so far."""

    def __init__(self, kinds: ByteKinds, piece: Callable[[int], bytes]) -> None:
        self._kinds = kinds
        self._piece = piece
        self._begun = b""  # of a character that is not whole yet

    @property
    def fitting(self) -> Mask:
        """The tokens that may come next."""
        return self._kinds.fitting[_missing(self._begun)]

    def accepts(self, token: int) -> bool:
        """Whether the answer stays UTF-8 with this token; it is part of it then."""
        found = self._begun + self._piece(token)
        whole = _whole(found)
        if whole is None:
            return False
        self._begun = found[whole:]
        return True


def _missing(begun: bytes) -> int:
    if not begun:
        return 0
    first = begun[0]
    return (2 if first < 0xE0 else 3 if first < 0xF0 else 4) - len(begun)


def _whole(raw: bytes) -> int | None:
    """How many bytes at the beginning are whole characters; None when some cannot become one."""
    try:
        raw.decode()
    except UnicodeDecodeError as error:
        return error.start if error.reason == "unexpected end of data" else None
    return len(raw)
