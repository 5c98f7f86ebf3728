"""The command line's side of the HTTP API: a blocking connection for each request.

What to send and how to read it is in `protocols.http.requests`; this adds the socket, from the standard
library, so that a command starts in a moment.
"""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from node.cli.errors import FAILED, NOT_FOUND, NOT_RUNNING, REFUSED, USAGE, CliError
from node.running import RunningNode
from protocols.http.requests import ApiProblem, Request, StreamRequest

T = TypeVar("T")
_EXIT = {400: USAGE, 401: REFUSED, 403: REFUSED, 404: NOT_FOUND, 422: USAGE}
ANSWER_BYTES = 64 * 1024 * 1024
CHUNK_BYTES = 64 * 1024
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

    def call(self, request: Request[T]) -> T:
        """One request, one typed answer; `CliError` with the node's own words when it refuses."""
        with _problems_in_words(), self._sent(request) as response:
            body = response.read(ANSWER_BYTES)
            if response.length and len(body) < ANSWER_BYTES:
                raise http.client.IncompleteRead(body, response.length)  # the node was killed
            return request.read(response.status, body)

    def events(self, request: StreamRequest[T]) -> Iterator[T]:
        """The events of a stream as they come. Closing the iterator closes the connection."""
        with _problems_in_words(), self._sent(request) as response:
            if response.status >= 400:
                raise request.problem(response.status, response.read(ANSWER_BYTES))
            reader = request.events()
            while not reader.done and (chunk := response.read1(CHUNK_BYTES)):
                yield from reader.feed(chunk)

    @contextmanager
    def _sent(
        self, request: Request[Any] | StreamRequest[Any]
    ) -> Iterator[http.client.HTTPResponse]:
        at = urlsplit(self.node.address)
        connection = http.client.HTTPConnection(
            at.hostname or "127.0.0.1", at.port, timeout=CONNECT_S
        )
        try:
            connection.connect()
            connection.sock.settimeout(self._timeout)
            connection.request(
                request.method, request.path, request.body, request.headers(self._token)
            )
            yield connection.getresponse()
        finally:
            connection.close()


@contextmanager
def _problems_in_words() -> Iterator[None]:
    """What can go wrong between here and the node, as the one error that is shown."""
    try:
        yield
    except ApiProblem as error:
        hint = f": {error.problem.hint}" if error.problem.hint else ""
        exit_code = _EXIT.get(error.status, FAILED)
        raise CliError(f"{error.problem.message}{hint}", exit_code=exit_code) from error
    except TimeoutError as error:
        raise CliError("the node does not answer: see `node doctor` and `node logs`") from error
    except (ConnectionError, socket.gaierror, http.client.HTTPException) as error:
        raise CliError(
            f"the node stopped answering ({str(error) or type(error).__name__}): "
            "see `node logs`, start it again with `node start`",
            exit_code=NOT_RUNNING,
        ) from error
