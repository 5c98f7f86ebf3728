"""Questions in front of a screen: yes or no, one line of text, and the page of keys."""

from __future__ import annotations

from typing import ClassVar, Final

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Input

from protocols.text import clean
from tui.frame import Line

HELP: Final = """\
Anywhere
  F2, F3          chat, models (1 and 2 outside text)
  Ctrl+P          all commands, by name (: outside text)
  F1              this page (? outside text)
  Ctrl+Q          leave; the node keeps running
  Ctrl+C          copy what is selected, else stop the answer

Chat: the prompt
  Enter           send
  Ctrl+J          a new line
  Up, Down        what you asked before (on an empty prompt)
  Esc             stop the answer; what came is kept
  Esc again       to the transcript and back
  Ctrl+N          a new chat
  Ctrl+O          past conversations

Chat: the transcript
  arrows, j k     scroll; g G to the start, the end
  y               copy the last answer as it was written
  c               copy the last question
  Enter           back to the prompt

Models
  Enter           load, unload; go on with a stopped pull
  a               add a file or folder of this machine
  p               pull from an address, or hf:owner/repo/file.gguf
  d               make it the default
  x               remove it (asks first)
  s               stop a transfer
  /               filter

Select with the mouse to copy; `node tui --no-mouse` leaves the mouse to the terminal.
The same from the command line: node chat, node models."""


class Confirm(ModalScreen[bool]):
    """Enter does nothing by accident: only `y` means yes."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)"),
        Binding("n,escape,enter,ctrl+c", "answer(False)"),
    ]

    def __init__(self, question: str) -> None:
        super().__init__()
        self._question = question

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Line(self._question, classes="question")
            yield Line("y yes   n no (Esc)", classes="choices")

    def action_answer(self, yes: bool) -> None:
        self.dismiss(yes)


class AskLine(ModalScreen[str | None]):
    """One line of text, or None."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,ctrl+c", "cancel")]

    def __init__(self, question: str, hint: str, value: str = "") -> None:
        super().__init__()
        self._question, self._hint, self._value = question, hint, value

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Line(self._question, classes="question")
            yield Input(self._value, id="answer")
            yield Line(self._hint, classes="hint")
            yield Line("Enter go on   Esc leave it", classes="choices")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        text = clean(event.value).strip()
        self.dismiss(text or None)

    def action_cancel(self) -> None:
        self.dismiss(None)


class Help(ModalScreen[None]):
    """Every key, on one page."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,f1,question_mark,q,enter,ctrl+c", "close"),
        Binding("j", "scroll(1)"),
        Binding("k", "scroll(-1)"),
    ]

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="dialog help"):
            yield Line(HELP)
            yield Line("Esc closes this page", classes="choices")

    def action_close(self) -> None:
        self.dismiss(None)

    def action_scroll(self, lines: int) -> None:
        self.query_one(VerticalScroll).scroll_relative(y=lines, animate=False)
