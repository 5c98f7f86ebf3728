"""Answers on the screen: one that is being written, and finished ones as a single widget each."""

from __future__ import annotations

import asyncio
import time
from io import StringIO
from typing import ClassVar, Final

from markdown_it import MarkdownIt
from rich.console import Console, ConsoleOptions, RenderResult
from rich.markdown import Heading as RichHeading
from rich.markdown import Markdown as RichMarkdown
from rich.markdown import MarkdownElement
from rich.style import Style
from rich.text import Text
from rich.theme import Theme
from textual.content import Content
from textual.widgets import Markdown

from tui.chat.view import ANSWER_CHARS

FRAMES_PER_S: Final = 20.0
SHARE: Final = 0.15  # of one CPU that drawing a growing answer may take
LONGEST_PAUSE_S: Final = 2.0


def parser() -> MarkdownIt:
    """Markdown with tables; HTML stays text that one can read, and nothing becomes a link by itself."""
    return MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])


class Growing(Markdown):
    """Markdown that comes piece by piece; links are shown, never opened."""

    def __init__(self) -> None:
        super().__init__("", parser_factory=parser, open_links=False)


class PacedWriter:
    """Draws what came at most 20 times a second, and less often when drawing takes its time."""

    def __init__(self, widget: Markdown) -> None:
        self._widget = widget
        self._waiting: list[str] = []
        self._length = 0
        self._more = asyncio.Event()

    def write(self, text: str) -> None:
        room = ANSWER_CHARS - self._length
        self._length += len(text)
        if room > 0:
            self._waiting.append(text[:room])
            self._more.set()

    async def run(self) -> None:
        """Until cancelled; `flush` draws what is left then."""
        while True:
            await self._more.wait()
            began, used = time.monotonic(), time.thread_time()
            await self.flush()
            await asyncio.sleep(1 / FRAMES_PER_S)
            pause = (time.thread_time() - used) / SHARE - (time.monotonic() - began)
            await asyncio.sleep(min(LONGEST_PAUSE_S, max(0.0, pause)))

    async def flush(self) -> None:
        self._more.clear()
        text = "".join(self._waiting)
        self._waiting.clear()
        if text and self._widget.is_attached:
            await asyncio.shield(self._widget.append(text))


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
        super().__init__("", code_theme=code_theme, hyperlinks=False)
        self.markup = text
        self.parsed = parser().parse(text)


def rendered(text: str, width: int, colours: dict[str, str], *, dark: bool) -> list[Content]:
    """Finished Markdown as lines of at most `width` cells."""
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
    lines = console.render_lines(_Plain(text[:ANSWER_CHARS], code_theme), pad=False)
    return [
        Content.from_rich_text(
            Text.assemble(*((part.text, part.style or Style.null()) for part in line), end="")
        )
        for line in lines
    ]


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
