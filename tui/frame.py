"""What every screen has: navigation, body, a note when there is something to say, keys, status."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar, Final, cast

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.content import Content
from textual.screen import Screen
from textual.timer import Timer
from textual.widget import Widget
from textual.widgets import Static

from tui.host import LEAVING, Host
from tui.link import Link
from tui.view import fitting, navigation, status_line

NOTE_S: Final = 8.0
Keys = Sequence[tuple[str, str]]


class Line(Static):
    """Text as it is: never markup, whoever wrote it."""

    def __init__(self, text: str = "", *, id: str | None = None, classes: str | None = None):
        super().__init__(Content(text), id=id, classes=classes, markup=False)

    def put(self, text: str | Content) -> None:
        self.update(text if isinstance(text, Content) else Content(text))


class Navigation(Line):
    """Which screens there are, which one this is, and what it shows."""

    def __init__(self, current: str) -> None:
        super().__init__(id="navigation")
        self._current = current
        self._title = ""

    def title(self, text: str) -> None:
        self._title = text
        self._draw()

    def on_resize(self) -> None:
        self._draw()

    def _draw(self) -> None:
        self.put(navigation(self._current, self._title, self.content_size.width))


class KeyLine(Line):
    """The keys that do something now, as many as fit."""

    def __init__(self) -> None:
        super().__init__(id="keys")
        self._keys: Keys = ()

    def keys_are(self, keys: Keys) -> None:
        self._keys = keys
        self._draw()

    def on_resize(self) -> None:
        self._draw()

    def _draw(self) -> None:
        parts: list[Content | tuple[str, str]] = []
        for key, word in fitting(self._keys, self.content_size.width):
            parts += [(key, "$accent bold"), (f" {word}  ", "$muted")]
        self.put(Content.assemble(*parts))


class StatusLine(Line):
    """Never hidden: says in words whether anything leaves this machine."""

    def __init__(self) -> None:
        super().__init__(id="status")

    def on_mount(self) -> None:
        self.watch(self.app, "link", self._draw)

    def on_resize(self) -> None:
        self._draw()

    def _draw(self) -> None:
        link = cast(Host, self.app).link
        self.set_class(bool(link.tries), "-gone")
        self.put(status_line(link, self.content_size.width))


class Note(Line):
    """Something to say. Trouble stays until it is over or Esc is pressed; the rest passes."""

    def __init__(self) -> None:
        super().__init__(id="note")
        self.display = False
        self.trouble = False
        self._timer: Timer | None = None

    def tell(self, text: str, *, stay: bool = False) -> None:
        self._show(Content(text), trouble=False)
        if not stay:
            self._timer = self.set_timer(NOTE_S, self.clear)

    def complain(self, what: str, kept: str, keys: str) -> None:
        """What happened, what was kept, what to do."""
        lines = [(what, "$error bold")]
        lines += [(f"\n{kept}", "")] if kept else []
        lines += [(f"\n{keys}", "$muted")] if keys else []
        self._show(Content.assemble(*lines), trouble=True)

    def clear(self) -> bool:
        """Whether there was something to clear."""
        self._forget_timer()
        shown = self.display
        self.display = False
        self.trouble = False
        return shown

    def _show(self, text: Content, *, trouble: bool) -> None:
        self._forget_timer()
        self.trouble = trouble
        self.set_class(trouble, "-trouble")
        self.put(text)
        self.display = True

    def _forget_timer(self) -> None:
        if self._timer is not None:
            self._timer.stop()
            self._timer = None


class Frame(Screen[None]):
    """A screen of the program. Subclasses give `KEY`, `body`, `foot` and say what the keys are."""

    KEY: ClassVar[str]
    BINDINGS: ClassVar[list[BindingType]] = []
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (120, "-wide")]  # noqa: RUF012 - Textual types it so
    VERTICAL_BREAKPOINTS = [(0, "-short"), (20, "-tall")]  # noqa: RUF012

    def __init__(self) -> None:
        super().__init__()
        self.note = Note()
        self._navigation = Navigation(self.KEY)
        self._key_line = KeyLine()

    def compose(self) -> ComposeResult:
        yield self._navigation
        yield from self.body()
        yield self.note
        yield from self.foot()
        yield self._key_line
        yield StatusLine()

    def body(self) -> Iterable[Widget]:
        raise NotImplementedError

    def foot(self) -> Iterable[Widget]:
        return ()

    @property
    def host(self) -> Host:
        return cast(Host, self.app)

    @property
    def link(self) -> Link:
        return self.host.link

    def name_it(self, title: str) -> None:
        self._navigation.title(title)

    def keys_are(self, keys: Keys) -> None:
        self._key_line.keys_are(keys)

    def stop(self) -> bool:
        """Stop what is under way here; whether there was anything."""
        return False

    def interrupted(self) -> None:
        """Ctrl+C without a selection."""
        if not self.stop():
            self.note.tell(LEAVING)
