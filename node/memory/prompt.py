"""From a tree of messages to what a model is asked, and how a chat that outgrew the context is shortened.

The rule, as people are told it: the system message and the newest question always stay; the oldest
turns (a question with its answer) go first, as few as possible.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from protocols.http.control import ChatMessage
from protocols.jobs import Message

MOST_RESERVED: Final = 1024  # tokens kept free for the answer, when nobody said how many

Count = Callable[[tuple[Message, ...]], Awaitable[int]]


@dataclass(frozen=True)
class Prompt:
    messages: tuple[Message, ...]
    dropped: int = 0  # messages at the start that no longer fit

    @property
    def notice(self) -> str:
        if not self.dropped:
            return ""
        return (
            f"this chat is longer than the model's context: its oldest {self.dropped} messages"
            " were not shown to the model (they are still stored)"
        )


def branch(messages: Sequence[ChatMessage], head: str | None) -> list[ChatMessage]:
    """The messages from the root to `head`, oldest first."""
    by_id = {message.id: message for message in messages}
    found: list[ChatMessage] = []
    at = head
    while at is not None and at in by_id:
        message = by_id.pop(at)  # taken out, so that even a damaged tree ends
        found.append(message)
        at = message.parent
    return found[::-1]


def as_asked(messages: Sequence[ChatMessage]) -> tuple[Message, ...]:
    """As a model reads them, without answers that are empty."""
    return tuple(Message(message.role, message.text) for message in messages if message.text)


def joined(messages: Sequence[Message]) -> tuple[Message, ...]:
    """Neighbours of one role (a question without an answer, and the next) as one message, since many
    models' templates insist on turns."""
    found: list[Message] = []
    for message in messages:
        if found and found[-1].role == message.role:
            found[-1] = Message(message.role, f"{found[-1].content}\n\n{message.content}")
        else:
            found.append(message)
    return tuple(found)


def reserve(context: int, max_tokens: int | None) -> int:
    """Tokens to keep free for the answer: never more than half of the context."""
    wanted = min(MOST_RESERVED, context // 4) if max_tokens is None else max_tokens
    return min(wanted, context // 2)


async def shorten(
    messages: tuple[Message, ...],
    context_of: Callable[[], int | None],
    max_tokens: int | None,
    count: Count,
) -> Prompt:
    """Drop as few of the oldest turns as make the exact count fit. What still does not fit is for
    the model to refuse: the newest question is never cut. Raises what `count` raises."""
    whole = joined(messages)
    tokens = await count(whole)
    context = context_of()  # known now at the latest: counting loads the model
    starts = [place for place, message in enumerate(messages) if message.role == "user"]
    if context is None or not starts:
        return Prompt(whole)
    room = context - reserve(context, max_tokens)
    if tokens <= room or len(starts) == 1:
        return Prompt(whole)
    system = messages[: starts[0]]
    low, high = 1, len(starts) - 1  # how many turns to drop; the last one stays
    while low < high:
        middle = (low + high) // 2
        if await count(joined(system + messages[starts[middle] :])) <= room:
            high = middle
        else:
            low = middle + 1
    return Prompt(joined(system + messages[starts[low] :]), dropped=starts[low] - len(system))
