"""The command line's side of the HTTP API: one blocking connection, typed answers, event streams.

Standard library only, so that a command starts in a moment.
"""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

import msgspec

from node.cli.errors import FAILED, NOT_FOUND, NOT_RUNNING, REFUSED, USAGE, CliError
from node.running import RunningNode
from protocols.http.control import ProblemAnswer
from protocols.limits import SSE_LINE_BYTES

T = TypeVar("T")
_EXIT = {400: USAGE, 401: REFUSED, 403: REFUSED, 404: NOT_FOUND, 409: FAILED, 422: USAGE}
ANSWER_BYTES = 64 * 1024 * 1024
CONNECT_S = 5.0


class Client:
    """Talks to the running node as its owner."""

    def __init__(self, node: RunningNode, *, timeout: float = 600.0) -> None:
        self.node = node
        self._timeout = timeout
        try:
            self._token = Path(node.token_file).read_text(encoding="ascii").strip()
        except OSError as error:
            raise CliError(
                f"the node's token {node.token_file} cannot be read ({error.strerror}): "
                "are you the user who runs the node?",
                exit_code=REFUSED,
            ) from error

    def call(self, method: str, path: str, body: Any = None, *, answer: type[T]) -> T:
        """One request, one typed answer; `CliError` with the node's own words when it refuses."""
        with self._request(method, path, body) as response:
            data = response.read(ANSWER_BYTES)
        if answer is bytes:
            return cast(T, data)
        try:
            return msgspec.json.decode(data or b"null", type=answer)
        except msgspec.MsgspecError as error:
            raise CliError(f"the node answered something else than expected: {error}") from error

    def events(
        self, method: str, path: str, body: Any = None, *, decoder: msgspec.json.Decoder[T]
    ) -> Iterator[T]:
        """The events of a stream as they come. Closing the iterator closes the connection."""
        with self._request(method, path, body) as response:
            for data in _event_data(response):
                if data == b"[DONE]":
                    return
                yield decoder.decode(data)

    @contextmanager
    def _request(self, method: str, path: str, body: Any) -> Iterator[http.client.HTTPResponse]:
        address = urlsplit(self.node.address)
        connection = http.client.HTTPConnection(
            address.hostname or "127.0.0.1", address.port, timeout=CONNECT_S
        )
        headers = {"Authorization": f"Bearer {self._token}", "Accept": "application/json"}
        payload = None
        if body is not None:
            payload = msgspec.json.encode(body)
            headers["Content-Type"] = "application/json"
        try:
            connection.connect()
            connection.sock.settimeout(self._timeout)
            connection.request(method, path, payload, headers)
            response = connection.getresponse()
            if response.status >= 400:
                raise _refusal(response.status, response.read(ANSWER_BYTES))
            yield response
        except (ConnectionError, socket.gaierror, http.client.HTTPException) as error:
            raise CliError(
                f"the node stopped answering ({str(error) or type(error).__name__}): "
                "see `node logs`, start it again with `node start`",
                exit_code=NOT_RUNNING,
            ) from error
        except TimeoutError as error:
            raise CliError("the node does not answer: see `node doctor` and `node logs`") from error
        finally:
            connection.close()


def _event_data(response: http.client.HTTPResponse) -> Iterator[bytes]:
    """The `data:` of each server-sent event; comments and other fields are skipped."""
    while line := response.readline(SSE_LINE_BYTES):
        if line.startswith(b"data:"):
            yield line[5:].strip()


def _refusal(status: int, data: bytes) -> CliError:
    try:
        problem = msgspec.json.decode(data, type=ProblemAnswer).error
        text = f"{problem.message}: {problem.hint}" if problem.hint else problem.message
    except msgspec.MsgspecError:
        text = f"the node refused with status {status}"
    return CliError(text, exit_code=_EXIT.get(status, FAILED))
