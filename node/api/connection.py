"""One connection of the API: Hypercorn's HTTP/1.1 protocol over a trio stream.

Why not `hypercorn.trio.serve`: its writes are shielded from cancellation and have no time limit, so
one client that stops reading would hold the whole node open at stop; and it switches to HTTP/2 when
asked, which nobody here needs: an offer to (`Upgrade: h2c`, which some clients make with every request)
is answered in HTTP/1.1. docs/decisions/ has the details.
"""

from __future__ import annotations

from typing import Any, Final

import h11
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.h11 import H2ProtocolAssumedError, H11Protocol
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState

_RECEIVE_BYTES: Final = 64 * 1024
SEND_S: Final = 30.0  # a client that takes nothing for so long is gone


class _Http1(H11Protocol):  # type: ignore[misc]  # Hypercorn is untyped here
    """HTTP/1.1 and nothing else: who offers to speak HTTP/2 goes on as they began."""

    async def _check_protocol(self, event: h11.Request) -> None:
        if event.method == b"PRI":
            raise H2ProtocolAssumedError(b"")


class Connection:
    """Serves requests on one stream until either side closes it."""

    def __init__(
        self, app: Any, config: Config, context: WorkerContext, stream: trio.SocketStream
    ) -> None:
        self._stream = stream
        self._app = ASGIWrapper(app)
        self._config = config
        self._context = context
        self._sending = trio.Lock()
        self._broken = False
        self._idle = trio.CancelScope()
        self._life = trio.CancelScope()

    @property
    def is_idle(self) -> bool:
        """Whether it waits for a request, or for the rest of one's head."""
        return not self._idle.cancel_called

    def drop(self) -> None:
        """Close it at once."""
        self._life.cancel()

    async def run(self) -> None:
        """Returns when the connection is closed; everything that it started has ended then."""
        with self._life:
            await self._run()

    async def _run(self) -> None:
        try:
            async with TaskGroup() as group:
                self._group = group
                self._protocol = _Http1(
                    self._app,
                    self._config,
                    self._context,
                    group,
                    ConnectionState({}),
                    False,
                    self._address(self._stream.socket.getpeername()),
                    self._address(self._stream.socket.getsockname()),
                    self._on_event,
                )
                self._watch_idle()
                await self._read()
        except OSError:
            pass  # closed while we asked for its addresses
        finally:
            self._idle.cancel()
            await trio.aclose_forcefully(self._stream)

    async def _read(self) -> None:
        try:
            while True:
                data = bytes(await self._stream.receive_some(_RECEIVE_BYTES))
                await self._protocol.handle(RawData(data))
                if not data:
                    break
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        except H2ProtocolAssumedError:
            pass  # HTTP/2 from the first byte on is not spoken here
        await self._protocol.handle(Closed())
        self._idle.cancel()

    async def _on_event(self, event: Event) -> None:
        if isinstance(event, RawData):
            await self._write(event.data)
        elif isinstance(event, Closed):
            await self._hang_up()
        elif isinstance(event, Updated):
            if event.idle:
                self._watch_idle()
            else:
                self._idle.cancel()

    async def _write(self, data: bytes) -> None:
        """Cancellable, and never longer than `SEND_S`: half a write ends the connection."""
        async with self._sending:
            if self._broken:
                return  # half of something was written: nothing after it would make sense
            try:
                with trio.fail_after(SEND_S):
                    await self._stream.send_all(data)
                return
            except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
                pass
            except trio.Cancelled:
                self._broken = True
                raise
        await self._hang_up()

    async def _hang_up(self) -> None:
        await self._protocol.handle(Closed())
        try:
            with trio.move_on_after(1.0):
                await self._stream.send_eof()
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError):
            pass
        await self._stream.aclose()

    def _watch_idle(self) -> None:
        """Close the connection when no whole request head comes for the keep-alive time."""
        self._idle.cancel()
        self._idle = trio.CancelScope()
        self._group.spawn(self._close_when_idle, self._idle)

    async def _close_when_idle(self, scope: trio.CancelScope) -> None:
        with scope:
            await trio.sleep(self._config.keep_alive_timeout)
            scope.shield = True
            await self._hang_up()

    def _address(self, name: Any) -> tuple[str, int] | None:
        return (str(name[0]), int(name[1])) if isinstance(name, tuple) else None
