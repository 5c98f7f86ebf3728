"""A conversation as a document: Markdown to read, JSON with the whole tree."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

import msgspec

from node.memory.prompt import branch
from protocols.http.control import ChatMessage, Conversation

_NAMES: Final = {"system": "System", "user": "You", "assistant": "Answer", "tool": "Tool"}
_STATES: Final = {"unfinished": "unfinished", "running": "being written", "failed": "failed"}


def as_json(conversation: Conversation) -> bytes:
    return msgspec.json.format(msgspec.json.encode(conversation), indent=2) + b"\n"


def as_markdown(conversation: Conversation) -> str:
    """The branch that is shown, oldest first."""
    title = " ".join(conversation.title.split()) or "Conversation"
    parts = [f"# {title}", f"{_time(conversation.created_at)}, label {conversation.label}"]
    for message in branch(conversation.messages, conversation.head):
        parts += [f"## {_heading(message)}", message.text.rstrip() or "(nothing)"]
    return "\n\n".join(parts) + "\n"


def _heading(message: ChatMessage) -> str:
    words = [_NAMES[message.role]]
    if message.model:
        words.append(message.model)
    words.append(_time(message.at))
    if message.state in _STATES:
        words.append(_STATES[message.state])
    return ", ".join(words)


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")
