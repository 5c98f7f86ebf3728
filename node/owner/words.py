"""24 words for 32 random bytes, so that a person can keep an owner's secret on paper."""

from __future__ import annotations

import unicodedata
from difflib import get_close_matches
from typing import TYPE_CHECKING

from node.owner.errors import OwnerError

if TYPE_CHECKING:
    from mnemonic import Mnemonic

WORDS = 24
ENTROPY_BYTES = 32
_TEXT_CHARS = 1000  # 24 words of the list need at most 215


def to_words(entropy: bytes) -> str:
    """The 24 English words for `entropy`; the last one carries a check of all others."""
    if len(entropy) != ENTROPY_BYTES:
        raise ValueError(f"an owner's secret has {ENTROPY_BYTES} bytes, not {len(entropy)}")
    return str(_list().to_mnemonic(entropy))


def from_words(text: str) -> bytes:
    """The secret that the words stand for; case and spacing do not matter.

    Raises `OwnerError` ("bad_words") that says which word is wrong, and never repeats the right ones.
    """
    if len(text) > _TEXT_CHARS:
        raise OwnerError("bad_words", f"that is too long for {WORDS} words")
    words = unicodedata.normalize("NFKD", text).lower().split()
    if len(words) != WORDS:
        raise OwnerError("bad_words", f"expected {WORDS} words, got {len(words)}")
    known = _list().wordlist
    for place, word in enumerate(words, 1):
        if word not in known:
            raise OwnerError("bad_words", _unknown_word(place, word, known))
    try:
        return bytes(_list().to_entropy(words))
    except ValueError as error:
        raise OwnerError(
            "bad_words",
            "every word is on the list, but together they do not fit their check:"
            " one is another word of the list, or two changed places; compare with your paper",
        ) from error


def _unknown_word(place: int, word: str, known: list[str]) -> str:
    near = get_close_matches(word, known, n=3)
    guess = f"; did you mean {' or '.join(near)}?" if near else ""
    return f"word {place} ({word[:20]!r}) is not on the list of words{guess}"


def _list() -> Mnemonic:
    from mnemonic import Mnemonic  # read when words are needed, not at every start

    return Mnemonic("english")
