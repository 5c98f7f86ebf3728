"""One worker process: started by exec, spoken to through a socketpair, always ended and reaped.

It knows frames and signals, nothing of jobs. What the process prints goes line by line to the log,
bounded; the last lines are kept, to say what it said before it died.
"""

from __future__ import annotations

import logging
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import msgspec
import trio

from protocols.errors import Malformed
from protocols.frames import FrameReader, frame
from protocols.worker import (
    WORKER_FRAME_BYTES,
    FromWorker,
    Stop,
    ToWorker,
    decode_from_worker,
    encode,
)

LEAVE_S = 1.0  # from the polite request to SIGTERM
TERMINATE_S = 0.5  # from SIGTERM to SIGKILL
KILL_S = 2.0  # for the system to clear away a killed process
EXIT_S = 2.0  # from the end of the socket to the end of the process
_READ_BYTES = 256 * 1024
_LINE_CHARS = 1000
_LINES_LOGGED = 2000  # of one process; then it is told that the rest is left out
_LAST_LINES = 5

_PASSED_ON = (
    "PATH",
    "LANG",
    "LC_ALL",
    "PYTHONPATH",
    "LD_LIBRARY_PATH",
    "CUDA_VISIBLE_DEVICES",
    "HIP_VISIBLE_DEVICES",
    "ROCR_VISIBLE_DEVICES",
    "GGML_VK_VISIBLE_DEVICES",
    "COVERAGE_PROCESS_CONFIG",  # set only while the tests measure what they reach
)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Launcher:
    """How a worker process is started: these words, then the number of its socket."""

    command: tuple[str, ...] = (sys.executable, "-P", "-m", "models.worker")
    env: Mapping[str, str] = field(default_factory=dict)


def default_launcher(environ: Mapping[str, str]) -> Launcher:
    """The real worker, with as little of our environment as it needs: no token travels with it."""
    env = {name: environ[name] for name in _PASSED_ON if name in environ}
    env["GGML_NO_BACKTRACE"] = "1"  # else an abort in native code runs a debugger for seconds
    return Launcher(env=env)


class WorkerProcess:
    """Run it once with `run`; `send` and `kill` may be called from any task, and never wait."""

    def __init__(self, launcher: Launcher, name: str) -> None:
        self._launcher = launcher
        self._name = name
        self._process: trio.Process | None = None
        self._stream: trio.SocketStream | None = None
        self._outgoing: deque[bytes] = deque()
        self._more = trio.lowlevel.ParkingLot()
        self._printed = trio.Event()
        self._lines_logged = 0
        self.last_lines: deque[str] = deque(maxlen=_LAST_LINES)
        self.gone = trio.Event()  # the process has ended and everything of it is cleared away
        self.why_killed = ""  # set by whoever ended it, for the message

    @property
    def pid(self) -> int:
        return self._process.pid if self._process else 0

    @property
    def returncode(self) -> int | None:
        return self._process.returncode if self._process else None

    def send(self, message: ToWorker) -> None:
        """Queue one message. Raises `Malformed` when it is larger than a frame may be."""
        self._outgoing.append(frame(encode(message), max_bytes=WORKER_FRAME_BYTES))
        self._more.unpark_all()

    def kill(self, why: str) -> None:
        """End it now with SIGKILL, because of `why`."""
        self.why_killed = self.why_killed or why
        if self._process is not None and self._process.returncode is None:
            self._process.kill()

    async def run(self, on_message: Callable[[FromWorker], None]) -> None:
        """Start the process and hear it until it is gone. Cancelling ends the process first.

        Raises OSError when it cannot be started.
        """
        try:
            await self._start()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write)
                nursery.start_soon(self._capture)
                await self._read(on_message)
                await self._wait_for_exit()
                nursery.cancel_scope.cancel()
        finally:
            with trio.CancelScope(shield=True):
                await self._clear_away()
            self.gone.set()

    async def stop(self) -> None:
        """Ask it to leave, then make it: at most LEAVE_S + TERMINATE_S + KILL_S seconds."""
        self.why_killed = self.why_killed or "it was told to leave"
        self.send(Stop())
        if await self._gone_within(LEAVE_S):
            return
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()
        if await self._gone_within(TERMINATE_S):
            return
        self.kill("it did not leave when asked")
        await self._gone_within(KILL_S)

    async def _gone_within(self, seconds: float) -> bool:
        with trio.move_on_after(seconds):
            await self.gone.wait()
        return self.gone.is_set()

    async def _start(self) -> None:
        ours, theirs = socket.socketpair()
        try:
            self._process = await trio.lowlevel.open_process(
                [*self._launcher.command, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=dict(self._launcher.env),
                pass_fds=(theirs.fileno(),),
                start_new_session=True,  # Ctrl-C in the terminal is for the node to handle
                cwd="/",
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        self._stream = trio.SocketStream(trio.socket.from_stdlib_socket(ours))

    async def _read(self, on_message: Callable[[FromWorker], None]) -> None:
        assert self._stream is not None
        reader = FrameReader(max_bytes=WORKER_FRAME_BYTES)
        try:
            while data := await self._stream.receive_some(_READ_BYTES):
                for payload in reader.feed(data):
                    on_message(decode_from_worker(payload))
        except trio.BrokenResourceError:
            return
        except (Malformed, msgspec.MsgspecError) as error:
            _log.error("worker %s (%d) spoke nonsense: %s", self._name, self.pid, error)
            self.kill("it sent something that is no message")

    async def _write(self) -> None:
        assert self._stream is not None
        try:
            while True:
                while self._outgoing:
                    await self._stream.send_all(self._outgoing.popleft())
                await self._more.park()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return  # the reader notices the end and says so

    async def _capture(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        rest = b""
        try:
            while data := await self._process.stdout.receive_some(_READ_BYTES):
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    self._log_line(line)
                rest = rest[:_LINE_CHARS]
        except trio.BrokenResourceError:
            pass
        if rest:
            self._log_line(rest)
        self._printed.set()

    def _log_line(self, line: bytes) -> None:
        text = line[:_LINE_CHARS].decode("utf-8", "replace").rstrip()
        if not text:
            return
        self.last_lines.append(text)
        self._lines_logged += 1
        if self._lines_logged <= _LINES_LOGGED:
            _log.debug("worker %s (%d): %s", self._name, self.pid, text)
        elif self._lines_logged == _LINES_LOGGED + 1:
            _log.warning("worker %s (%d) prints much: the rest is left out", self._name, self.pid)

    async def _wait_for_exit(self) -> None:
        assert self._process is not None
        with trio.move_on_after(EXIT_S):
            await self._process.wait()
            await self._printed.wait()

    async def _clear_away(self) -> None:
        if self._stream is not None:
            await trio.aclose_forcefully(self._stream)
        if self._process is None:
            return
        if self._process.returncode is None:
            self._process.kill()
        with trio.move_on_after(KILL_S):
            await self._process.wait()
        if self._process.stdout is not None:
            await trio.aclose_forcefully(self._process.stdout)
        if self._process.returncode is None:
            _log.error("worker %s (%d) does not end even when killed", self._name, self.pid)


def describe_exit(returncode: int | None) -> str:
    """An exit status in words."""
    if returncode is None:
        return "did not end"
    if returncode >= 0:
        return f"left with status {returncode}"
    try:
        return f"was ended by {signal.Signals(-returncode).name}"
    except ValueError:
        return f"was ended by signal {-returncode}"
