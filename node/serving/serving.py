"""The serving room's face: jobs in, events out; models loaded and unloaded."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final
from uuid import uuid4

import trio

from models.hardware import Hardware, read_hardware
from node.config import Settings
from node.owner import Caller
from node.serving.admission import Admission
from node.serving.answer import Answer
from node.serving.errors import JobFailed, TargetLost
from node.serving.job_run import JobRun, Way
from node.serving.plan import Models, Plan, Planner, plan
from node.serving.records import Events, Records
from node.serving.residency import MachineMemory
from node.serving.supervisor import State
from node.serving.targets import LocalTarget, Target
from node.serving.worker_process import Launcher, default_launcher
from node.serving.workers import Workers
from protocols.jobs import Count, Ended, Failed, Job, Message

STOP_S: Final = 4.0  # from the wish to stop to the last worker's end
_STOPPING: Final = Failed("cancelled", "the node is stopping", retry=True)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Statistics:
    """Numbers for /metrics and `node status`; totals count since the start."""

    running: int
    waiting: int
    memory_used: int
    memory_budget: int
    outcomes: dict[str, int]  # "ended.stop", "failed.deadline", ... -> jobs
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    retries: int
    loads: int
    worker_deaths: int
    worker_hangs: int


@dataclass
class _Totals:
    outcomes: Counter[str] = field(default_factory=Counter)
    prompt: int = 0
    completion: int = 0
    cached: int = 0
    retries: int = 0


class Serving:
    """Made by `open_serving`. Jobs that fail say so in their last event; nothing is raised for them."""

    def __init__(self, workers: Workers, way: Way, nursery: trio.Nursery) -> None:
        self._workers = workers
        self._way = way
        self._nursery = nursery
        self._runs: dict[str, JobRun] = {}
        self._totals = _Totals()
        self._stopping = False

    @asynccontextmanager
    async def submit(
        self, job: Job, caller: Caller, *, whole: bool = False
    ) -> AsyncIterator[Answer]:
        """Have a job done; yields its events: a channel that ends after one `Ended` or `Failed`.

        `whole`: nothing is handed over before the end, so the job can be run again until then.
        Leaving the block, also by cancellation, cancels the job at once. A job with the id of one
        that is running is refused. Never raises for what happens to the job.
        """
        await trio.lowlevel.checkpoint()
        run = JobRun(job, caller, self._way, whole=whole)
        if self._stopping:
            run.answer.finish(_STOPPING)
        elif job.id in self._runs:
            run.answer.finish(Failed("bad_request", f"a job with the id {job.id} is running"))
        else:
            self._runs[job.id] = run
            self._nursery.start_soon(self._run, run, name=f"job {job.id}")
        try:
            yield run.answer
        finally:
            run.leave()

    async def load(self, name: str) -> None:
        """Load a model now. Raises `JobFailed` with the reason when that cannot be."""
        served = await self._find(name)
        supervisor = self._workers.of(served)
        try:
            with supervisor.wanted():
                await supervisor.ready()
        except TargetLost as error:
            raise JobFailed("worker_died", str(error), retry=True) from error

    async def unload(self, name: str) -> bool:
        """Unload a model; False when it was not loaded. Raises `ModelBusy` while it is in use."""
        supervisor = self._workers.known(name)
        if supervisor is None:
            supervisor = self._workers.known((await self._find(name)).cid)
        if supervisor is None or supervisor.state == "unloaded":
            return False
        await self._workers.unload(supervisor)
        return True

    async def count(self, name: str, messages: Sequence[Message]) -> int:
        """How many tokens these messages are as a prompt; exact, loads the model when needed.

        Raises `JobFailed` when the model cannot say.
        """
        served = await self._find(name)
        job = Job(f"count-{uuid4().hex}", Count(tuple(messages)), served.cid)
        with trio.move_on_after(self._way.longest_s):
            last = await self._count(job, served)
            if isinstance(last, Failed):
                raise JobFailed(last.code, last.message, retry=last.retry)
            return last.usage.prompt_tokens
        raise JobFailed("deadline", f"'{served.name}' did not count the tokens in time", retry=True)

    def state(self, name: str) -> State:
        """Whether a model is loaded, by name or CID; whether its file exists the library knows."""
        supervisor = self._workers.known(name)
        return supervisor.state if supervisor else "unloaded"

    def loaded(self) -> list[str]:
        """Names of the models that can answer without being loaded first."""
        return sorted(
            each.plan.name for each in self._workers.supervisors if each.state == "loaded"
        )

    def context_of(self, name: str) -> int | None:
        """Tokens that fit into one conversation; None for a model that was not served yet."""
        supervisor = self._workers.known(name)
        if supervisor is None:
            return None
        worker = supervisor.worker
        if worker is not None and worker.loaded is not None:
            return worker.loaded.context
        return supervisor.plan.load.context

    def build_of(self, name: str) -> str:
        """Names the code that computes this model; empty while it is not loaded."""
        supervisor = self._workers.known(name)
        worker = supervisor.worker if supervisor else None
        return worker.loaded.build if worker and worker.loaded else ""

    def statistics(self) -> Statistics:
        running = sum(run.answer.started for run in self._runs.values())
        totals, counts = self._totals, self._workers.counts
        return Statistics(
            running=running,
            waiting=len(self._runs) - running,
            memory_used=self._workers.used_bytes,
            memory_budget=self._workers.budget_bytes,
            outcomes=dict(totals.outcomes),
            prompt_tokens=totals.prompt,
            completion_tokens=totals.completion,
            cached_tokens=totals.cached,
            retries=totals.retries,
            loads=counts.loads,
            worker_deaths=counts.deaths,
            worker_hangs=counts.hangs,
        )

    def stop_jobs(self) -> None:
        """Take no more jobs and fail the running ones now; their readers still get that."""
        self._stopping = True
        for run in list(self._runs.values()):
            run.stop(_STOPPING)

    async def _find(self, name: str) -> Plan:
        if self._stopping:
            raise JobFailed(_STOPPING.code, _STOPPING.message, retry=True)
        return await self._way.admission.find(name)

    async def _count(self, job: Job, served: Plan) -> Ended | Failed:
        target = self._way.targets[0]
        for last_try in (False, True):
            try:
                return await target.run(job, served, lambda _: None, alone=False)
            except TargetLost as error:
                if last_try:
                    return Failed("worker_died", str(error), retry=True)
        raise AssertionError("unreachable")

    async def _run(self, run: JobRun) -> None:
        try:
            last = await run.run()
        finally:
            del self._runs[run.job.id]
        totals = self._totals
        how = f"ended.{last.finish}" if isinstance(last, Ended) else f"failed.{last.code}"
        totals.outcomes[how] += 1
        usage = last.usage if isinstance(last, Ended) else run.answer.so_far
        totals.prompt += usage.prompt_tokens
        totals.completion += usage.completion_tokens
        totals.cached += usage.cached_tokens
        totals.retries += run.retries

    async def _stop(self) -> None:
        self.stop_jobs()
        await self._workers.stop()


@asynccontextmanager
async def open_serving(
    settings: Settings,
    models: Models,
    events: Events,
    hardware: Callable[[], Hardware] = read_hardware,
    *,
    launcher: Launcher | None = None,
    planner: Planner = plan,
) -> AsyncIterator[Serving]:
    """The part: serves until the block is left, then fails what runs and ends every worker, in `STOP_S`.

    `hardware` is asked for the memory that is left, before each load and every few seconds.
    """

    def memory() -> MachineMemory:
        machine = hardware()
        return MachineMemory(machine.memory_total, machine.memory_available)

    wishes = settings.serving
    records = Records(events)
    async with trio.open_nursery() as nursery:
        workers = Workers(
            wishes, launcher or default_launcher(os.environ), records, memory, nursery
        )
        targets: list[Target] = [LocalTarget(workers)]
        way = Way(Admission(wishes, models, planner), targets, records, wishes.request_timeout_s)
        serving = Serving(workers, way, nursery)
        nursery.start_soon(workers.keep_house)
        try:
            yield serving
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + STOP_S):
                await serving._stop()
            nursery.cancel_scope.cancel()
