"""Conversations, and the events of an answer."""

from __future__ import annotations

from typing import Literal

import msgspec

from protocols.http.control.problem import Problem
from protocols.jobs import Role


class ChatMessage(msgspec.Struct, frozen=True):
    id: str
    parent: str | None
    role: Role
    text: str
    at: float
    state: Literal["done", "running", "unfinished", "failed"] = "done"
    model: str = ""
    job: str = ""
    error: str = ""
    tokens: int = 0
    tokens_per_s: float = 0.0
    first_token_s: float = 0.0


class Conversation(msgspec.Struct, frozen=True):
    """GET /node/v1/conversations (without messages), /node/v1/conversations/{id} (with them)."""

    id: str
    title: str
    created_at: float
    updated_at: float
    label: str
    model: str
    head: str | None  # the message at the end of the branch that is shown
    message_count: int = 0
    messages: tuple[ChatMessage, ...] = ()  # the whole tree, oldest first


class ConversationList(msgspec.Struct, frozen=True):
    conversations: tuple[Conversation, ...]


class NewConversation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """POST /node/v1/conversations"""

    title: str = ""
    model: str = ""  # empty: the default model at each turn
    label: str = ""  # empty: the caller's default label
    system: str = ""


class ChangeConversation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """PATCH /node/v1/conversations/{id}"""

    title: str | None = None
    model: str | None = None
    head: str | None = None


class Say(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """POST /node/v1/conversations/{id}/messages: store what the person typed, then answer it.

    Answers an event stream of `Said`, `Answer*`; closing it stops the answer, what came so far is kept.
    """

    text: str
    parent: str | None = None  # default: the conversation's head
    model: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    seed: int | None = None


class Said(msgspec.Struct, frozen=True, tag="said"):
    """What the person typed is stored; the answer will be this message."""

    question: ChatMessage
    answer: ChatMessage
    dropped: int = 0  # messages at the start of the chat that no longer fit the context
    notice: str = ""  # says so in words


class AnswerText(msgspec.Struct, frozen=True, tag="text"):
    text: str


class AnswerDone(msgspec.Struct, frozen=True, tag="done"):
    message: ChatMessage
    finish: str


class AnswerFailed(msgspec.Struct, frozen=True, tag="failed"):
    message: ChatMessage
    error: Problem


AnswerEvent = Said | AnswerText | AnswerDone | AnswerFailed
