"""The control API about conversations."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from node.api.call import Call, Reply
from node.memory import as_json, as_markdown
from protocols.http import control


class ListQuery(msgspec.Struct, forbid_unknown_fields=True):
    limit: Annotated[int, Meta(ge=1, le=500)] = 50
    before: Annotated[float, Meta(ge=0)] | None = None  # the `updated_at` of the last one seen


class ExportQuery(msgspec.Struct, forbid_unknown_fields=True):
    format: Literal["markdown", "json"] = "markdown"


async def list_conversations(call: Call) -> control.ConversationList:
    query = call.query(ListQuery)
    found = await call.parts.conversations.list(query.limit, query.before, call.caller)
    return control.ConversationList(tuple(found))


async def new_conversation(call: Call) -> control.Conversation:
    return await call.parts.conversations.create(call.take(control.NewConversation), call.caller)


async def show_conversation(call: Call) -> control.Conversation:
    return await call.parts.conversations.get(call.path("id"), call.caller)


async def change_conversation(call: Call) -> control.Conversation:
    what = call.take(control.ChangeConversation)
    return await call.parts.conversations.change(call.path("id"), what, call.caller)


async def delete_conversation(call: Call) -> None:
    await call.parts.conversations.delete(call.path("id"), call.caller)


async def export_conversation(call: Call) -> Reply:
    query = call.query(ExportQuery)
    found = await call.parts.conversations.get(call.path("id"), call.caller)
    if query.format == "json":
        return Reply(as_json(found))
    return Reply(as_markdown(found).encode(), media_type="text/markdown; charset=utf-8")


async def say(call: Call) -> None:
    """Closing the stream stops the answer; what came so far is kept."""
    what = call.take(control.Say)
    async with call.parts.conversations.say(call.path("id"), what, call.caller) as events:
        out = call.open_stream()
        async for event in events:
            await out.event(event)
