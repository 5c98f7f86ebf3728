"""One message each: a question, an answer that is being written, a finished answer."""

from __future__ import annotations

import asyncio
from typing import Final

import msgspec
from textual.app import ComposeResult, RenderResult
from textual.containers import Vertical
from textual.content import Content
from textual.geometry import Size
from textual.widget import Widget

from protocols.http.control import ChatMessage
from tui.chat.markdown import Growing, PacedWriter, rendered
from tui.chat.view import answered, shortened, speaker
from tui.frame import Line

COLOURS: Final = ("accent", "secondary", "muted", "line", "code", "foreground")


class Question(Line):
    """What the person said, shortened on the screen only."""

    def __init__(self, message: ChatMessage) -> None:
        super().__init__(classes="turn question")
        self.message = message

    def on_mount(self) -> None:
        shown, rest = shortened(self.message.text)
        parts = [(f"{speaker(self.message)}\n", "$secondary bold"), (shown, "")]
        parts += [(f"\n{rest}", "$muted")] if rest else []
        self.put(Content.assemble(*parts))


class Live(Vertical):
    """An answer that is being written."""

    def __init__(self, message: ChatMessage) -> None:
        super().__init__(classes="turn answer live")
        self.message = message
        self._growing = Growing()
        self._writer = PacedWriter(self._growing)
        self._drawing: asyncio.Task[None] | None = None
        self._text: list[str] = []

    @property
    def text(self) -> str:
        """Everything that came, drawn or not yet."""
        return "".join(self._text)

    def compose(self) -> ComposeResult:
        yield Line(speaker(self.message), classes="speaker")
        yield self._growing
        yield Line(answered(self.message), classes="facts")

    def on_mount(self) -> None:
        self._drawing = asyncio.create_task(self._writer.run())

    async def on_unmount(self) -> None:
        await self._end_drawing()

    def write(self, text: str) -> None:
        self._text.append(text)
        self._writer.write(text)

    async def finish(self, message: ChatMessage) -> None:
        """Draw what is left, and say how it ended."""
        await self._end_drawing()
        self.message = message
        if self.is_attached:
            await self._writer.flush()
            self.query_one(".speaker", Line).put(speaker(message))
            facts = self.query_one(".facts", Line)
            facts.put(answered(message))
            facts.set_class(message.state == "failed", "-failed")
            self._measure_again()

    def _measure_again(self) -> None:
        """Blocks that changed while they were being mounted keep an old height: let it go."""
        for block in self._growing.query("*"):
            block.clear_cached_dimensions()
            block.refresh(layout=True)

    async def _end_drawing(self) -> None:
        task, self._drawing = self._drawing, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


class Done(Widget):
    """A finished answer: one widget, however long and varied it is."""

    def __init__(self, message: ChatMessage) -> None:
        super().__init__(classes="turn answer done")
        self.message = message
        self._drawn: tuple[tuple[object, ...], Content, int] | None = None

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return self._content(width)[1] if width else 0

    def render(self) -> RenderResult:
        return self._content(self.content_size.width or 80)[0]

    def on_mount(self) -> None:
        self.watch(self.app, "theme", self._new_colours, init=False)

    def _new_colours(self) -> None:
        self._drawn = None
        self.refresh(layout=True)

    def _content(self, width: int) -> tuple[Content, int]:
        key = (width, self.app.theme)
        if self._drawn is None or self._drawn[0] != key:
            lines = self._lines(width)
            self._drawn = (key, Content("\n").join(lines), len(lines))
        return self._drawn[1], self._drawn[2]

    def _lines(self, width: int) -> list[Content]:
        message = self.message
        variables = self.app.theme_variables
        colours = {name: _plain(variables.get(name, "")) for name in COLOURS}
        body = rendered(message.text, width, colours, dark=self.app.current_theme.dark)
        facts = Content.styled(
            answered(message), "$error" if message.state == "failed" else "$muted"
        )
        return [Content.styled(speaker(message), "$accent bold"), *body, *facts.wrap(width)]


def _plain(colour: str) -> str:
    """What Rich can read: a hex colour without transparency, or the terminal's own."""
    return colour[:7] if colour.startswith("#") else "default"


def unfinished(message: ChatMessage, text: str) -> ChatMessage:
    """An answer that was stopped: exactly what came."""
    return msgspec.structs.replace(message, text=text, state="unfinished")
