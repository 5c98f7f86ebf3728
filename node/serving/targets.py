"""What can run a job. Today the workers of this machine; peers come with the mesh."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from node.serving.plan import Plan
from node.serving.router import Candidate
from node.serving.workers import Workers
from protocols.jobs import Count, Ended, Failed, Job, Piece, Started, Vectors

Send = Callable[[Started | Piece | Vectors], None]


class Target(Protocol):
    """Runs whole jobs. Every target yields the same events."""

    @property
    def name(self) -> str: ...

    def candidate(self, plan: Plan) -> Candidate:
        """What it could do for a job of this model, now."""

    async def run(self, job: Job, plan: Plan, send: Send, *, alone: bool) -> Ended | Failed:
        """Run the job; `send` gets its events as they come and never waits. Returns the last one.

        `alone`: with no other job beside it, because one of them may have killed the last target.
        Cancelling stops the job there at once. Raises `JobFailed`, and `TargetLost` when the
        target is gone before the job's end.
        """


class LocalTarget:
    """The workers on this machine."""

    name = "local"

    def __init__(self, workers: Workers) -> None:
        self._workers = workers

    def candidate(self, plan: Plan) -> Candidate:
        supervisor = self._workers.of(plan)
        worker = supervisor.worker
        running = worker.running if worker else 0
        return Candidate(
            self.name,
            loaded=worker is not None,
            running=running,
            waiting=supervisor.turns.waiting + (worker.owed - running if worker else 0),
            places=plan.load.sequences,
        )

    async def run(self, job: Job, plan: Plan, send: Send, *, alone: bool) -> Ended | Failed:
        supervisor = self._workers.of(plan)
        with supervisor.wanted():
            # Counting takes no turn: it answers between two steps, however long the others take.
            counting = isinstance(job.work, Count)
            turn = None if counting else await supervisor.turns.take(alone=alone)
            try:
                worker = await supervisor.ready()
            except BaseException:
                if turn is not None:
                    turn.done()
                raise
            last = await worker.do(job, send, turn)
            if isinstance(last, Ended):
                supervisor.answered()
            return last
