"""Serving the app: sockets, connections, and the end of both."""

from __future__ import annotations

import logging
import socket
from dataclasses import dataclass
from typing import Final

import trio
from hypercorn.config import Config
from hypercorn.trio.worker_context import WorkerContext
from starlette.applications import Starlette

from node.api.connection import Connection
from node.api.sockets import listen_tcp, listen_unix, url_of
from node.config import ApiSettings
from node.home import Home
from protocols.limits import HTTP_HEADER_BYTES

CONNECTIONS: Final = 512  # open at a time; for one more the longest idle one is closed
KEEP_ALIVE_S: Final = 60.0  # also the time that a request's head may take

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Bound:
    """Where the API can be reached: base URLs, and "unix:PATH"."""

    addresses: tuple[str, ...]


async def serve(
    app: Starlette,
    settings: ApiSettings,
    home: Home,
    *,
    task_status: trio.TaskStatus[Bound] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until cancelled; then every connection is closed, whatever it was doing.

    Raises `CannotListen` before `task_status.started(Bound)` when the address cannot be used.
    """
    sockets: list[socket.socket] = listen_tcp(settings.host, settings.port)
    unix: socket.socket | None = None
    try:
        unix = listen_unix(home.socket)
        if unix is not None:
            sockets.append(unix)
        bound = Bound(tuple(url_of(each) for each in sockets))
        app.state.addresses = bound.addresses
        listeners = [trio.SocketListener(trio.socket.from_stdlib_socket(each)) for each in sockets]
        async with trio.open_nursery() as nursery:
            await nursery.start(trio.serve_listeners, _Door(app).let_in, listeners)
            task_status.started(bound)
    finally:
        for each in sockets:
            each.close()
        if unix is not None:
            home.socket.unlink(missing_ok=True)


class _Door:
    """Serves each connection, up to a number at a time: whoever opens many and asks nothing gives way."""

    def __init__(self, app: Starlette) -> None:
        self._app = app
        self._config = _config()
        self._context = WorkerContext(None)
        self._open: dict[Connection, None] = {}  # the oldest first

    async def let_in(self, stream: trio.SocketStream) -> None:
        if len(self._open) >= CONNECTIONS and not self._make_room():
            await trio.aclose_forcefully(stream)
            return
        connection = Connection(self._app, self._config, self._context, stream)
        self._open[connection] = None
        try:
            await connection.run()
        except* Exception as errors:  # noqa: BLE001 - one bad connection is not the others' end
            _log.error("a connection ended with an error", exc_info=errors)
        finally:
            self._open.pop(connection, None)

    def _make_room(self) -> bool:
        idle = next((each for each in self._open if each.is_idle), None)
        if idle is None:
            return False
        del self._open[idle]
        idle.drop()
        return True


def _config() -> Config:
    config = Config()
    config.accesslog = None
    config.errorlog = _log
    config.include_server_header = False
    config.h11_max_incomplete_size = HTTP_HEADER_BYTES
    config.keep_alive_timeout = KEEP_ALIVE_S
    config.websocket_max_message_size = HTTP_HEADER_BYTES
    return config
