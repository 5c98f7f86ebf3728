"""One request as a handler sees it: who asks, what for, and the ways to answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar
from urllib.parse import parse_qsl

import msgspec

from node.api.explain import explain
from node.api.guard import BODY, CALLER, Scope, Send
from node.api.parts import Parts
from node.api.problems import ApiError, bad_request
from node.owner import Ask, Caller, decide
from protocols.http import sse

T = TypeVar("T")

_QUERY_FIELDS: Final = 32


@dataclass(frozen=True)
class Reply:
    """An answer that is not simply a typed object with status 200."""

    body: bytes = b""
    status: int = 200
    media_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    after: Callable[[], None] | None = None  # called when the answer is out


class EventStream:
    """The answer as server-sent events; it begins with the first one, so errors before it have a status."""

    def __init__(self, send: Send, headers: Mapping[str, str]) -> None:
        self._send = send
        self._headers = headers
        self.began = False

    async def write(self, data: bytes) -> None:
        """Send bytes that are whole events (protocols.http.sse.encode)."""
        if not self.began:
            self.began = True
            headers = {"content-type": sse.MEDIA_TYPE, "x-accel-buffering": "no", **self._headers}
            await start_answer(self._send, 200, headers)
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def event(self, what: msgspec.Struct) -> None:
        await self.write(sse.encode(msgspec.json.encode(what)))

    async def end(self) -> None:
        await self._send({"type": "http.response.body", "body": b""})


class Call:
    """One request that may be served: who asks, what for, and the way to answer with a stream."""

    def __init__(self, parts: Parts, scope: Scope, send: Send) -> None:
        self.parts = parts
        self.caller: Caller = scope[CALLER]
        self.app_state: Any = scope["app"].state
        self.stream: EventStream | None = None
        self._scope = scope
        self._send = send

    def path(self, name: str) -> str:
        """A part of the path that the endpoint names in braces."""
        return str(self._scope["path_params"][name])

    def take(self, kind: type[T]) -> T:
        """The body as this type. Raises `ApiError` saying which field is wrong and why."""
        body: bytes = self._scope[BODY]
        if not body:
            body = b"{}"
        try:
            return msgspec.json.decode(body, type=kind)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
            message, param = explain(error)
            raise bad_request(message, param=param) from error

    def query(self, kind: type[T]) -> T:
        """The query as this type. Raises `ApiError` for unknown names and wrong values."""
        try:
            text = self._scope["query_string"].decode("ascii")
            pairs = parse_qsl(
                text, keep_blank_values=True, max_num_fields=_QUERY_FIELDS, errors="strict"
            )
            return msgspec.convert(dict(pairs), kind, strict=False)
        except UnicodeDecodeError as error:
            raise bad_request("the query is not UTF-8") from error
        except (msgspec.ValidationError, ValueError) as error:
            message, param = explain(error)
            raise bad_request(f"in the query: {message}", param=param) from error

    def header(self, name: str) -> str:
        for key, value in self._scope["headers"]:
            if key.lower() == name.encode():
                return str(value.decode("latin-1"))
        return ""

    def allow(self, action: str, label: str | None = None, subject: str = "") -> None:
        """The one way to ask `owner.decide()`. Raises `ApiError` with the rule and the reason."""
        decision = decide(Ask(self.caller, action, label, subject))
        if not decision.allowed:
            raise ApiError(403, "refused", decision.reason, hint=f"rule {decision.rule}")

    def note_refusal(self, method: str, error: ApiError) -> None:
        """For the log, where it is something that the owner would want to know."""
        self.app_state.refusals.note(method, self._scope["path"], error, self.caller.id)

    def open_stream(self, headers: Mapping[str, str] | None = None) -> EventStream:
        """Answer with a stream of events instead of one object; the handler returns None then."""
        self.stream = EventStream(self._send, headers or {})
        return self.stream


async def start_answer(send: Send, status: int, headers: Mapping[str, str]) -> None:
    raw = [(name.encode(), value.encode("latin-1", "replace")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
