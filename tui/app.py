"""The program: its screens, the keys that work everywhere, its commands by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, ClassVar

from textual.app import SystemCommand
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widgets import Input, TextArea

from tui.chat.screen import ChatScreen
from tui.clipboard import copy
from tui.dialogs import Help
from tui.frame import Frame
from tui.host import Host
from tui.models.screen import ModelsScreen
from tui.themes import DARK, LIGHT


class KithApp(Host):
    """A client of one node. Closing it stops nothing but the answer that it is showing."""

    TITLE = "Kith"
    CSS_PATH = "style.tcss"
    MODES: ClassVar[dict[str, str | Callable[[], Screen[Any]]]] = {
        "chat": ChatScreen,
        "models": ModelsScreen,
    }
    DEFAULT_MODE = "chat"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+q", "quit", priority=True),
        Binding("ctrl+c", "interrupt", priority=True),
        Binding("f1,question_mark", "help"),
        Binding("f2,1", "go('chat')"),
        Binding("f3,2", "go('models')"),
        Binding("ctrl+p", "command_palette", priority=True),
        Binding("colon", "command_palette"),
    ]

    async def action_go(self, mode: str) -> None:
        if self.current_mode != mode:
            await self.switch_mode(mode)

    def action_help(self) -> None:
        if isinstance(self.screen, Frame):
            self.push_screen(Help())

    async def action_interrupt(self) -> None:
        """Ctrl+C: copy what is selected, else stop the answer, else say how to leave; never quits."""
        selected = self._selected()
        if selected:
            told = await copy(self, selected)
            if isinstance(self.screen, Frame):
                self.screen.note.tell(told)
        elif isinstance(self.screen, Frame):
            self.screen.interrupted()
        else:
            await self.screen.run_action("screen.dismiss")

    def _selected(self) -> str:
        focused = self.focused
        if isinstance(focused, TextArea | Input) and focused.selected_text:
            return focused.selected_text
        return self.screen.get_selected_text() or ""

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """What the palette offers. Our own words only: they are read as markup."""
        yield SystemCommand("New chat", "Begin a new conversation (Ctrl+N)", self._new_chat)
        yield SystemCommand("Past conversations", "Find one by its title (Ctrl+O)", self._past)
        yield SystemCommand("Chat", "The chat screen (F2)", self._chat)
        yield SystemCommand("Models", "The models screen (F3)", self._models)
        yield SystemCommand("Add a model", "A file or folder of this machine", self._add)
        yield SystemCommand("Pull a model", "From an address or a hub", self._pull)
        yield SystemCommand("Light or dark", "Change the colours", self._other_theme)
        yield SystemCommand("Keys", "Every key, on one page (F1)", self.action_help)
        yield SystemCommand("Leave", "The node keeps running (Ctrl+Q)", self.action_quit)

    async def _chat(self) -> None:
        await self.action_go("chat")

    async def _models(self) -> None:
        await self.action_go("models")

    async def _new_chat(self) -> None:
        await self._on("chat", "screen.new")

    async def _past(self) -> None:
        await self._on("chat", "screen.past")

    async def _add(self) -> None:
        await self._on("models", "screen.add")

    async def _pull(self) -> None:
        await self._on("models", "screen.pull")

    async def _on(self, mode: str, action: str) -> None:
        await self.action_go(mode)
        await self.screen.run_action(action)

    def _other_theme(self) -> None:
        if not self.no_color:
            self.theme = LIGHT.name if self.theme == DARK.name else DARK.name
