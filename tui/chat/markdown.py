"""Markdown as lines of styled text: one widget for a whole answer, however varied it is.

Textual's own Markdown widget makes a widget of every paragraph, list item and table cell; a long answer
becomes thousands of them, and each new one costs more than the last (measured: 4 ms a token).
"""

from __future__ import annotations

from io import StringIO
from typing import ClassVar, Final

from markdown_it import MarkdownIt
from rich.console import Console, ConsoleOptions, RenderResult
from rich.markdown import Heading as RichHeading
from rich.markdown import Markdown as RichMarkdown
from rich.markdown import MarkdownElement
from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from rich.theme import Theme
from textual.content import Content

COLOURS: Final = ("accent", "secondary", "muted", "line", "code", "foreground")
PART_LINES: Final = 40  # of source; a growing answer is drawn anew in parts of about this length


def parser() -> MarkdownIt:
    """Markdown with tables; HTML stays text that one can read, and nothing becomes a link by itself."""
    return MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])


def settled(text: str) -> tuple[str, str]:
    """Blocks at the start that later text cannot change, once there are enough of them; the rest."""
    starts = [token.map[0] for token in parser().parse(text) if token.level == 0 and token.map]
    if not starts or starts[-1] < PART_LINES:
        return "", text
    lines = text.splitlines(keepends=True)
    return "".join(lines[: starts[-1]]), "".join(lines[starts[-1] :])


class _Heading(RichHeading):
    """At the left edge and without a box."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        self.text.justify = "left"
        yield self.text


class _Plain(RichMarkdown):
    elements: ClassVar[dict[str, type[MarkdownElement]]] = {
        **RichMarkdown.elements,
        "heading_open": _Heading,
    }

    def __init__(self, text: str, code_theme: str) -> None:
        super().__init__("", code_theme=code_theme, hyperlinks=False)  # a link's target is shown
        self.markup = text
        self.parsed = parser().parse(text)


def rendered(text: str, width: int, colours: dict[str, str], *, dark: bool) -> list[Content]:
    """Markdown as lines of at most `width` cells, without empty ones at either end."""
    console = Console(
        file=StringIO(),
        width=max(4, width),
        force_terminal=True,
        color_system="truecolor",
        legacy_windows=False,
        theme=_theme(colours),
        _environ={},
    )
    code_theme = "monokai" if dark else "friendly"
    lines = [_line(parts) for parts in console.render_lines(_Plain(text, code_theme), pad=False)]
    while lines and not lines[-1].plain.strip():
        lines.pop()
    while lines and not lines[0].plain.strip():
        lines.pop(0)
    return lines


def _line(parts: list[Segment]) -> Content:
    """One line; of the spaces at its end only those that show a background."""
    text = Text.assemble(*((part.text, part.style or Style.null()) for part in parts), end="")
    if parts and not (parts[-1].style and parts[-1].style.bgcolor):
        text.rstrip()
    return Content.from_rich_text(text)


def _theme(colours: dict[str, str]) -> Theme:
    """The styles of Markdown's parts in the interface's own colours."""
    accent, muted, code = colours["accent"], colours["muted"], colours["code"]
    return Theme(
        {
            **{f"markdown.h{level}": f"bold {accent}" for level in range(1, 7)},
            "markdown.code": f"{colours['secondary']} on {code}",
            "markdown.code_block": f"{colours['foreground']} on {code}",
            "markdown.item.bullet": f"bold {accent}",
            "markdown.item.number": f"bold {accent}",
            "markdown.block_quote": muted,
            "markdown.hr": colours["line"],
            "markdown.link": f"underline {colours['secondary']}",
            "markdown.link_url": f"underline {muted}",
            "markdown.table.border": colours["line"],
            "markdown.table.header": f"bold {accent}",
        }
    )
