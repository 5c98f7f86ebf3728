"""One endpoint: what it is called, what it takes and gives, who may use it, and who does the work.

The table of endpoints (node.api.routes) is the one source for the app and for the OpenAPI document.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import msgspec
import trio

from node.api.call import Call, EventStream, Reply, start_answer
from node.api.guard import Receive, Scope, Send
from node.api.parts import Parts
from node.api.problems import ApiError, from_exception
from protocols.http import sse

Answer = msgspec.Struct | Reply | None
Handler = Callable[[Call], Awaitable[Answer]]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Endpoint:
    method: str
    path: str  # with {names}
    handler: Handler
    action: str  # for owner.decide(); "" where anyone may
    summary: str
    takes: Any = None  # the type of the JSON body
    gives: Any = None  # the type of the answer, or of each event of a stream
    query: Any = None  # a Struct whose fields are the query
    status: int = 200
    streams: Any = None  # the type of the events, when it can answer with a stream
    media_type: str = "application/json"
    follows: bool = False  # closing the connection stops the work at once


class EndpointApp:
    """An endpoint as an ASGI app: the boundary where every error becomes an answer."""

    def __init__(self, parts: Parts, endpoint: Endpoint) -> None:
        self._parts = parts
        self._endpoint = endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        call = Call(self._parts, scope, send)
        try:
            if self._endpoint.follows:
                reply = await self._serve_until_gone(call, receive)
            else:
                reply = await self._serve(call)
        except Exception as error:  # noqa: BLE001 - the boundary: logged and answered here
            await self._answer_error(call, error, send)
            return
        if reply is not _GONE:
            await self._answer(call, reply, send)

    async def _serve(self, call: Call) -> Answer:
        if self._endpoint.action:
            call.allow(self._endpoint.action)
        return await self._endpoint.handler(call)

    async def _serve_until_gone(self, call: Call, receive: Receive) -> Answer:
        """The handler's answer, or `_GONE` when the client closed the connection: then the handler
        was cancelled at that moment."""
        reply: Answer = _GONE

        async with trio.open_nursery() as nursery:

            async def watch() -> None:
                while (await receive())["type"] != "http.disconnect":
                    pass
                nursery.cancel_scope.cancel()

            nursery.start_soon(watch)
            reply = await self._serve(call)
            nursery.cancel_scope.cancel()
        return reply

    async def _answer(self, call: Call, reply: Answer, send: Send) -> None:
        if call.stream is not None:
            await call.stream.end()
            return
        if reply is None:
            reply = Reply(status=self._endpoint.status)
        elif isinstance(reply, msgspec.Struct):
            reply = Reply(msgspec.json.encode(reply), self._endpoint.status)
        headers = {"content-length": str(len(reply.body)), **reply.headers}
        if reply.body:
            headers["content-type"] = reply.media_type
        if reply.status == 204:
            del headers["content-length"]
        await start_answer(send, reply.status, headers)
        await send({"type": "http.response.body", "body": reply.body})
        if reply.after is not None:
            reply.after()

    async def _answer_error(self, call: Call, error: Exception, send: Send) -> None:
        problem = from_exception(error)
        if problem is None:
            _log.error("%s %s failed", self._endpoint.method, self._endpoint.path, exc_info=error)
            problem = ApiError(
                500,
                "internal",
                "something went wrong inside the node; its log says more (`node logs`)",
            )
        else:
            call.note_refusal(self._endpoint.method, problem)
        body = problem.body(plain=self._endpoint.path.startswith("/v1"))
        if call.stream is not None and call.stream.began:
            await _end_with_error(call.stream, body)
            return
        headers = {
            "content-type": "application/json",
            "content-length": str(len(body)),
            **problem.headers,
        }
        await start_answer(send, problem.status, headers)
        await send({"type": "http.response.body", "body": body})


async def _end_with_error(stream: EventStream, body: bytes) -> None:
    """The status is out already: the last event of the stream says what went wrong."""
    await stream.write(sse.encode(body))
    await stream.end()


_GONE = Reply(status=499)
