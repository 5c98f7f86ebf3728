"""What these tests stand on: a real worker process that follows a script, and a library of such models."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import psutil  # type: ignore[import-untyped,unused-ignore]
import trio

from models.facts import ModelFacts
from models.hardware import Hardware
from node.config import ServingSettings, Settings
from node.content import UnknownModel
from node.owner import Caller
from node.serving import Launcher, Serving, open_serving
from node.serving import plan as plans
from protocols.jobs import Chat, Ended, Event, Failed, Job, Message, Piece, Sampling
from protocols.limits import GIB, MIB

OWNER = Caller("owner", "owner", "device", "public", frozenset({"*"}))
_numbers = count(1)


@dataclass(frozen=True)
class Model:
    """A model as the library gives it, made of a script."""

    name: str
    path: Path
    facts: ModelFacts
    size: int = 0
    cid: str = ""


@dataclass
class Shelf:
    """A library of scripted models in a folder."""

    folder: Path
    models: dict[str, Model] = field(default_factory=dict)
    broken: Exception | None = None  # what `check` raises

    def add(
        self,
        name: str,
        *rules: dict[str, Any],
        embedding: bool = False,
        size: int = MIB,
        context: int = 512,
        **script: Any,
    ) -> Model:
        path = self.folder / f"{name}.json"
        path.write_text(
            json.dumps({"rules": rules, "memory_bytes": size, "context": context, **script})
        )
        facts = ModelFacts(
            kind="gguf", size_bytes=size, context_length=context, embedding=embedding
        )
        model = Model(name, path, facts, size, cid=f"bafk{name}")
        self.models[name] = model
        return model

    def rewrite(self, name: str, *rules: dict[str, Any], **script: Any) -> None:
        """Give the model another script; a worker that is started later follows it."""
        (self.folder / f"{name}.json").write_text(
            json.dumps({"rules": rules, "memory_bytes": MIB, **script})
        )

    async def find(self, name_or_cid: str) -> Model:
        for model in self.models.values():
            if name_or_cid in (model.name, model.cid):
                return model
        raise UnknownModel(name_or_cid, list(self.models))

    async def check(self, model: plans.Model) -> None:
        if self.broken is not None:
            raise self.broken


@dataclass
class Log:
    """An event log that keeps events in memory."""

    entries: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    refuses: Callable[[str], Exception | None] = lambda kind: None

    async def append(self, kind: str, subject: str = "", **facts: Any) -> int:
        await trio.lowlevel.checkpoint()
        if error := self.refuses(kind):
            raise error
        json.dumps(facts)
        self.entries.append((kind, subject, facts))
        return len(self.entries)

    def kinds(self, subject: str) -> list[str]:
        return [kind for kind, about, _ in self.entries if about == subject]

    def facts(self, kind: str, subject: str | None = None) -> list[dict[str, Any]]:
        return [f for k, about, f in self.entries if k == kind and subject in (None, about)]


def scripted(model: plans.Model, settings: ServingSettings) -> plans.Plan:
    """Serve the model with the scripted backend."""
    real = plans.plan(model, settings)
    load = msgspec.structs.replace(real.load, backend="scripted")
    return replace(real, load=load, bytes=model.size)


def machine(total: int = 8 * GIB, available: int = 8 * GIB) -> Hardware:
    return Hardware(
        cpu_name="test",
        cpu_flags=(),
        physical_cores=1,
        logical_cores=1,
        cpu_quota=None,
        memory_total=total,
        memory_available=available,
        on_battery=None,
        gpus=(),
    )


def settings(**serving: Any) -> Settings:
    return Settings(serving=ServingSettings(**{"parallel": 2, "hang_s": 30.0, **serving}))


@asynccontextmanager
async def served(
    shelf: Shelf,
    log: Log | None = None,
    *,
    hardware: Callable[[], Hardware] = machine,
    launcher: Launcher | None = None,
    **serving: Any,
) -> AsyncIterator[Serving]:
    """Serving over the shelf; on the way out checks that no worker is left."""
    before = set(workers())
    with trio.fail_after(60):
        async with open_serving(
            settings(**serving),
            shelf,
            log or Log(),
            hardware,
            launcher=launcher,
            planner=scripted,
        ) as serving_part:
            yield serving_part
    assert set(workers()) <= before, "a worker process was left behind"


def workers() -> list[Any]:
    """Child processes of this test, zombies too."""
    return list(psutil.Process().children(recursive=True))


def worker_pids() -> list[int]:
    return [process.pid for process in workers()]


def open_files() -> int:
    return int(psutil.Process().num_fds())


def chat(text: str, model: str = "m", **sampling: Any) -> Job:
    work = Chat((Message("user", text),), Sampling(**sampling))
    return Job(f"job-{next(_numbers)}", work, model)


async def read_all(serving: Serving, job: Job, caller: Caller = OWNER) -> list[Event]:
    """Every event of a job, to its end."""
    async with serving.submit(job, caller) as answer:
        return [event async for event in answer]


async def ask(serving: Serving, job: Job) -> tuple[str, Ended | Failed]:
    """The whole text, and how it ended; checks that the end is one and last."""
    events = await read_all(serving, job)
    return text_of(events), last_of(events)


def text_of(events: Sequence[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, Piece))


def last_of(events: Sequence[Event]) -> Ended | Failed:
    ends = [event for event in events if isinstance(event, Ended | Failed)]
    assert len(ends) == 1, f"one end, not {ends}"
    assert isinstance(events[-1], Ended | Failed)
    return ends[0]


async def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait for a condition that another process brings about."""
    with trio.fail_after(seconds):
        while not condition():  # noqa: ASYNC110
            await trio.sleep(0.005)
