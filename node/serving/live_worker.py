"""One loaded model in one worker process: hands jobs in, events out, and notices when it hangs."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

import trio

from node.serving.errors import JobFailed, TargetLost
from node.serving.turns import Turn
from node.serving.worker_process import Launcher, WorkerProcess, describe_exit
from protocols.errors import Malformed
from protocols.jobs import Ended, Event, Failed, Job, Piece, Started, Vectors
from protocols.worker import Beat, Cancel, FromWorker, Load, Loaded, LoadFailed, Report, Run

PREDICTED_FACTOR = 10.0  # a step may take so many times what was predicted
_ASLEEP_S = 1.0  # a watch that wakes this much too late means that the node itself stood still

_log = logging.getLogger(__name__)

Send = Callable[[Started | Piece | Vectors], None]


@dataclass
class _InFlight:
    """A job that the worker owes an end."""

    send: Send | None  # None: nobody listens any more
    turn: Turn | None
    over: trio.Event = field(default_factory=trio.Event)
    last: Ended | Failed | None = None
    started: bool = False


class LiveWorker:
    """From the start of its process to its end. `run` once; then `settled`, then `do`."""

    def __init__(self, load: Load, launcher: Launcher, name: str, *, hang_s: float) -> None:
        self._load = load
        self._name = name
        self._hang_s = hang_s
        self._process = WorkerProcess(launcher, name)
        self._in_flight: dict[str, _InFlight] = {}
        self._numbers = count(1)
        self._heard = 0.0
        self._predicted = 0.0
        self._owes = trio.lowlevel.ParkingLot()
        self._retired = False
        self.settled = trio.Event()  # loaded, refused, or gone
        self.loaded: Loaded | None = None
        self.refused: LoadFailed | None = None
        self.hung_s = 0.0  # how long it was silent when it was ended for that

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.returncode

    @property
    def usable(self) -> bool:
        return self.loaded is not None and not self._retired and not self.gone.is_set()

    @property
    def retired(self) -> bool:
        """Whether it was told to leave."""
        return self._retired

    @property
    def gone(self) -> trio.Event:
        return self._process.gone

    @property
    def running(self) -> int:
        return sum(each.started for each in self._in_flight.values())

    @property
    def owed(self) -> int:
        """Jobs inside the worker, started or not."""
        return len(self._in_flight)

    def retire(self) -> None:
        """Take no more jobs: it will be stopped."""
        self._retired = True

    async def stop(self) -> None:
        """End it in order, within a bound."""
        self.retire()
        await self._process.stop()

    def kill(self, why: str) -> None:
        self._process.kill(why)

    async def run(self) -> None:
        """Start, load, and serve until the process is gone. Every job in it is then lost."""
        try:
            self._process.send(self._load)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch)
                await self._run_process()
                nursery.cancel_scope.cancel()
        finally:
            for each in list(self._in_flight.values()):
                self._over(each)
            self._in_flight.clear()
            self.settled.set()

    async def _run_process(self) -> None:
        try:
            await self._process.run(self._on_message)
        except OSError as error:
            self.refused = LoadFailed(f"its process cannot be started ({error.strerror or error})")

    async def do(self, job: Job, send: Send, turn: Turn | None = None) -> Ended | Failed:
        """Have one job done; its last event. Cancelling tells the worker at once and waits for nothing.

        `turn` is given back when the worker owes nothing for the job any more, also after a cancel.
        Raises `TargetLost` when the worker ends before the job does, `JobFailed` for a job that is
        too large to send.
        """
        key = f"{job.id}/{next(self._numbers)}"
        entry = _InFlight(send, turn)
        try:
            if not self.usable:
                raise TargetLost(self.why_gone())
            self._send_run(key, job)
        except BaseException:
            self._over(entry)
            raise
        self._in_flight[key] = entry
        try:
            await entry.over.wait()
        finally:
            if not entry.over.is_set():
                entry.send = None
                self._process.send(Cancel(key))
        if entry.last is None:
            raise TargetLost(self.why_gone(), suspect=self._by_itself)
        return entry.last

    def why_gone(self) -> str:
        """What happened to the process, in words."""
        process = self._process
        what = f"the worker of '{self._name}' {describe_exit(process.returncode)}"
        if process.why_killed:
            return f"{what}: {process.why_killed}"
        if process.last_lines:
            return f"{what}; its last words: {process.last_lines[-1][:200]}"
        return what

    @property
    def _by_itself(self) -> bool:
        """Whether it ended by what it did (a fault, a hang), not by somebody's SIGKILL."""
        return self.hung_s > 0 or self._process.returncode != -signal.SIGKILL

    def _send_run(self, key: str, job: Job) -> None:
        try:
            self._process.send(Run(key, job.work, scope=job.asked_by))
        except Malformed as error:
            raise JobFailed("bad_request", f"the request is too large: {error}") from error
        if not self._in_flight:
            self._heard, self._predicted = trio.current_time(), 0.0
            self._owes.unpark_all()

    def _on_message(self, message: FromWorker) -> None:
        self._heard = trio.current_time()
        if isinstance(message, Report):
            self._on_event(message.job, message.event)
        elif isinstance(message, Beat):
            self._predicted = message.predicted_s
        elif isinstance(message, Loaded):
            self.loaded = message
            self.settled.set()
        else:
            self.refused = message
            self.settled.set()

    def _on_event(self, key: str, event: Event) -> None:
        entry = self._in_flight.get(key)
        if entry is None:
            return
        if isinstance(event, Ended | Failed):
            del self._in_flight[key]
            entry.last = event
            self._over(entry)
        else:
            entry.started = True
            if entry.send is not None:
                entry.send(event)

    def _over(self, entry: _InFlight) -> None:
        entry.over.set()
        if entry.turn is not None:
            entry.turn.done()

    async def _watch(self) -> None:
        """End the process when it owes an answer and says nothing for too long."""
        while True:
            if not self._in_flight:
                await self._owes.park()
            due = self._heard + max(self._hang_s, PREDICTED_FACTOR * self._predicted)
            await trio.sleep_until(due)
            now = trio.current_time()
            if now - due > _ASLEEP_S:
                self._heard = now  # we were stopped ourselves: what it said is still to be read
                continue
            silent = now - self._heard
            if self._in_flight and silent >= max(self._hang_s, PREDICTED_FACTOR * self._predicted):
                self.hung_s = silent
                _log.warning("the worker of %s hangs: no step for %.1f s", self._name, silent)
                self._process.kill(f"it hung (no step for {silent:.1f} s)")
                return
