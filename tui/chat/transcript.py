"""The messages of one conversation, the latest ones with a widget each; older ones on demand."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import ClassVar, Final

import msgspec
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.css.query import DOMQuery
from textual.message import Message
from textual.widget import Widget

from protocols.http.control import ChatMessage
from tui.chat.turns import Done, Live, Question
from tui.chat.view import Window
from tui.frame import Line

LAYOUT_S: Final = 0.02


class Transcript(VerticalScroll):
    """Scrolls with the answer until the person scrolls; never holds more than 40 messages."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "scroll_down"),
        Binding("k", "scroll_up"),
        Binding("g", "scroll_home"),
        Binding("G,shift+g", "scroll_end"),
        Binding("y", "copy('assistant')"),
        Binding("c", "copy('user')"),
        Binding("enter,i", "leave"),
    ]

    class Left(Message):
        """Back to the prompt."""

    class Copied(Message):
        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    def __init__(self) -> None:
        super().__init__(id="transcript")
        self.messages: list[ChatMessage] = []
        self.live: Live | None = None
        self._window = Window()
        self._moving = asyncio.Lock()
        self._turning = False  # older or newer messages are on their way

    async def show(self, messages: Sequence[ChatMessage], welcome: Widget | None = None) -> None:
        """These messages instead of what is there."""
        async with self._moving:
            if not self.is_attached:
                return
            self.messages = list(messages)
            self.live = None
            self._window = Window.at_end(len(self.messages))
            await self.remove_children()
            shown: list[Widget] = [Line(id="older"), *self._widgets(self._window)]
            await self.mount(*shown, *([welcome] if welcome else []))
            self._say_older()
            self.anchor()

    async def begin(self, question: ChatMessage, answer: ChatMessage) -> Live:
        """A question that was just stored, and the answer that is about to come."""
        async with self._moving:
            await self._settle()
            await self.query("#welcome").remove()
            await self._go_to_end()
            self.messages += [question, answer]
            self.live = Live(answer)
            await self.mount(Question(question), self.live)
            self._window = Window(self._window.start, len(self.messages))
            await self._drop_oldest()
            self.anchor()
            return self.live

    def ended(self, message: ChatMessage) -> None:
        """What the answer became: it is drawn anew from this when its place comes up again."""
        if self.messages and self.messages[-1].id == message.id:
            self.messages[-1] = message

    async def _settle(self) -> None:
        """The last answer becomes a single widget."""
        live, self.live = self.live, None
        if live is not None and live.is_attached:
            message = live.message
            if not message.text:
                message = msgspec.structs.replace(message, text=live.text)
            await self.mount(Done(message), after=live)
            await live.remove()

    async def _go_to_end(self) -> None:
        if self._window.end < len(self.messages):
            await self._turns().remove()
            self._window = Window.at_end(len(self.messages))
            await self.mount(*self._widgets(self._window))

    async def _drop_oldest(self) -> None:
        extra = self._window.end - self._window.start - Window.MOST
        if extra > 0:
            await self.remove_children(list(self._turns())[:extra])
            self._window = Window(self._window.start + extra, self._window.end)
        self._say_older()

    def _turns(self) -> DOMQuery[Widget]:
        return self.query(".turn")

    def _widgets(self, window: Window) -> list[Widget]:
        return [_widget(each) for each in self.messages[window.start : window.end]]

    def _say_older(self) -> None:
        found = self.query("#older")
        if found:
            line = found.first(Line)
            line.display = self._window.start > 0
            line.put(Content(f"{self._window.start} older messages: scroll up to see them"))

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        self._look_at_edges()

    def action_scroll_up(self) -> None:
        super().action_scroll_up()
        self.call_after_refresh(self._look_at_edges)

    def action_scroll_home(self) -> None:
        super().action_scroll_home()
        self.call_after_refresh(self._look_at_edges)

    def action_page_up(self) -> None:
        super().action_page_up()
        self.call_after_refresh(self._look_at_edges)

    def _look_at_edges(self) -> None:
        """More messages, where the person came to the end of those that have widgets."""
        if self._turning or self._moving.locked() or not self.messages:
            return
        if self.scroll_y <= 0 and self._window.start > 0:
            self._turning = True
            self.run_worker(self._show_older(), group="turning")
        elif self.scroll_y >= self.max_scroll_y and self._window.end < len(self.messages):
            self._turning = True
            self.run_worker(self._show_newer(), group="turning")

    def _turned(self, place: Widget, *, top: bool, patience: int = 50) -> None:
        """What was at the edge stays where it is on the screen, once the rest has its place."""
        if top and place.virtual_region.y <= 1 and patience and place.is_attached:
            again = partial(self._turned, place, top=top, patience=patience - 1)
            self.set_timer(LAYOUT_S, again)
            return
        self.scroll_to_widget(place, animate=False, top=top)
        self._turning = False

    async def _show_older(self) -> None:
        """Ten more above."""
        async with self._moving:
            old, new = self._window, self._window.older()
            turns = list(self._turns())
            first = turns[0]
            above = self._widgets(Window(new.start, old.start))
            await self.mount(*above, before=first)
            if old.end > new.end:
                await self.remove_children(turns[new.end - old.end :])
            self._window = new
            self._say_older()
            self.call_after_refresh(self._turned, first, top=True)

    async def _show_newer(self) -> None:
        async with self._moving:
            old, new = self._window, self._window.newer(len(self.messages))
            turns = list(self._turns())
            await self.mount(*self._widgets(Window(old.end, new.end)), after=turns[-1])
            await self.remove_children(turns[: new.start - old.start])
            self._window = new
            self._say_older()
            self.call_after_refresh(self._turned, turns[-1], top=False)

    def action_copy(self, role: str) -> None:
        """The source of the last message of this role."""
        for message in reversed(self.messages):
            if message.role == role:
                self.post_message(self.Copied(message.text))
                return

    def action_leave(self) -> None:
        self.post_message(self.Left())


def _widget(message: ChatMessage) -> Widget:
    return Question(message) if message.role in ("user", "system") else Done(message)
