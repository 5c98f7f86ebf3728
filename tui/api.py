"""The interface's side of the HTTP API: asyncio and httpx around `protocols.http.requests`.

Every text that comes back has lost the characters that a terminal would obey.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import httpx
import msgspec

from protocols.http.control import Problem
from protocols.http.requests import ApiProblem, Request, StreamRequest
from protocols.text import clean, clean_all

T = TypeVar("T")

CONNECT_S = 3.0
ANSWER_S = 30.0
LOADING_S = 900.0  # a large model takes its time before the first token


class Unreachable(Exception):
    """No node answers at the address."""


class Api:
    """One node. Close with `aclose`."""

    def __init__(self, address: str, token: str) -> None:
        self.address = address
        self._token = token
        timeout = httpx.Timeout(ANSWER_S, connect=CONNECT_S, read=LOADING_S)
        self._http = httpx.AsyncClient(base_url=address, timeout=timeout, trust_env=False)

    async def aclose(self) -> None:
        await self._http.aclose()

    async def call(self, request: Request[T]) -> T:
        """One request, one answer. Raises `ApiProblem` when the node refuses, `Unreachable`."""
        try:
            response = await self._http.request(
                request.method,
                request.path,
                content=request.body,
                headers=request.headers(self._token),
            )
        except httpx.TransportError as error:
            raise Unreachable(_reason(error)) from error
        return _cleaned(request.read(response.status_code, response.content))

    @asynccontextmanager
    async def stream(self, request: StreamRequest[T]) -> AsyncIterator[AsyncIterator[T]]:
        """The events of a stream; leaving the block closes it, which stops the node's work for it."""
        try:
            async with self._http.stream(
                request.method,
                request.path,
                content=request.body,
                headers=request.headers(self._token),
            ) as response:
                if response.status_code >= 400:
                    raise request.problem(response.status_code, await response.aread())
                yield _events(request, response)
        except httpx.TransportError as error:
            raise Unreachable(_reason(error)) from error


async def _events(request: StreamRequest[T], response: httpx.Response) -> AsyncIterator[T]:
    reader = request.events()
    async for chunk in response.aiter_bytes():
        for event in reader.feed(chunk):
            yield _cleaned(event)


def _cleaned(value: T) -> T:
    if isinstance(value, str):
        return clean(value)  # type: ignore[return-value]
    if isinstance(value, msgspec.Struct):
        plain: Any = clean_all(msgspec.to_builtins(value))
        return msgspec.convert(plain, type(value))
    return value


def _reason(error: Exception) -> str:
    return clean(str(error)) or type(error).__name__


def words_of(error: ApiProblem | Unreachable) -> str:
    """What went wrong, for a person."""
    if isinstance(error, Unreachable):
        return f"the node does not answer ({error}); start it with `node start`"
    problem: Problem = error.problem
    return clean(f"{problem.message}: {problem.hint}" if problem.hint else problem.message)
