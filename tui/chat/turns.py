"""One message each: a question, an answer that is being written, a finished answer."""

from __future__ import annotations

import msgspec
from textual.app import ComposeResult, RenderResult
from textual.containers import Vertical
from textual.content import Content
from textual.geometry import Size
from textual.widget import Widget

from protocols.http.control import ChatMessage
from tui.chat.markdown import COLOURS, rendered, settled
from tui.chat.pacing import Pacer
from tui.chat.view import ANSWER_CHARS, answered, shortened, speaker
from tui.frame import Line


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


class Written(Widget):
    """Markdown in a single widget, drawn anew only for another width or theme."""

    def __init__(self, text: str, *, classes: str = "") -> None:
        super().__init__(classes=f"written {classes}".strip())
        self._source = text
        self._drawn: tuple[tuple[object, ...], Content, int] | None = None

    def put(self, text: str) -> None:
        self._source = text
        self._draw_again()

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return self._content(width)[1] if width else 0

    def render(self) -> RenderResult:
        return self._content(self.content_size.width or 80)[0]

    def on_mount(self) -> None:
        self.watch(self.app, "theme", self._draw_again, init=False)

    def _draw_again(self) -> None:
        self._drawn = None
        self.clear_cached_dimensions()
        self.refresh(layout=True)

    def _content(self, width: int) -> tuple[Content, int]:
        key = (width, self.app.theme)
        if self._drawn is None or self._drawn[0] != key:
            lines = self._lines(width)
            self._drawn = (key, Content("\n").join(lines), len(lines))
        return self._drawn[1], self._drawn[2]

    def _lines(self, width: int) -> list[Content]:
        variables = self.app.theme_variables
        colours = {name: _plain(variables.get(name, "")) for name in COLOURS}
        return rendered(self._source, width, colours, dark=self.app.current_theme.dark)


class Done(Written):
    """A finished answer: who, what, how it went."""

    def __init__(self, message: ChatMessage) -> None:
        super().__init__(message.text[:ANSWER_CHARS], classes="turn answer")
        self.message = message

    def _lines(self, width: int) -> list[Content]:
        style = "$error" if self.message.state == "failed" else "$muted"
        who = Content.styled(speaker(self.message), "$accent bold").wrap(width)
        facts = Content.styled(answered(self.message), style).wrap(width)
        return [*who, *super()._lines(width), *facts]


class Live(Vertical):
    """An answer that is being written: parts that are settled, and the end that still changes."""

    def __init__(self, message: ChatMessage) -> None:
        super().__init__(classes="turn answer live")
        self.message = message
        self._text: list[str] = []
        self._length = 0
        self._waiting: list[str] = []
        self._end = Written("")
        self._end_source = ""
        self._facts = Line(answered(message, live=True), classes="facts")
        self._pacer = Pacer(self._draw)

    @property
    def text(self) -> str:
        """Everything that came, drawn or not yet."""
        return "".join(self._text)

    def compose(self) -> ComposeResult:
        yield Line(speaker(self.message), classes="speaker")
        yield self._end
        yield self._facts

    def on_mount(self) -> None:
        self._pacer.start()

    async def on_unmount(self) -> None:
        await self._pacer.stop()

    def write(self, text: str) -> None:
        self._text.append(text)
        room = ANSWER_CHARS - self._length
        self._length += len(text)
        if room > 0:
            self._waiting.append(text[:room])
            self._pacer.more()

    async def finish(self, message: ChatMessage) -> None:
        """Draw what is left, and say how it ended."""
        await self._pacer.stop()
        self.message = message
        if self.is_attached:
            await self._draw()
            self._facts.put(answered(message))
            self._facts.set_class(message.state == "failed", "-failed")

    async def _draw(self) -> None:
        whole, self._end_source = settled(self._end_source + "".join(self._waiting))
        self._waiting.clear()
        if self.is_attached:
            if whole:
                await self.mount(Written(whole, classes="part"), before=self._end)
            self._end.put(self._end_source)


def _plain(colour: str) -> str:
    """What Rich can read: a hex colour without transparency, or the terminal's own."""
    return colour[:7] if colour.startswith("#") else "default"


def unfinished(message: ChatMessage, text: str) -> ChatMessage:
    """An answer that was stopped: exactly what came."""
    return msgspec.structs.replace(message, text=text, state="unfinished")
