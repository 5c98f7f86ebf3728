"""Who may have which job done, and whether there is a place in the queue for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from random import SystemRandom

import msgspec

from node.config import ServingSettings
from node.content import ContentError, UnknownModel
from node.owner import Ask, Caller, decide
from node.serving.errors import JobFailed
from node.serving.plan import Models, Plan, Planner, plan
from protocols.jobs import Chat, Complete, Count, Embed, Job

_seeds = SystemRandom()


@dataclass(frozen=True)
class Admitted:
    """A job that may run: with the model's CID for its name, and a seed."""

    job: Job
    plan: Plan
    rule: str


class Admission:
    """Policy, model, queue: in this order, so that a stranger learns nothing about the models."""

    def __init__(self, settings: ServingSettings, models: Models, planner: Planner = plan) -> None:
        self._settings = settings
        self._planner = planner
        self._models = models
        self._inside: Counter[str] = Counter()

    def allow(self, job: Job, caller: Caller) -> str:
        """The rule that allows it. Raises `JobFailed` (refused) with the one that does not."""
        action = "embed" if isinstance(job.work, Embed) else "chat"
        decision = decide(Ask(caller, action, job.label, f"a job for the model {job.model}"))
        if not decision.allowed:
            raise JobFailed("refused", f"{decision.reason} (rule {decision.rule})")
        return decision.rule

    async def admit(self, job: Job, caller: Caller) -> Admitted:
        """Everything that can be checked before the job takes a place. Raises `JobFailed`."""
        rule = self.allow(job, caller)
        served = await self.find(job.model)
        _check_kind(job, served)
        # Who asked is what the decision was about, not what the job says of itself.
        job = msgspec.structs.replace(job, model=served.cid, asked_by=caller.id)
        return Admitted(_with_seed(job), served, rule)

    async def find(self, name_or_cid: str) -> Plan:
        """How this model is to be served. Raises `JobFailed` for an unknown, missing or changed one."""
        try:
            model = await self._models.find(name_or_cid)
            await self._models.check(model)
        except UnknownModel as error:
            raise JobFailed("model_not_found", str(error)) from error
        except ContentError as error:
            raise JobFailed("model_failed", str(error)) from error
        if model.facts.role != "model" or model.facts.reranker:
            raise JobFailed(
                "bad_request",
                f"'{model.name}' is no model that writes text or makes vectors: choose another "
                "(`node models list`)",
            )
        return self._planner(model, self._settings)

    @contextmanager
    def place(self, served: Plan) -> Iterator[None]:
        """A place among the jobs of this model, running or waiting. Raises `JobFailed` (overloaded)."""
        most = self._settings.parallel + self._settings.queue
        if self._inside[served.cid] >= most:
            raise JobFailed(
                "overloaded",
                f"{most} requests are running or waiting for '{served.name}': try again later",
                retry=True,
            )
        self._inside[served.cid] += 1
        try:
            yield
        finally:
            self._inside[served.cid] -= 1
            if not self._inside[served.cid]:
                del self._inside[served.cid]


def _check_kind(job: Job, served: Plan) -> None:
    if isinstance(job.work, Embed) and not served.embedding:
        raise JobFailed(
            "bad_request",
            f"'{served.name}' writes text: for embeddings use an embedding model (`node models list`)",
        )
    if isinstance(job.work, Chat | Complete | Count) and served.embedding:
        raise JobFailed(
            "bad_request",
            f"'{served.name}' is an embedding model and writes no text: use it with /v1/embeddings",
        )


def _with_seed(job: Job) -> Job:
    """With a seed of our choice where the asker has none, so that a retry gives the same answer."""
    work = job.work
    if isinstance(work, Chat | Complete) and work.sampling.seed is None:
        sampling = msgspec.structs.replace(work.sampling, seed=_seeds.getrandbits(32))
        return msgspec.structs.replace(job, work=msgspec.structs.replace(work, sampling=sampling))
    return job
