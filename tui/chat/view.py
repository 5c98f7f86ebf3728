"""A conversation in words: plain functions, no widgets."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from protocols.http.control import ChatMessage, Conversation
from tui.view import clock, day, in_bytes, one_line

SHOWN_LINES = 24  # of a long message of the person's own; all of it is sent and kept
SHOWN_CHARS = 4000
ANSWER_CHARS = 100_000  # of an answer; more would hold up the screen
NEW = "new chat"


def branch(conversation: Conversation) -> list[ChatMessage]:
    """The messages from the root to the head that is shown, oldest first."""
    by_id = {message.id: message for message in conversation.messages}
    path: list[ChatMessage] = []
    at = conversation.head
    while at is not None and at in by_id and len(path) < len(by_id):
        path.append(by_id[at])
        at = by_id[at].parent
    return path[::-1]


def title_of(conversation: Conversation | None) -> str:
    return one_line(conversation.title if conversation else "", 60) or NEW


def speaker(message: ChatMessage) -> str:
    if message.role == "user":
        return f"You  {clock(message.at)}"
    if message.role == "system":
        return "Instructions"
    return f"{one_line(message.model, 60) or 'model'}  {clock(message.at)}"


def answered(message: ChatMessage, *, live: bool = False) -> str:
    """The line below an answer: where, how much, how fast, and whether it is whole."""
    if message.state == "running":
        return "writing … Esc stops it" if live else "another program has it written"
    parts = ["this machine"]
    if message.tokens:
        parts.append(f"{message.tokens} tok")
    if message.tokens_per_s:
        parts.append(f"{message.tokens_per_s:.0f} tok/s")
    if message.first_token_s:
        parts.append(f"first {_soon(message.first_token_s)}")
    if message.state == "unfinished":
        parts.append("stopped: what came is kept")
    if message.state == "failed":
        parts.append(f"failed: {one_line(message.error)}" if message.error else "failed")
    if len(message.text) > ANSWER_CHARS:
        parts.append("only its start is shown: y copies all of it")
    return " | ".join(parts)


def _soon(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 0.95 else f"{seconds:.1f} s"


def shortened(text: str) -> tuple[str, str]:
    """What is shown of a message of the person's own, and a word on what is not."""
    lines = text.split("\n", SHOWN_LINES)
    shown = "\n".join(lines[:SHOWN_LINES])[:SHOWN_CHARS]
    if len(shown) == len(text):
        return text, ""
    return shown, f"… {measure(text)} in all; all of it was sent, y copies it"


def measure(text: str) -> str:
    count = text.count("\n") + 1
    return f"{count} {'line' if count == 1 else 'lines'}, {in_bytes(len(text.encode()))}"


def past(
    conversations: Iterable[Conversation], query: str, now: float
) -> list[tuple[str, str, str]]:
    """`(id, when, title)` of those whose title holds every word of the query, latest first."""
    words = query.lower().split()
    return [
        (each.id, day(each.updated_at, now), title_of(each))
        for each in sorted(conversations, key=lambda each: -each.updated_at)
        if all(word in each.title.lower() for word in words)
    ]


@dataclass(frozen=True)
class Window:
    """Which of many messages have a widget: `start` up to, not including, `end`."""

    start: int = 0
    end: int = 0

    MOST = 40
    STEP = 10

    @classmethod
    def at_end(cls, count: int) -> Window:
        return cls(max(0, count - cls.MOST), count)

    def older(self) -> Window:
        start = max(0, self.start - self.STEP)
        return Window(start, min(self.end, start + self.MOST))

    def newer(self, count: int) -> Window:
        end = min(count, self.end + self.STEP)
        return Window(max(self.start, end - self.MOST), end)
