#!/usr/bin/env python3
"""Ask a model many things while its worker is killed again and again; account for every request.

Real parts: the serving room, a worker process with the starter model in llama.cpp (a scripted model
where the starter is not there), the event log in SQLite. Every request must end exactly once, as the
reader sees it and in the event log; only those in the middle of an answer may fail, and say so.

    .venv/bin/python scripts/soak.py [--requests 1000] [--kill-every 50] [--seed 1] [--json]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec
import psutil  # type: ignore[import-untyped,unused-ignore]
import trio

from models.facts import ModelFacts, facts_of_gguf
from models.gguf import read_header
from node import events, store
from node.config import ServingSettings, Settings
from node.content import UnknownModel, packaged_starter
from node.home import Home
from node.owner import Caller
from node.serving import Serving, open_serving
from node.serving.plan import Model, Plan, plan
from protocols.jobs import Chat, Ended, Event, Failed, Job, Message, Piece, Sampling

AT_ONCE = 8
LEAVE_SHARE = 0.05  # of the readers go away in the middle of an answer
REQUEST_S = 60.0
QUESTIONS = ("tell me a joke", "hello", "where are my keys?", "what is the capital of France?")
OWNER = Caller("owner", "owner", "device", "public", frozenset({"*"}))
SCRIPT = {"rules": [{"reply": "one two three four five six seven eight", "delay_s": 0.002}]}


@dataclass(frozen=True)
class OneModel:
    """A library of one model."""

    name: str
    cid: str
    path: Path
    facts: ModelFacts
    size: int

    async def find(self, name_or_cid: str) -> Model:
        if name_or_cid not in (self.name, self.cid):
            raise UnknownModel(name_or_cid, [self.name])
        return self

    async def check(self, model: Model) -> None:
        """The file is not looked at: this is about workers."""


@dataclass
class Result:
    """What became of all requests; `problems` is empty when everything is accounted for."""

    model: str
    requests: int
    seed: int
    outcomes: Counter[str] = field(default_factory=Counter)
    kills: int = 0
    retries: int = 0
    passed: int = 0
    failed: int = 0
    seconds: float = 0.0
    node_mb: tuple[float, float] = (0.0, 0.0)  # this process after the first tenth, and at the end
    problems: list[str] = field(default_factory=list)


class Soak:
    """One run: asks, kills, accounts."""

    def __init__(self, args: argparse.Namespace, serving: Serving, model: OneModel) -> None:
        self._args = args
        self._serving = serving
        self._dice = random.Random(args.seed)
        self._places = trio.CapacityLimiter(AT_ONCE)
        self._begun = 0
        self.result = Result(model.name, args.requests, args.seed)
        self.ends: dict[str, str] = {}

    async def run(self) -> None:
        began = time.monotonic()
        async with trio.open_nursery() as nursery:
            for number in range(self._args.requests):
                await self._places.acquire_on_behalf_of(number)
                self._begun += 1
                nursery.start_soon(self._one, number)
                if self._begun % self._args.kill_every == 0:
                    nursery.start_soon(self._kill, self._dice.uniform(0, 0.05))
                if self._begun == max(1, self._args.requests // 10):
                    self.result.node_mb = (_node_mb(), 0.0)
        self.result.seconds = round(time.monotonic() - began, 2)
        self.result.node_mb = (self.result.node_mb[0], _node_mb())
        self.result.retries = self._serving.statistics().retries

    async def _one(self, number: int) -> None:
        job = _question(number, self._dice)
        leaves = self._dice.random() < LEAVE_SHARE
        try:
            with trio.move_on_after(REQUEST_S):
                self.ends[job.id] = await self._ask(job, leaves)
        finally:
            self._places.release_on_behalf_of(number)

    async def _ask(self, job: Job, leaves: bool) -> str:
        """How the request ended, in a word or two; "wrong: ..." when it should not end so."""
        got: list[Event] = []
        async with self._serving.submit(job, OWNER) as answer:
            async for event in answer:
                got.append(event)
                if leaves and isinstance(event, Piece):
                    return "left"
        ends = [event for event in got if isinstance(event, Ended | Failed)]
        if len(ends) != 1 or got[-1] is not ends[0]:
            return f"wrong: {len(ends)} ends"
        if isinstance(ends[0], Ended):
            return f"answered ({ends[0].finish})"
        if ends[0].code == "worker_died":
            return "failed clearly (worker_died)"
        return f"wrong: {ends[0].code}: {ends[0].message}"

    async def _kill(self, delay: float) -> None:
        await trio.sleep(delay)
        for process in psutil.Process().children():
            _kill(process.pid)
            self.result.kills += 1
            self._say(
                f"fault {self.result.kills}: SIGKILL to worker {process.pid} after {self._begun} requests"
            )

    def _say(self, line: str) -> None:
        if not self._args.json:
            print(line, flush=True)

    def account(self, entries: Sequence[events.Entry]) -> None:
        """Hold what readers saw against the event log."""
        admitted = Counter(entry.subject for entry in entries if entry.kind == "job.admitted")
        ended = Counter(
            entry.subject for entry in entries if entry.kind in ("job.ended", "job.failed")
        )
        result = self.result
        for number in range(self._args.requests):
            name = f"soak-{number}"
            how = self.ends.get(name, "wrong: no end")
            result.outcomes[how] += 1
            if how.startswith("wrong"):
                result.problems.append(f"{name}: {how}")
            elif admitted[name] != 1 or ended[name] != 1:
                result.problems.append(
                    f"{name}: {admitted[name]} admitted and {ended[name]} ended in the event log"
                )
            else:
                result.passed += 1
        result.failed = self._args.requests - result.passed


def _question(number: int, dice: random.Random) -> Job:
    sampling = Sampling(max_tokens=dice.randrange(8, 60), seed=dice.randrange(2**32))
    work = Chat((Message("user", dice.choice(QUESTIONS)),), sampling)
    return Job(f"soak-{number}", work, "soaked")


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return  # it had just ended


def _node_mb() -> float:
    return round(float(psutil.Process().memory_info().rss) / 1e6, 1)


def _scripted(model: Model, settings: ServingSettings) -> Plan:
    real = plan(model, settings)
    return replace(real, load=msgspec.structs.replace(real.load, backend="scripted"))


def _model(folder: Path, scripted: bool) -> OneModel:
    starter = packaged_starter()
    if not scripted and starter.exists():
        facts = facts_of_gguf(read_header(starter))
        return OneModel("soaked", "cid-of-starter", starter, facts, starter.stat().st_size)
    path = folder / "script.json"
    path.write_text(json.dumps(SCRIPT), encoding="utf-8")
    facts = ModelFacts(kind="gguf", size_bytes=1000, context_length=4096)
    return OneModel("soaked", "cid-of-script", path, facts, 1000)


async def soak(args: argparse.Namespace, folder: Path) -> Result:
    """Run it in a fresh home below `folder`."""
    home = Home(folder)
    home.prepare()
    model = _model(folder, args.scripted)
    settings = Settings(serving=ServingSettings(threads=1, context=1024))
    planner = plan if model.path.suffix == ".gguf" else _scripted
    with store.open_store(home, events.MIGRATIONS, ()) as opened:
        log = events.EventLog(opened.state)
        async with open_serving(settings, model, log, planner=planner) as serving:
            run = Soak(args, serving, model)
            await run.run()
        run.account(await log.read(kind="job.", limit=10 * args.requests))
        if (broken := await log.verify()) is not None:
            run.result.problems.append(f"the event log does not fit its chain at {broken}")
        left = [process.pid for process in psutil.Process().children(recursive=True)]
        if left:
            run.result.problems.append(f"processes are left: {left}")
    return run.result


def show(result: Result) -> None:
    for how, count in sorted(result.outcomes.items()):
        print(f"  {count:6}  {how}")
    before, after = result.node_mb
    print(
        f"{result.kills} kills, {result.retries} jobs begun again, {result.seconds} s, "
        f"node memory {before} -> {after} MB"
    )
    for problem in result.problems[:20]:
        print(f"problem: {problem}")
    print(f"{result.passed} passed, {result.failed} failed")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--kill-every", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scripted", action="store_true", help="without llama.cpp")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if args.requests < 1 or args.kill_every < 1:
        parser.error("--requests and --kill-every must be at least 1")
    with tempfile.TemporaryDirectory(prefix="kith-soak-") as folder:
        result = trio.run(soak, args, Path(folder))
    if args.json:
        print(json.dumps(vars(result) | {"outcomes": dict(result.outcomes)}))
    else:
        show(result)
    return 1 if result.problems or result.failed else 0


if __name__ == "__main__":
    sys.exit(main())
