"""The guard that keeps an answer to a grammar in UTF-8."""

from __future__ import annotations

import codecs

from hypothesis import given, settings
from hypothesis import strategies as st

from models.backends.llama_utf8 import ByteKinds, Utf8Guard

PIECES = [bytes([byte]) for byte in range(256)] + [b"", b"ab", "é".encode(), b"\xa9x", b"\x80\x80"]
KINDS = ByteKinds(len(PIECES), PIECES.__getitem__)


def guard() -> Utf8Guard:
    return Utf8Guard(KINDS, PIECES.__getitem__)


@settings(max_examples=60)
@given(st.text())
def test_every_text_is_accepted_byte_by_byte(text: str) -> None:
    made = guard()
    for byte in text.encode():
        assert made.fitting[byte]
        assert made.accepts(byte)


@settings(max_examples=200)
@given(st.lists(st.integers(0, len(PIECES) - 1), max_size=12))
def test_what_is_accepted_is_the_beginning_of_a_text(tokens: list[int]) -> None:
    made, raw = guard(), b""
    for token in tokens:
        if made.fitting[token] and made.accepts(token):
            raw += PIECES[token]
    codecs.getincrementaldecoder("utf-8")("strict").decode(raw)  # raises when it is none


def test_a_character_cannot_end_early_or_wrongly() -> None:
    made = guard()
    assert made.accepts(0xE0)
    assert not made.fitting[ord("a")]
    assert not made.fitting[PIECES.index(b"")], "the answer cannot end inside a character"
    assert made.fitting[0x80]
    assert not made.accepts(0x80), "an overlong form"
    assert made.accepts(0xA0)
    assert made.fitting[0x80]
    assert not made.fitting[PIECES.index(b"\x80\x80")], "one byte too many"
    assert made.accepts(0x80)
    assert made.fitting[PIECES.index(b"")]
