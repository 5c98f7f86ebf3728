"""The interface's side of the HTTP API: asyncio and httpx around `protocols.http.requests`.

Every text that comes back has lost the characters that a terminal would obey.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path
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
KEPT_S = 2.0  # an idle connection: less than any server keeps it, so that none breaks in use
ERROR_BYTES = 64 * 1024


class Unreachable(Exception):
    """No node answers at the address."""


class Api:
    """One node. Close with `aclose`."""

    def __init__(self, address: str, token_file: Path) -> None:
        self.address = address
        self._token_file = token_file
        self._token = ""
        self._http: httpx.AsyncClient | None = None
        self._closed = False
        self.read_token()

    def read_token(self) -> None:
        """Read the token's file again; one that cannot be read leaves the last token in place."""
        with suppress(OSError, UnicodeDecodeError):
            self._token = self._token_file.read_text(encoding="ascii").strip()

    async def aclose(self) -> None:
        """Whatever is asked afterwards finds nobody: `Unreachable`."""
        self._closed = True
        if self._http is not None:
            await self._http.aclose()

    async def call(self, request: Request[T], *, patience_s: float = ANSWER_S) -> T:
        """One request, one answer. Raises `ApiProblem` when the node refuses, `Unreachable`."""
        try:
            response = await self._client().request(
                request.method,
                request.path,
                content=request.body,
                headers=request.headers(self._token),
                timeout=httpx.Timeout(patience_s, connect=CONNECT_S),
            )
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise Unreachable(_reason(error)) from error
        return _cleaned(request.read(response.status_code, response.content))

    @asynccontextmanager
    async def stream(self, request: StreamRequest[T]) -> AsyncIterator[AsyncIterator[T]]:
        """The events of a stream; leaving the block closes it, which stops the node's work for it.

        Raises `ApiProblem` when the node refuses or sends nonsense, `Unreachable` when it goes away.
        """
        try:
            async with self._client().stream(
                request.method,
                request.path,
                content=request.body,
                headers=request.headers(self._token),
                timeout=httpx.Timeout(LOADING_S, connect=CONNECT_S),
            ) as response:
                if response.status_code >= 400:
                    raise request.problem(response.status_code, await _start_of(response))
                async with aclosing(_events(request, response)) as events:
                    yield events
        except (httpx.TransportError, httpx.StreamError, httpx.InvalidURL) as error:
            raise Unreachable(_reason(error)) from error

    def _client(self) -> httpx.AsyncClient:
        """Made at the first request: it loads much that the first picture does not need."""
        if self._closed:
            raise Unreachable("this program is leaving")
        if self._http is None:
            limits = httpx.Limits(keepalive_expiry=KEPT_S)
            self._http = httpx.AsyncClient(base_url=self.address, limits=limits, trust_env=False)
        return self._http


async def _events(request: StreamRequest[T], response: httpx.Response) -> AsyncGenerator[T, None]:
    reader = request.events()
    async with aclosing(response.aiter_bytes()) as chunks:  # type: ignore[type-var]
        async for chunk in chunks:
            for event in reader.feed(chunk):
                yield _cleaned(event)


async def _start_of(response: httpx.Response) -> bytes:
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) >= ERROR_BYTES:
            break
    return bytes(body)


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
