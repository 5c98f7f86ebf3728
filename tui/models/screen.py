"""The models screen: the list, what is selected in words, and what can be done with it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar, Final, TypeVar

from rich.text import Text
from textual import events, work
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.timer import Timer
from textual.widget import Widget
from textual.widgets import DataTable, Input

from protocols.http import requests
from protocols.http.control import AddModel, ModelEntry, PullModel, Transfer
from protocols.http.requests import ApiProblem, Request
from tui.api import LOADING_S, Unreachable, words_of
from tui.dialogs import AskLine, Confirm
from tui.frame import Frame, Line
from tui.link import Link
from tui.models import view
from tui.models.view import HEADINGS, UNDER_WAY, Row
from tui.view import one_line

T = TypeVar("T")

KEYS: Final = (
    ("Enter", "load/unload"),
    ("a", "add"),
    ("p", "pull"),
    ("d", "default"),
    ("x", "remove"),
    ("/", "filter"),
    ("F2", "chat"),
    ("?", "help"),
    ("^Q", "leave"),
)
TRANSFER_KEYS: Final = (
    ("s", "stop"),
    ("Enter", "go on"),
    ("x", "hide"),
    ("a", "add"),
    ("p", "pull"),
    ("/", "filter"),
    ("F2", "chat"),
    ("?", "help"),
    ("^Q", "leave"),
)
FILTERING: Final = (("Enter", "to the list"), ("Esc", "no filter"))
EMPTY: Final = "No models yet: press p to pull one, or a to add a file of this machine."
ADD_HINT: Final = "A GGUF file or an ONNX folder. Nothing is copied; quotes and ~ are fine."
PULL_HINT: Final = (
    "https://… or hf:owner/repo/file.gguf. This asks that server for the file: the one thing"
    " that leaves this machine."
)


class ModelTable(DataTable[Text]):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "cursor_down"),
        Binding("k", "cursor_up"),
        Binding("g", "scroll_top"),
        Binding("G,shift+g", "scroll_bottom"),
    ]


class ModelsScreen(Frame):
    KEY = "models"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("a", "add"),
        Binding("p", "pull"),
        Binding("d", "default"),
        Binding("x,delete", "remove"),
        Binding("s", "stop"),
        Binding("slash", "filter"),
        Binding("escape", "back"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._models: tuple[ModelEntry, ...] = ()
        self._transfers: tuple[Transfer, ...] = ()
        self._hidden: set[str] = set()
        self._rows: list[Row] = []
        self._loading: set[str] = set()
        self._timer: Timer | None = None
        self._loaded = False
        self._was_up = False
        self.table = ModelTable(id="models", cursor_type="row")
        self._nothing = Line(EMPTY, id="nothing-here")
        self._detail = Line(id="detail")
        self._filter = Input(placeholder="filter by name or state", id="filter")

    def body(self) -> Iterable[Widget]:
        yield self.table
        yield self._nothing
        yield self._detail

    def foot(self) -> Iterable[Widget]:
        yield self._filter

    def on_mount(self) -> None:
        self._filter.display = False
        self._nothing.display = False
        for heading in HEADINGS:
            self.table.add_column(Text(heading), key=heading)
        self.watch(self.host, "link", self._linked)
        self.watch(self, "focused", self._say_keys)
        self.name_it("models")
        self.table.focus()

    # --- what there is ----------------------------------------------------------------------------

    def on_screen_resume(self, _event: events.ScreenResume) -> None:
        self._look()

    def on_screen_suspend(self, _event: events.ScreenSuspend) -> None:
        self._rest()

    def _linked(self, link: Link) -> None:
        if link.up and not self._was_up and self.note.trouble:
            self.note.clear()
        self._was_up = link.up
        if link.up and self.is_current:
            self._look()
        self._say_detail()

    def _rest(self) -> None:
        if self._timer is not None:
            self._timer.stop()
            self._timer = None

    @work(group="look", exclusive=True)
    async def _look(self) -> None:
        """Ask for models and transfers; soon again while something moves."""
        self._rest()
        api = self.host.api
        try:
            self._models = (await api.call(requests.models())).models
            self._transfers = (await api.call(requests.transfers())).transfers
        except (ApiProblem, Unreachable) as error:
            self._failed(error, "")
            return
        if not self.is_attached:
            return
        self._loaded = True
        self._draw()
        if self.is_current:
            self._timer = self.set_timer(self._interval(), self._look)

    def _interval(self) -> float:
        moving = self._loading or any(each.state in UNDER_WAY for each in self._transfers)
        calm = self.host.pace.calm
        return calm / 4 if moving else calm

    def _draw(self) -> None:
        shown = [each for each in self._transfers if each.id not in self._hidden]
        query = self._filter.value
        rows = view.rows(self._models, shown, query)
        self._put(rows)
        self._nothing.display = not rows and self._loaded
        self._nothing.put(
            f"Nothing fits “{one_line(query, 40)}”: Esc shows all." if query else EMPTY
        )
        self.table.display = bool(rows)
        count = len(self._models)
        self.name_it(f"{count} model{'' if count == 1 else 's'}")
        self._say_detail()
        self._say_keys()

    def _put(self, rows: list[Row]) -> None:
        """Change only the cells that differ, so that cursor and scrolling stay where they are."""
        table, old = self.table, self._rows
        self._rows = rows
        if [row.key for row in rows] != [row.key for row in old]:
            selected = old[table.cursor_row].key if table.cursor_row < len(old) else ""
            table.clear()
            for row in rows:
                table.add_row(*(Text(cell) for cell in row.cells), key=row.key)
            keys = [row.key for row in rows]
            table.move_cursor(row=keys.index(selected) if selected in keys else 0)
            return
        for row, before in zip(rows, old, strict=True):
            for heading, cell, was in zip(HEADINGS, row.cells, before.cells, strict=True):
                if cell != was:
                    table.update_cell(row.key, heading, Text(cell), update_width=True)

    @property
    def selected(self) -> Row | None:
        place = self.table.cursor_row
        return self._rows[place] if 0 <= place < len(self._rows) else None

    def on_data_table_row_highlighted(self) -> None:
        self._say_detail()
        self._say_keys()

    def _say_detail(self) -> None:
        row, status = self.selected, self.link.status
        lines = [row.detail] if row else []
        lines += [view.memory_line(status.memory)] if status else []
        self._detail.put(Content("\n".join(lines)))

    def _say_keys(self) -> None:
        if isinstance(self.focused, Input):
            self.keys_are(FILTERING)
        else:
            row = self.selected
            self.keys_are(TRANSFER_KEYS if row and row.transfer else KEYS)

    def _failed(self, error: ApiProblem | Unreachable, kept: str) -> None:
        self.note.complain(words_of(error), kept, "Esc closes this note.")
        if isinstance(error, Unreachable):
            self.host.watch_over.ask_now()

    # --- what can be done -------------------------------------------------------------------------

    async def _do(self, request: Request[T], kept: str, told: str = "") -> T | None:
        """One change; what went wrong stays on the screen."""
        try:
            answer = await self.host.api.call(request, patience_s=LOADING_S)
        except (ApiProblem, Unreachable) as error:
            self._failed(error, kept)
            return None
        self.note.clear()
        if told:
            self.note.tell(told)
        self._look()
        return answer

    def on_data_table_row_selected(self) -> None:
        row = self.selected
        if row is None:
            return
        if row.model is not None:
            self._load_or_unload(row.model)
        elif row.transfer is not None and row.transfer.state not in UNDER_WAY:
            self._again(row.transfer)

    @work(group="load")
    async def _load_or_unload(self, model: ModelEntry) -> None:
        name = one_line(model.name, 60)
        if model.state == "loaded":
            await self._do(requests.unload_model(model.name), "It is still loaded.")
        elif model.name not in self._loading:
            self._loading.add(model.name)
            self.note.tell(f"loading {name} …")
            self._look()
            try:
                await self._do(requests.load_model(model.name), "", f"{name} is loaded")
            finally:
                self._loading.discard(model.name)

    @work(group="ask", exclusive=True)
    async def action_add(self) -> None:
        typed = await self.app.push_screen_wait(AskLine("Add which file or folder?", ADD_HINT))
        if typed is not None:
            path = view.path_of(typed, Path.home(), Path.cwd())
            await self._do(requests.add_model(AddModel(path)), "Nothing was changed.")

    @work(group="ask", exclusive=True)
    async def action_pull(self) -> None:
        ref = await self.app.push_screen_wait(AskLine("Pull which model?", PULL_HINT))
        if ref is not None:
            await self._do(requests.pull_model(PullModel(ref)), "Nothing was fetched.")

    @work(group="again")
    async def _again(self, transfer: Transfer) -> None:
        """A stopped or failed transfer goes on as a new one."""
        if transfer.kind == "pull":
            request = requests.pull_model(PullModel(transfer.ref, transfer.name or None))
        else:
            request = requests.add_model(AddModel(transfer.ref, transfer.name or None))
        if await self._do(request, "What came before is kept.") is not None:
            self._hidden.add(transfer.id)

    @work(group="default", exclusive=True)
    async def action_default(self) -> None:
        row = self.selected
        if row is not None and row.model is not None:
            name = row.model.name
            told = f"{one_line(name, 60)} answers when no model is named"
            answer = await self._do(requests.set_default(name), "The default stays.", told)
            if answer is not None:
                self.host.watch_over.ask_now()

    @work(group="ask", exclusive=True)
    async def action_remove(self) -> None:
        row = self.selected
        if row is None:
            return
        if row.transfer is not None:
            self._hide(row.transfer)
        elif row.model is not None:
            question = view.question_before_removal(row.model)
            if await self.app.push_screen_wait(Confirm(question)):
                await self._remove(row.model)

    async def _remove(self, model: ModelEntry) -> None:
        try:
            answer = await self.host.api.call(requests.remove_model(model.name))
        except (ApiProblem, Unreachable) as error:
            self._failed(error, "The model is still there.")
            return
        self.note.tell(view.removed(answer))
        self._look()

    def _hide(self, transfer: Transfer) -> None:
        if transfer.state in UNDER_WAY:
            self.note.tell("It is under way: s stops it first.")
        else:
            self._hidden.add(transfer.id)
            self._draw()

    @work(group="stop")
    async def action_stop(self) -> None:
        row = self.selected
        under_way = [each for each in self._transfers if each.state in UNDER_WAY]
        chosen = row.transfer if row is not None and row.transfer in under_way else None
        chosen = chosen or (under_way[0] if len(under_way) == 1 else None)
        if chosen is None:
            self.note.tell("Select the transfer to stop." if under_way else "Nothing is under way.")
            return
        await self._do(requests.stop_transfer(chosen.id), "It goes on.")

    # --- filter -----------------------------------------------------------------------------------

    def action_filter(self) -> None:
        self._filter.display = True
        self._filter.focus()

    def on_input_changed(self, _event: Input.Changed) -> None:
        self._draw()

    def on_input_submitted(self, _event: Input.Submitted) -> None:
        self.table.focus()

    def action_back(self) -> None:
        """Esc: the filter goes, else the note, else to the list."""
        if self._filter.display:
            self._filter.value = ""
            self._filter.display = False
            self.table.focus()
        elif not self.note.clear():
            self.table.focus()
