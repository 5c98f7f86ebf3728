"""Where the person writes: Enter sends, Ctrl+J begins a line, Up brings back what was asked."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from textual import events
from textual.document._document import EditResult
from textual.document._edit import Edit
from textual.message import Message
from textual.widgets import TextArea

from protocols.text import clean
from tui.chat.pastes import History, Pastes

NEW_LINE: Final = ("ctrl+j", "shift+enter", "alt+enter", "ctrl+enter")


class Prompt(TextArea):
    """A draft of any length; large pastes show as stand-ins and are sent whole."""

    @dataclass
    class Sent(Message):
        text: str

    def __init__(self) -> None:
        super().__init__(id="prompt", highlight_cursor_line=False, compact=True)
        self.past = History()
        self._pastes = Pastes()

    @property
    def draft(self) -> str:
        """What would be sent now."""
        return self._pastes.expand(self.text)

    def put(self, text: str) -> None:
        """Instead of what is there; the cursor at its end."""
        self._pastes.clear()
        self.load_text(self._pastes.keep(text) if Pastes.is_large(text) else text)
        self.move_cursor(self.document.end)

    def empty(self) -> None:
        self.put("")
        self.past.leave()

    async def _on_key(self, event: events.Key) -> None:
        if event.key == "enter":
            event.stop()
            event.prevent_default()
            if self.draft.strip():
                self.post_message(self.Sent(self.draft))
        elif event.key in NEW_LINE:
            event.stop()
            event.prevent_default()
            self.insert("\n")
        elif event.is_printable:
            self.past.leave()

    async def _on_paste(self, event: events.Paste) -> None:
        event.stop()
        event.prevent_default()
        self._take(event.text)

    def action_paste(self) -> None:
        self._take(self.app.clipboard)

    def _take(self, pasted: str) -> None:
        text = clean(pasted.replace("\r\n", "\n").replace("\r", "\n"))
        if text:
            self.past.leave()
            start, end = self.selection
            self.replace(self._pastes.keep(text) if Pastes.is_large(text) else text, start, end)
            self.scroll_cursor_visible()

    def action_cursor_up(self, select: bool = False) -> None:
        if not select and (not self.text or self.past.browsing) and self.cursor_location[0] == 0:
            older = self.past.older()
            if older is not None:
                self.put(older)
        else:
            super().action_cursor_up(select)

    def action_cursor_down(self, select: bool = False) -> None:
        last = self.cursor_location[0] == self.document.line_count - 1
        if not select and self.past.browsing and last:
            self.put(self.past.newer())
        else:
            super().action_cursor_down(select)

    def edit(self, edit: Edit) -> EditResult:
        """Stand-ins go whole: half of one would be sent as it stands."""
        (row, left), (last, right) = edit.top, edit.bottom
        if row == last:
            left, right = self._pastes.around(self.document[row], left, right)
        else:
            left, _ = self._pastes.around(self.document[row], left, len(self.document[row]))
            _, right = self._pastes.around(self.document[last], 0, right)
        if ((row, left), (last, right)) != (edit.top, edit.bottom):
            edit = replace(edit, from_location=(row, left), to_location=(last, right))
        return super().edit(edit)
