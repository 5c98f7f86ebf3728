"""The life of one job: admitted, routed, run, run again when its target died, ended, recorded."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import trio

from node.owner import Caller
from node.serving.admission import Admission, Admitted
from node.serving.answer import ANSWER_BYTES, WHOLE_BYTES, Answer
from node.serving.errors import JobFailed, TargetLost
from node.serving.records import Records
from node.serving.router import Choice, choose
from node.serving.targets import Target
from node.store import StoreError
from protocols.jobs import Ended, Failed, Job

RETRIES = 2  # of a job of whose answer nothing was read yet
RECORD_S = 2.0  # for the last record, also when everything is being stopped

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Way:
    """What every job passes through."""

    admission: Admission
    targets: Sequence[Target]
    records: Records
    longest_s: float


class JobRun:
    """One job from submit to its last event. `run` it in a task; `answer` is for the reader."""

    def __init__(self, job: Job, caller: Caller, way: Way, *, whole: bool = False) -> None:
        self.job = job
        self._caller = caller
        self._way = way
        self._scope = trio.CancelScope()
        self._verdict: Ended | Failed | None = None
        self.answer = Answer(
            self._reader_is_slow, max_bytes=WHOLE_BYTES if whole else ANSWER_BYTES, whole=whole
        )
        self.retries = 0

    def leave(self) -> None:
        """The reader is gone: stop at once."""
        self.answer.close()
        self.stop(Ended("cancelled", self.answer.so_far))

    def stop(self, last: Ended | Failed) -> None:
        """End the job now, with this last event. Nothing happens when it has ended."""
        if self._verdict is None and self.answer.last is None:
            self._verdict = last
            self._scope.cancel()

    async def run(self) -> Ended | Failed:
        """Do everything and return the last event, which the reader gets too. Raises only Cancelled."""
        last: Ended | Failed = Failed("cancelled", "the node is stopping", retry=True)
        limit = self._way.longest_s
        if self.job.deadline_s is not None:
            limit = min(limit, max(0.0, self.job.deadline_s))
        self._scope.deadline = trio.current_time() + limit
        try:
            with self._scope:
                last = await self._guarded()
            if self._scope.cancelled_caught:
                last = self._verdict or _too_late(limit)
        finally:
            try:
                with trio.CancelScope(shield=True, deadline=trio.current_time() + RECORD_S):
                    await self._record_end(last)
            finally:
                self.answer.finish(last)
        return last

    async def _guarded(self) -> Ended | Failed:
        try:
            admitted = await self._way.admission.admit(self.job, self._caller)
            with self._way.admission.place(admitted.plan):
                return await self._admitted(admitted)
        except JobFailed as error:
            return error.failed
        except Exception:  # noqa: BLE001  the boundary of one job: the others go on
            _log.exception("job %s went wrong", self.job.id)
            return Failed("internal", "the node made a mistake with this request (see `node logs`)")

    async def _admitted(self, admitted: Admitted) -> Ended | Failed:
        """Run it while its admission is being written; the reader gets nothing before that is kept."""
        choice = self._route(admitted)
        last: Ended | Failed | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._record_admission, admitted, choice)
            last = await self._attempts(admitted, choice)
        return self._verdict or last

    async def _attempts(self, admitted: Admitted, choice: Choice) -> Ended | Failed:
        """Never raises `JobFailed` or `TargetLost`."""
        alone = False
        while True:
            target = self._chosen(choice)
            if target is None:
                return Failed("refused", "nothing that could run this job may see it")
            try:
                last = await target.run(admitted.job, admitted.plan, self.answer.put, alone=alone)
                if not (isinstance(last, Failed) and last.code == "internal" and last.retry):
                    return last
                why = last
            except JobFailed as error:
                return error.failed
            except TargetLost as error:
                why = Failed("worker_died", str(error), retry=True)
                alone = error.suspect  # so that the one that did it harms no others again
            if self.retries >= RETRIES or not self.answer.rewind():
                return why
            self.retries += 1
            choice = self._route(admitted)
            await self._way.records.note(
                "job.retried",
                self.job.id,
                attempt=self.retries,
                code=why.code,
                choice=choice.chosen.name if choice.chosen else None,
            )

    def _route(self, admitted: Admitted) -> Choice:
        return choose([target.candidate(admitted.plan) for target in self._way.targets])

    def _chosen(self, choice: Choice) -> Target | None:
        name = choice.chosen.name if choice.chosen else None
        return next((target for target in self._way.targets if target.name == name), None)

    def _reader_is_slow(self) -> None:
        self.stop(
            Failed(
                "overloaded",
                "the answer is not being read fast enough: too much of it was waiting",
            )
        )

    # --- records: never what was asked or answered ---

    async def _record_admission(self, admitted: Admitted, choice: Choice) -> None:
        records, job = self._way.records, self.job
        try:
            await records.keep(
                "job.admitted",
                job.id,
                rule=admitted.rule,
                label=job.label,
                model=admitted.plan.cid,
                name=admitted.plan.name,
                asked_by=admitted.job.asked_by,
                work=type(job.work).__name__.lower(),
            )
        except StoreError as error:
            message = f"the event log cannot be written, so nothing is answered: {error}"
            self.stop(Failed("internal", message, retry=True))
            return
        self.answer.release()
        chosen = choice.chosen.name if choice.chosen else None
        await records.note("job.routed", job.id, choice=chosen, candidates=list(choice.considered))

    async def _record_end(self, last: Ended | Failed) -> None:
        if isinstance(last, Failed):
            await self._way.records.note(
                "job.failed", self.job.id, code=last.code, retries=self.retries, **self._tokens()
            )
            return
        await self._way.records.note(
            "job.ended",
            self.job.id,
            finish=last.finish,
            prompt_tokens=last.usage.prompt_tokens,
            completion_tokens=last.usage.completion_tokens,
            cached_tokens=last.usage.cached_tokens,
            queued_s=round(last.timings.queued_s, 4),
            prompt_s=round(last.timings.prompt_s, 4),
            generate_s=round(last.timings.generate_s, 4),
            retries=self.retries,
        )

    def _tokens(self) -> dict[str, int]:
        so_far = self.answer.so_far
        return {
            "prompt_tokens": so_far.prompt_tokens,
            "completion_tokens": so_far.completion_tokens,
        }


def _too_late(limit: float) -> Failed:
    return Failed(
        "deadline",
        f"not answered within {limit:g} s: ask for less, give it more time, or use a smaller model",
    )
