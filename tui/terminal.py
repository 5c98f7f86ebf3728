"""What the terminal can show, and the last gate before it: nothing but plain text passes."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from rich.cells import cell_len
from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

_LINES: Final = str.maketrans(
    dict.fromkeys("─━═┄┅┈┉╌╍▁▔▂▃", "-")
    | dict.fromkeys("│┃║┆┇┊┋╎╏▏▕▎▍▌▐", "|")
    | dict.fromkeys("┌┐└┘├┤┬┴┼╭╮╰╯┏┓┗┛┡┢╇┩╞╡╪┠┨┯┷┿╔╗╚╝╠╣╦╩╬", "+")
    | dict.fromkeys("•●◦○▪▫■□⏺", "*")
    | dict.fromkeys("▸▶▷▹→", ">")
    | {"…": ".", "“": '"', "”": '"', "„": '"', "‘": "'", "’": "'", "–": "-", "—": "-"}
    | {"←": "<", "↑": "^", "↓": "v", "×": "x", "█": "#", "▊": "#", "▉": "#", "\u00a0": " "}
    | {"✓": "y", "✗": "x"}
)


def speaks_utf8(environ: Mapping[str, str]) -> bool:
    """As the locale's variables say, in their order of precedence."""
    for name in ("LC_ALL", "LC_CTYPE", "LANG"):
        if value := environ.get(name):
            return "utf8" in value.lower().replace("-", "")
    return False


class PlainText(LineFilter):
    """No control or direction-changing character reaches the terminal, whoever wrote it.

    With `ascii_only`, what a terminal without UTF-8 cannot show becomes something that it can, of
    the same width.
    """

    def __init__(self, *, ascii_only: bool = False) -> None:
        super().__init__()
        self._ascii_only = ascii_only

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        return [self._plain(segment) for segment in segments]

    def _plain(self, segment: Segment) -> Segment:
        text, style, control = segment
        if control or (text.isascii() and text.isprintable()):
            return segment
        plain = "".join(map(_shown, text))
        return Segment(in_ascii(plain) if self._ascii_only else plain, style)


@lru_cache(maxsize=4096)
def _shown(character: str) -> str:
    """A space for what has a width and must not be sent, nothing for what has none."""
    category = unicodedata.category(character)
    if character == "\u200d" or category not in ("Cc", "Cf", "Cs", "Co"):
        return character
    return " " * cell_len(character)


def in_ascii(text: str) -> str:
    """The same text in as many cells, of ASCII only."""
    if text.isascii():
        return text
    return "".join(map(_ascii_for, text.translate(_LINES)))


@lru_cache(maxsize=4096)
def _ascii_for(character: str) -> str:
    if character.isascii():
        return character
    base = unicodedata.normalize("NFKD", character)[:1]
    width = cell_len(character)
    return base if base.isascii() and width == 1 else "?" * width
