"""One model's worker: loaded on demand, started again when it dies, refused for a while when it keeps dying."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal, Protocol

import trio

from node.config import ServingSettings
from node.serving.breaker import Breaker
from node.serving.errors import JobFailed, TargetLost
from node.serving.live_worker import LiveWorker
from node.serving.plan import Plan
from node.serving.records import Records
from node.serving.residency import Resident
from node.serving.turns import Turns
from node.serving.worker_process import Launcher

_log = logging.getLogger(__name__)

AHEAD = 2  # jobs that wait inside the worker, so that a free place is filled without a round trip
EMBED_AHEAD = 16  # embeddings are computed in batches of what waits
CLEARED_S = 2.0  # from the end of a process to its last record

State = Literal["unloaded", "loading", "loaded"]


class Keeper(Protocol):
    """Who has all models in view: makes room for one, and counts what happens."""

    async def make_room(self, supervisor: Supervisor) -> None:
        """Raises `JobFailed` (out_of_memory) when the model cannot fit."""

    def count(self, what: Literal["loads", "deaths", "hangs"]) -> None: ...


@dataclass
class _Attempt:
    """One try to load; whoever needs the model waits for the same one."""

    over: trio.Event = field(default_factory=trio.Event)
    error: JobFailed | TargetLost | None = None

    def check(self) -> None:
        if isinstance(self.error, JobFailed):
            failed = self.error.failed
            raise JobFailed(failed.code, failed.message, retry=failed.retry)
        if self.error is not None:
            raise TargetLost(str(self.error))


class Supervisor:
    """Owns the worker of one model, in the nursery of `Workers`."""

    def __init__(
        self,
        plan: Plan,
        keeper: Keeper,
        launcher: Launcher,
        settings: ServingSettings,
        records: Records,
        nursery: trio.Nursery,
    ) -> None:
        self.plan = plan
        self._keeper = keeper
        self._launcher = launcher
        self._settings = settings
        self._records = records
        self._nursery = nursery
        ahead = EMBED_AHEAD if plan.embedding else AHEAD
        self.turns = Turns(
            plan.load.sequences + ahead
        )  # for the worker's places; outlive the worker
        self._breaker = Breaker()
        self._attempt: _Attempt | None = None
        self._live: LiveWorker | None = None
        self._one_at_a_time = trio.Lock()
        self._wanted = 0
        self._used_at = trio.current_time()
        self.reserved = (
            0  # bytes that count as used: from just before the load to the process's end
        )
        self.retiring = False

    @property
    def state(self) -> State:
        if self._live is not None and self._live.usable:
            return "loaded"
        return "loading" if self._attempt is not None else "unloaded"

    @property
    def worker(self) -> LiveWorker | None:
        """The loaded worker, if there is one now."""
        return self._live if self._live is not None and self._live.usable else None

    @property
    def resident(self) -> Resident:
        idle = self._wanted == 0 and self._attempt is None
        return Resident(self.plan.cid, self.reserved, idle, self._used_at)

    @property
    def refuses_for(self) -> float:
        """Seconds for which no start is tried, because it kept dying."""
        return self._breaker.refuses_for(trio.current_time())

    @contextmanager
    def wanted(self) -> Iterator[None]:
        """While this is open the model is not unloaded for being idle."""
        self._wanted += 1
        try:
            yield
        finally:
            self._wanted -= 1
            self._used_at = trio.current_time()

    def answered(self) -> None:
        """A job ended well: earlier deaths no longer count."""
        self._breaker.answered()

    async def ready(self) -> LiveWorker:
        """The loaded worker; loads it when needed. Cancelling leaves the load going on for others.

        Raises `JobFailed` when the model cannot be loaded, `TargetLost` when its worker died on the way.
        """
        while (worker := self.worker) is None:
            attempt = self._attempt or self._begin()
            await attempt.over.wait()
            attempt.check()
        return worker

    def retire(self) -> None:
        """Give its memory up; nothing new is begun in it. Followed by `stop`."""
        self.retiring = True
        if self._live is not None:
            self._live.retire()

    async def stop(self) -> None:
        """End the worker and wait until its memory is free again; bounded."""
        live = self._live
        if live is None:
            return
        self.retire()
        await live.stop()
        with trio.move_on_after(CLEARED_S):
            async with self._one_at_a_time:
                pass

    def _begin(self) -> _Attempt:
        self._attempt = _Attempt()
        self._nursery.start_soon(self._generation, self._attempt, name=f"worker {self.plan.name}")
        return self._attempt

    async def _generation(self, attempt: _Attempt) -> None:
        """The life of one worker, from the wish for it to the end of its process."""
        try:
            async with self._one_at_a_time:  # the worker before is gone, with its memory
                try:
                    await self._prepare()
                    await self._live_and_die(attempt)
                finally:
                    self.reserved = 0
                    self._live = None
                    self.retiring = False
        except JobFailed as error:
            self._settle(attempt, error)
        except Exception:  # noqa: BLE001  the boundary of one worker: the node lives
            _log.exception("supervising the worker of %s went wrong", self.plan.name)
            self._settle(attempt, TargetLost("the node made a mistake while it ran the worker"))
        finally:
            self._settle(attempt, TargetLost(f"'{self.plan.name}' is not being loaded any more"))

    async def _prepare(self) -> None:
        """Wait for the back-off, and for room."""
        if refuses := self.refuses_for:
            raise JobFailed(
                "model_failed",
                f"the worker of '{self.plan.name}' died {self._breaker.deaths} times in a row; "
                f"the next start is tried in {refuses:.0f} s (see `node logs`)",
                retry=True,
            )
        await trio.sleep(self._breaker.delay_s(trio.current_time()))
        await self._keeper.make_room(self)

    async def _live_and_die(self, attempt: _Attempt) -> None:
        live = LiveWorker(
            self.plan.load, self._launcher, self.plan.name, hang_s=self._settings.hang_s
        )
        self._live = live
        async with trio.open_nursery() as nursery:
            nursery.start_soon(live.run)
            with trio.move_on_after(self._settings.load_timeout_s):
                await live.settled.wait()
            if live.loaded is None:
                self._settle(attempt, self._why_not_loaded(live))
                live.kill("it is of no use without its model")
            else:
                await self._opened(live)
                self._settle(attempt, None)
        await self._mourn(live)

    async def _opened(self, live: LiveWorker) -> None:
        assert live.loaded is not None
        self.reserved = live.loaded.memory_bytes or self.reserved
        self._used_at = trio.current_time()
        self._keeper.count("loads")
        await self._records.note(
            "worker.started",
            self.plan.cid,
            name=self.plan.name,
            pid=live.pid,
            build=live.loaded.build,
            context=live.loaded.context,
            sequences=live.loaded.sequences,
            memory=live.loaded.memory_bytes,
            seconds=round(live.loaded.seconds, 3),
        )

    def _why_not_loaded(self, live: LiveWorker) -> JobFailed | TargetLost:
        name = self.plan.name
        if live.refused is not None:
            code: Literal["out_of_memory", "model_failed"] = (
                "out_of_memory" if live.refused.out_of_memory else "model_failed"
            )
            return JobFailed(code, f"'{name}' cannot be loaded: {live.refused.message}")
        if not live.settled.is_set():
            limit = self._settings.load_timeout_s
            return JobFailed(
                "model_failed",
                f"'{name}' was not loaded within {limit:.0f} s: raise serving.load_timeout_s, "
                "or use a smaller model",
                retry=True,
            )
        return TargetLost(f"{live.why_gone()}, while it loaded")

    async def _mourn(self, live: LiveWorker) -> None:
        """Say how the process ended; a death that nobody asked for counts against it."""
        ended = {"name": self.plan.name, "pid": live.pid, "returncode": live.returncode}
        if live.refused is not None or live.retired:
            await self._records.note("worker.stopped", self.plan.cid, **ended)
            return
        self._breaker.died(trio.current_time())
        self._keeper.count("deaths")
        _log.warning("%s", live.why_gone())
        if live.hung_s:
            self._keeper.count("hangs")
            silent = round(live.hung_s, 2)
            await self._records.note("worker.hung", self.plan.cid, silent_s=silent, **ended)
        await self._records.note("worker.died", self.plan.cid, **ended)

    def _settle(self, attempt: _Attempt, error: JobFailed | TargetLost | None) -> None:
        """Let those who wait for this attempt go on. Only the first call counts."""
        if not attempt.over.is_set():
            attempt.error = error
            attempt.over.set()
            if self._attempt is attempt:
                self._attempt = None
