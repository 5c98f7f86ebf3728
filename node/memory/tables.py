"""The tables of conversations, and every SQL statement on them. Each function runs in a transaction."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import sqlite_utils

from node.memory.errors import UnknownConversation, UnknownMessage
from node.store import Migration
from protocols.http.control import ChatMessage, Conversation


def _create(tables: sqlite_utils.Database) -> None:
    tables["conversations"].create(
        {
            "id": str,
            "title": str,
            "created_at": float,
            "updated_at": float,
            "label": str,
            "model": str,
            "head": str,
        },
        pk="id",
        not_null={"title", "created_at", "updated_at", "label", "model"},
    )
    tables["conversations"].create_index(["updated_at"])
    tables["messages"].create(
        {
            "seq": int,
            "id": str,
            "conversation": str,
            "parent": str,
            "role": str,
            "text": str,
            "at": float,
            "state": str,
            "model": str,
            "job": str,
            "error": str,
            "tokens": int,
            "tokens_per_s": float,
            "first_token_s": float,
        },
        pk="seq",
        not_null={"id", "conversation", "role", "text", "at", "state"},
        foreign_keys=[("conversation", "conversations", "id")],
    )
    tables["messages"].create_index(["id"], unique=True)
    tables["messages"].create_index(["conversation"])
    tables["messages"].create_index(["state"])


MIGRATIONS = (Migration("memory/0001-conversations", _create),)


def insert_conversation(tables: sqlite_utils.Database, conversation: Conversation) -> None:
    tables.execute(
        "INSERT INTO conversations (id, title, created_at, updated_at, label, model, head)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        [
            conversation.id,
            conversation.title,
            conversation.created_at,
            conversation.updated_at,
            conversation.label,
            conversation.model,
            conversation.head,
        ],
    )


def insert_message(tables: sqlite_utils.Database, conversation: str, message: ChatMessage) -> None:
    """Add the message and make it the conversation's head."""
    tables.execute(
        "INSERT INTO messages (id, conversation, parent, role, text, at, state, model, job)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            message.id,
            conversation,
            message.parent,
            message.role,
            message.text,
            message.at,
            message.state,
            message.model,
            message.job,
        ],
    )
    tables.execute(
        "UPDATE conversations SET head = ?, updated_at = max(updated_at, ?) WHERE id = ?",
        [message.id, message.at, conversation],
    )


def append_text(tables: sqlite_utils.Database, message: str, text: str) -> None:
    tables.execute("UPDATE messages SET text = text || ? WHERE id = ?", [text, message])


def finish_message(tables: sqlite_utils.Database, message: ChatMessage) -> None:
    """Write the end of an answer: the whole text, the state, what it took."""
    tables.execute(
        "UPDATE messages SET text = ?, state = ?, error = ?, tokens = ?, tokens_per_s = ?,"
        " first_token_s = ? WHERE id = ?",
        [
            message.text,
            message.state,
            message.error,
            message.tokens,
            message.tokens_per_s,
            message.first_token_s,
            message.id,
        ],
    )


def end_what_a_crash_left(tables: sqlite_utils.Database) -> int:
    """Mark every answer that was being written when the node was killed; how many there were."""
    changed = tables.execute("UPDATE messages SET state = 'unfinished' WHERE state = 'running'")
    return int(changed.rowcount)


def read_conversation(tables: sqlite_utils.Database, id: str) -> Conversation:
    """With all its messages. Raises `UnknownConversation`."""
    row = _row(tables, id)
    rows = tables.query("SELECT * FROM messages WHERE conversation = ? ORDER BY seq", [id])
    messages = tuple(_message(each) for each in rows)
    return _conversation(row, len(messages), messages)


def read_list(
    tables: sqlite_utils.Database, limit: int, before: float | None, labels: Collection[str] | None
) -> list[Conversation]:
    """The latest first, without messages; `labels` are those that may be seen (None: all)."""
    may_see = "1" if labels is None else f"c.label IN ({','.join('?' * len(labels))})"
    rows = tables.query(
        "SELECT c.*, (SELECT count(*) FROM messages m WHERE m.conversation = c.id) AS message_count"
        f" FROM conversations c WHERE (? IS NULL OR c.updated_at < ?) AND {may_see}"
        " ORDER BY c.updated_at DESC, c.rowid DESC LIMIT ?",
        [before, before, *(labels or ()), limit],
    )
    return [_conversation(row, row["message_count"], ()) for row in rows]


def read_labels(tables: sqlite_utils.Database) -> list[str]:
    return [str(row["label"]) for row in tables.query("SELECT DISTINCT label FROM conversations")]


def change(tables: sqlite_utils.Database, id: str, **fields: str | float) -> None:
    """Set columns of one conversation. Raises `UnknownConversation`, or `UnknownMessage` for a head."""
    _row(tables, id)
    if "head" in fields and not has_message(tables, id, str(fields["head"])):
        raise UnknownMessage(str(fields["head"]))
    for column, value in fields.items():
        tables.execute(f"UPDATE conversations SET {column} = ? WHERE id = ?", [value, id])


def delete(tables: sqlite_utils.Database, id: str) -> None:
    _row(tables, id)
    tables.execute("DELETE FROM messages WHERE conversation = ?", [id])
    tables.execute("DELETE FROM conversations WHERE id = ?", [id])


def has_message(tables: sqlite_utils.Database, conversation: str, message: str) -> bool:
    found = tables.execute(
        "SELECT 1 FROM messages WHERE conversation = ? AND id = ?", [conversation, message]
    )
    return found.fetchone() is not None


def _row(tables: sqlite_utils.Database, id: str) -> dict[str, Any]:
    for row in tables.query("SELECT * FROM conversations WHERE id = ?", [id]):
        return dict(row)
    raise UnknownConversation(id)


def _conversation(
    row: dict[str, Any], count: int, messages: tuple[ChatMessage, ...]
) -> Conversation:
    return Conversation(
        id=row["id"],
        title=row["title"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        label=row["label"],
        model=row["model"],
        head=row["head"],
        message_count=count,
        messages=messages,
    )


def _message(row: dict[str, Any]) -> ChatMessage:
    return ChatMessage(
        id=row["id"],
        parent=row["parent"],
        role=row["role"],
        text=row["text"],
        at=row["at"],
        state=row["state"],
        model=row["model"] or "",
        job=row["job"] or "",
        error=row["error"] or "",
        tokens=row["tokens"] or 0,
        tokens_per_s=row["tokens_per_s"] or 0.0,
        first_token_s=row["first_token_s"] or 0.0,
    )
