"""One question and its answer: from the first byte sent to how it ended."""

from __future__ import annotations

from protocols.http import requests
from protocols.http.control import (
    AnswerDone,
    AnswerEvent,
    AnswerFailed,
    AnswerText,
    ChatMessage,
    Conversation,
    NewConversation,
    Problem,
    Said,
    Say,
)
from protocols.http.requests import ApiProblem
from tui.api import Api, words_of
from tui.chat.transcript import Transcript
from tui.chat.turns import Live, unfinished


class Asking:
    """Cancelling `run` closes the stream, which stops the answer; call `stopped` then."""

    def __init__(self, api: Api, transcript: Transcript, conversation: Conversation | None) -> None:
        self._api = api
        self._transcript = transcript
        self._live: Live | None = None
        self._ended = False
        self.conversation = conversation
        self.notice = ""  # e.g. that the start of the chat no longer fits
        self.problem = ""  # why the answer failed

    @property
    def stored(self) -> bool:
        """Whether the node has the question."""
        return self._live is not None

    async def run(self, text: str) -> None:
        """Until the answer ended. Raises `ApiProblem`, `Unreachable`."""
        if self.conversation is None:
            new = requests.new_conversation(NewConversation())
            self.conversation = await self._api.call(new)
        say = requests.say(self.conversation.id, Say(text=text))
        async with self._api.stream(say) as events:
            async for event in events:
                await self._take(event)
        if not self._ended:
            raise ApiProblem(0, Problem("cut_off", "the answer ended without saying why"))

    async def _take(self, event: AnswerEvent) -> None:
        match event:
            case Said():
                self._live = await self._transcript.begin(event.question, event.answer)
                self.notice = event.notice
            case AnswerText(text=text):
                if self._live is not None:
                    self._live.write(text)
            case AnswerDone(message=message):
                await self._end(message)
            case AnswerFailed(message=message, error=error):
                self.problem = words_of(ApiProblem(0, error))
                await self._end(message)

    async def stopped(self) -> None:
        """It was cut off here: what came stays on the screen, marked."""
        if self._live is not None and not self._ended:
            await self._end(unfinished(self._live.message, self._live.text))

    async def _end(self, message: ChatMessage) -> None:
        self._ended = True
        if self._live is not None:
            self._transcript.ended(message)
            await self._live.finish(message)
