"""The memory room: conversations, kept through anything."""

from node.memory.conversations import Conversations, Engine, open_conversations
from node.memory.errors import (
    BadConversation,
    Busy,
    ConversationError,
    NotAllowed,
    UnknownConversation,
    UnknownMessage,
)
from node.memory.export import as_json, as_markdown
from node.memory.tables import MIGRATIONS

__all__ = [
    "MIGRATIONS",
    "BadConversation",
    "Busy",
    "ConversationError",
    "Conversations",
    "Engine",
    "NotAllowed",
    "UnknownConversation",
    "UnknownMessage",
    "as_json",
    "as_markdown",
    "open_conversations",
]
