"""Drives a real worker process over a socketpair, as the node does, but with plain blocking calls."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from protocols.frames import FrameReader, frame
from protocols.jobs import Chat, Ended, Event, Failed, Message, Piece, Sampling, Started, Work
from protocols.worker import (
    WORKER_FRAME_BYTES,
    Beat,
    Cancel,
    FromWorker,
    Load,
    Loaded,
    LoadFailed,
    Report,
    Run,
    Stop,
    ToWorker,
    decode_from_worker,
    encode,
)

ROOT = Path(__file__).parents[2]
PATIENCE_S = 60.0


class WorkerGone(Exception):
    """The worker closed its socket."""


class Worker:
    """One worker process. Everything waits at most PATIENCE_S."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        ours.settimeout(PATIENCE_S)
        self._sock = ours
        self._frames = FrameReader(max_bytes=WORKER_FRAME_BYTES)
        self._inbox: list[FromWorker] = []
        self.beats: list[Beat] = []
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "models.worker", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stderr=subprocess.PIPE,
        )
        theirs.close()

    def __enter__(self) -> "Worker":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._sock.close()
        try:
            self.process.wait(PATIENCE_S)
        finally:
            self.process.kill()
            self.process.wait()
            assert self.process.stderr is not None
            self.process.stderr.close()

    def send(self, *messages: ToWorker) -> None:
        data = b"".join(frame(encode(each), max_bytes=WORKER_FRAME_BYTES) for each in messages)
        self._sock.sendall(data)

    def send_bytes(self, data: bytes) -> None:
        self._sock.sendall(data)

    def receive(self) -> FromWorker:
        """The next message, beats too; WorkerGone at the end of the socket."""
        while not self._inbox:
            try:
                data = self._sock.recv(1 << 16)
            except ConnectionResetError:
                data = b""
            if not data:
                raise WorkerGone
            self._inbox += map(decode_from_worker, self._frames.feed(data))
        return self._inbox.pop(0)

    def load(self, load: Load) -> Loaded:
        self.send(load)
        answer = self.receive()
        assert isinstance(answer, Loaded), answer
        return answer

    def load_fails(self, load: Load) -> LoadFailed:
        self.send(load)
        answer = self.receive()
        assert isinstance(answer, LoadFailed), answer
        return answer

    def report(self) -> Report:
        """The next report; beats on the way are kept in `beats`."""
        while True:
            message = self.receive()
            if isinstance(message, Beat):
                self.beats.append(message)
            else:
                assert isinstance(message, Report), message
                return message

    def events(self, jobs: Sequence[str]) -> dict[str, list[Event]]:
        """All events of these jobs until each has ended."""
        found: dict[str, list[Event]] = {job: [] for job in jobs}
        left = set(jobs)
        while left:
            report = self.report()
            found[report.job].append(report.event)
            if isinstance(report.event, Ended | Failed):
                left.remove(report.job)
        return found

    def run(self, work: Work, job: str = "job", scope: str = "") -> list[Event]:
        self.send(Run(job, work, scope))
        return self.events([job])[job]

    def cancel(self, job: str) -> None:
        self.send(Cancel(job))

    def leaves(self) -> int:
        """The exit status, once the socket has ended."""
        try:
            while True:
                self.receive()
        except WorkerGone:
            return self.process.wait(PATIENCE_S)

    def stop(self) -> int:
        self.send(Stop())
        return self.leaves()

    def cut(self) -> float:
        """Close the socket; seconds until the process has left."""
        began = time.monotonic()
        self._sock.close()
        self.process.wait(PATIENCE_S)
        return time.monotonic() - began


@contextmanager
def loaded(load: Load) -> Iterator[Worker]:
    """A worker with this model."""
    with Worker() as worker:
        worker.load(load)
        yield worker


def chat(text: str, **sampling: object) -> Chat:
    return Chat((Message("user", text),), Sampling(**sampling))  # type: ignore[arg-type]


def text_of(events: Sequence[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, Piece))


def tokens_of(events: Sequence[Event]) -> list[int]:
    return [token for event in events if isinstance(event, Piece) for token in event.tokens]


def started(events: Sequence[Event]) -> Started:
    assert isinstance(events[0], Started), events[0]
    return events[0]


def ended(events: Sequence[Event]) -> Ended:
    assert isinstance(events[-1], Ended), events[-1]
    return events[-1]


def failed(events: Sequence[Event]) -> Failed:
    assert isinstance(events[-1], Failed), events[-1]
    return events[-1]
