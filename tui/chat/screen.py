"""The chat screen: what happens when the person sends, stops, begins anew or goes back."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from typing import ClassVar

from textual import work
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.widget import Widget
from textual.widgets import OptionList
from textual.worker import Worker, WorkerError

from protocols.http import requests
from protocols.http.control import Conversation
from protocols.http.requests import ApiProblem
from tui.api import Unreachable, words_of
from tui.chat.ask import Asking
from tui.chat.past import LISTED, PastList, PastScreen
from tui.chat.prompt import Prompt
from tui.chat.transcript import Transcript
from tui.chat.view import branch, title_of
from tui.chat.welcome import Welcome
from tui.clipboard import copy
from tui.dialogs import Confirm
from tui.frame import Frame
from tui.link import Link
from tui.view import asked

KEYS = (
    ("Enter", "send"),
    ("^J", "new line"),
    ("^N", "new chat"),
    ("^O", "past"),
    ("F3", "models"),
    ("^P", "commands"),
    ("F1", "help"),
    ("^Q", "leave"),
)
ANSWERING = (("Esc", "stop"), ("^C", "stop"), ("F3", "models"), ("^P", "commands"), ("F1", "help"))
READING = (
    ("Enter", "write"),
    ("y", "copy answer"),
    ("j k g G", "scroll"),
    ("1 2", "screens"),
    ("?", "help"),
    ("^Q", "leave"),
)


class ChatScreen(Frame):
    KEY = "chat"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back"),
        Binding("ctrl+n", "new"),
        Binding("ctrl+o", "past"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.conversation: Conversation | None = None
        self._answering: Worker[None] | None = None
        self._known: tuple[Conversation, ...] = ()
        self._was_up = False
        self.transcript = Transcript()
        self.prompt = Prompt()
        self._sidebar = PastList("sidebar")

    def body(self) -> Iterable[Widget]:
        yield Horizontal(self._sidebar, self.transcript, id="body")

    def foot(self) -> Iterable[Widget]:
        yield self.prompt

    async def on_mount(self) -> None:
        await self.transcript.show([], Welcome())
        self.watch(self.host, "link", self._linked)
        self.watch(self, "focused", self._say_keys)
        self.prompt.focus()
        self._describe()

    @property
    def answering(self) -> bool:
        return self._answering is not None and not self._answering.is_finished

    # --- what the screen says ---------------------------------------------------------------------

    def _linked(self, link: Link) -> None:
        self._say_who()
        if link.up and not self._was_up:
            self._came_back()
        self._was_up = link.up

    def _say_who(self) -> None:
        pinned = self.conversation.model if self.conversation else ""
        self.prompt.border_title = Content(asked(self.link, pinned))

    def _describe(self) -> None:
        self.name_it(title_of(self.conversation))
        self._say_who()
        self._say_keys()

    def _say_keys(self) -> None:
        if self.answering:
            self.keys_are(ANSWERING)
        else:
            self.keys_are(READING if self.focused is self.transcript else KEYS)

    @work(group="list", exclusive=True)
    async def _came_back(self) -> None:
        """The node answers (again): what it holds is what counts."""
        if self.note.trouble:
            self.note.clear()
        try:
            shown = self.conversation
            await self._list()
            if shown is not None and self.conversation is shown and not self.answering:
                await self._open(shown.id)
        except (ApiProblem, Unreachable) as error:
            self._failed(error, "")

    async def _list(self) -> None:
        listed = await self.host.api.call(requests.conversations(LISTED))
        self._known = listed.conversations
        self._fill_sidebar()

    def _fill_sidebar(self) -> None:
        current = self.conversation.id if self.conversation else ""
        self._sidebar.fill(self._known, current=current)

    def _failed(self, error: ApiProblem | Unreachable, kept: str, keys: str = "") -> None:
        self.note.complain(words_of(error), kept, keys or "Esc closes this note.")
        if isinstance(error, Unreachable):
            self.host.watch_over.ask_now()

    # --- asking -----------------------------------------------------------------------------------

    def on_prompt_sent(self, event: Prompt.Sent) -> None:
        if self.answering:
            self.note.tell("An answer is being written: Esc stops it. Your draft stays.")
        elif not self.link.up:
            self.note.tell("Not sent: the node does not answer. Your draft stays.")
            self.host.watch_over.ask_now()
        else:
            self.note.clear()
            self.prompt.past.add(event.text)
            self.prompt.empty()
            self._answering = self._ask(event.text)
            self._describe()

    @work(group="answer")
    async def _ask(self, text: str) -> None:
        asking = Asking(self.host.api, self.transcript, self.conversation)
        try:
            await asking.run(text)
        except asyncio.CancelledError:
            await asking.stopped()
            raise
        except (ApiProblem, Unreachable) as error:
            await self._not_answered(asking, error, text)
        finally:
            if self.is_attached:
                self.conversation = asking.conversation
                self._answering = None
                self._after_answer(asking)

    async def _not_answered(
        self, asking: Asking, error: ApiProblem | Unreachable, text: str
    ) -> None:
        if asking.stored:
            await asking.stopped()
            kept = "Your question and what came of the answer are kept."
            self._failed(error, kept, "Up brings the question back, Enter asks again.")
            return
        if not self.prompt.text:
            self.prompt.put(text)
        self._failed(error, "Nothing was sent; your text is in the prompt.", "Enter tries again.")

    def _after_answer(self, asking: Asking) -> None:
        if asking.problem:
            kept = "Your question is kept, and what came of the answer."
            self.note.complain(
                asking.problem, kept, "Up brings the question back, Enter asks again."
            )
        elif asking.notice:
            self.note.tell(asking.notice, stay=True)
        self._describe()
        self._refresh_list()

    @work(group="list", exclusive=True)
    async def _refresh_list(self) -> None:
        """The title that the node gave the conversation, and its place in the list."""
        try:
            await self._list()
        except (ApiProblem, Unreachable):
            return  # the status line says so already
        if self.conversation is not None:
            mine = self.conversation.id
            found = next((each for each in self._known if each.id == mine), None)
            self.conversation = found or self.conversation
        self._describe()

    def stop(self) -> bool:
        if self._answering is None or self._answering.is_finished:
            return False
        self._answering.cancel()
        return True

    # --- moving about -----------------------------------------------------------------------------

    def action_back(self) -> None:
        """Esc: stop, else close the note, else from prompt to transcript and back."""
        if self.stop() or self.note.clear():
            return
        if self.focused is self.prompt:
            self.transcript.focus()
        else:
            self.prompt.focus()

    def on_transcript_left(self) -> None:
        self.prompt.focus()

    @work
    async def on_transcript_copied(self, event: Transcript.Copied) -> None:
        self.note.tell(await copy(self.app, event.text))

    @work(group="answer-stop")
    async def action_new(self) -> None:
        await self._leave_answer()
        self.conversation = None
        self.note.clear()
        self.prompt.past.fill([])
        await self.transcript.show([], Welcome())
        self.prompt.focus()
        self._describe()
        self._fill_sidebar()

    async def _leave_answer(self) -> None:
        """Another conversation comes to the screen: what is being written stops, and is kept."""
        worker = self._answering
        if worker is not None and self.stop():
            with suppress(WorkerError):
                await worker.wait()

    @work(group="past", exclusive=True)
    async def action_past(self) -> None:
        try:
            await self._list()
        except (ApiProblem, Unreachable) as error:
            self._failed(error, "Your draft is safe.")
            return
        choice = await self.app.push_screen_wait(PastScreen(self._known))
        if choice is None:
            return
        what, id = choice
        if what == "open":
            await self._go_to(id)
        elif await self._really(id):
            await self._remove(id)

    async def _really(self, id: str) -> bool:
        title = next((title_of(each) for each in self._known if each.id == id), "")
        question = f"Delete “{title}” for good? Nothing keeps a copy."
        sure: bool = await self.app.push_screen_wait(Confirm(question))
        return sure

    async def _remove(self, id: str) -> None:
        try:
            if self.conversation is not None and self.conversation.id == id:
                await self.action_new().wait()
            await self.host.api.call(requests.delete_conversation(id))
            await self._list()
        except (ApiProblem, Unreachable) as error:
            self._failed(error, "The conversation is still there.")

    @work(group="past", exclusive=True)
    async def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        if event.option_id is not None:
            await self._go_to(event.option_id)

    async def _go_to(self, id: str) -> None:
        try:
            await self._leave_answer()
            await self._open(id)
        except (ApiProblem, Unreachable) as error:
            self._failed(error, "Your draft is safe.")
        self.prompt.focus()

    async def _open(self, id: str) -> None:
        found = await self.host.api.call(requests.conversation(id))
        if not self.is_attached or self.answering:
            return
        self.conversation = found
        messages = branch(found)
        self.prompt.past.fill([each.text for each in messages if each.role == "user"])
        await self.transcript.show(messages, None if messages else Welcome())
        self._describe()
        self._fill_sidebar()
