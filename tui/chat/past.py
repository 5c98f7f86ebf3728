"""Past conversations: a list beside the chat where there is room, and one to search in."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList
from textual.widgets.option_list import Option

from protocols.http.control import Conversation
from tui.chat.view import past
from tui.frame import Line

LISTED = 200
EMPTY = "No conversations yet: Esc, then type and press Enter."


class PastList(OptionList):
    """Conversations, the latest first. An option's id is the conversation's."""

    def __init__(self, id: str) -> None:
        super().__init__(id=id, markup=False)
        self._shown: list[tuple[str, str, str]] = []

    def fill(
        self, conversations: Sequence[Conversation], query: str = "", current: str | None = None
    ) -> int:
        """Show those that fit the query; how many.

        The mark stays on what it was on, else on the first; with `current`, on that one or on none,
        as long as nobody moves it.
        """
        found = past(conversations, query, time.time())
        marked = self.chosen
        if found != self._shown:
            self._shown = found
            self.clear_options()
            self.add_options([Option(_line(when, title), id) for id, when, title in found])
        if current is None or self.has_focus:
            self._mark(marked or "", other=0)
        else:
            self._mark(current, other=None)
        return len(found)

    def on_focus(self) -> None:
        if self.highlighted is None and self._shown:
            self.highlighted = 0

    def _mark(self, id: str, other: int | None) -> None:
        ids = [each[0] for each in self._shown]
        self.highlighted = ids.index(id) if id in ids else (other if ids else None)

    @property
    def chosen(self) -> str | None:
        """The id of the marked conversation."""
        place = self.highlighted
        return self._shown[place][0] if place is not None else None


def _line(when: str, title: str) -> Content:
    return Content.assemble((f"{when:<8}", "$muted"), title)


class PastScreen(ModalScreen[tuple[str, str] | None]):
    """Find one and open it: answers `("open", id)`, `("delete", id)` or None."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,ctrl+o,ctrl+c", "leave"),
        Binding("down", "move(1)", priority=True),
        Binding("up", "move(-1)", priority=True),
        Binding("ctrl+d", "remove", priority=True),
    ]

    def __init__(self, conversations: Sequence[Conversation]) -> None:
        super().__init__()
        self._conversations = conversations

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog past"):
            yield Line("Past conversations", classes="question")
            yield Input(placeholder="words of the title", id="search")
            yield PastList("found")
            yield Line(EMPTY, classes="hint", id="nothing")
            yield Line("Enter open   Ctrl+D delete   Esc close", classes="choices")

    def on_mount(self) -> None:
        self._fill("")

    def on_input_changed(self, event: Input.Changed) -> None:
        self._fill(event.value)

    def _fill(self, query: str) -> None:
        count = self._list.fill(self._conversations, query)
        nothing = self.query_one("#nothing", Line)
        nothing.display = count == 0
        nothing.put(f"No title holds “{query.strip()}”." if query.strip() else EMPTY)
        self._list.display = count > 0

    @property
    def _list(self) -> PastList:
        return self.query_one(PastList)

    def on_input_submitted(self) -> None:
        self._answer("open")

    def on_option_list_option_selected(self) -> None:
        self._answer("open")

    def _answer(self, what: str) -> None:
        if chosen := self._list.chosen:
            self.dismiss((what, chosen))

    def action_move(self, step: int) -> None:
        if step > 0:
            self._list.action_cursor_down()
        else:
            self._list.action_cursor_up()

    def action_remove(self) -> None:
        self._answer("delete")

    def action_leave(self) -> None:
        self.dismiss(None)
