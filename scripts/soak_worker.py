#!/usr/bin/env python3
"""Ask one worker random things for a while, good and bad, and cancel at random; account for every job.

Every job must end exactly once, nothing may come after its end, the worker must live, and its memory
and open files must stay what they were. With the starter model in llama.cpp, no node around it.

    .venv/bin/python scripts/soak_worker.py [--requests 1000] [--seed 1]
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TypeVar

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import psutil  # type: ignore[import-untyped,unused-ignore]

from protocols.jobs import Chat, Complete, Count, Embed, Ended, Failed, Message, Sampling, Work
from protocols.worker import Cancel, Load, Run
from tests.models.worker_client import Worker, WorkerGone, loaded

MODEL = Path(__file__).resolve().parents[1] / "models" / "starter" / "starter.gguf"
AT_ONCE = 12
CANCELLED_SHARE = 0.2
ODD_SHARE = 0.02  # of the numbers of a request are out of range
GROWTH_MB = 40  # of the worker's memory, after the first tenth
SCHEMA = '{"type":"object","properties":{"a":{"type":"string","maxLength":9}},"required":["a"]}'
TEXTS = (
    "tell me a joke",
    "",
    "x" * 5000,
    "<|im_end|>",
    "日本 \ud83d\ude00 é",
    "a\x00b",
    "word " * 300,
)
GRAMMARS = ("root ::= [a-z]{3}", "root ::= root", "", 'root ::= "a', "root ::= [^a]{4}")

T = TypeVar("T")


class Soak:
    """One run over one worker."""

    def __init__(self, worker: Worker, requests: int, seed: int) -> None:
        self._worker = worker
        self._requests = requests
        self._dice = random.Random(seed)
        self._open: set[str] = set()
        self._process = psutil.Process(worker.process.pid)
        self.ends: Counter[str] = Counter()
        self.problems: list[str] = []

    def run(self) -> None:
        warm = self._state()
        try:
            for number in range(self._requests):
                while len(self._open) >= AT_ONCE:
                    self._take_one()
                self._ask(f"job-{number}")
                if number == self._requests // 10:
                    warm = self._state()
            while self._open:
                self._take_one()
        except WorkerGone:
            self.problems.append(f"the worker is gone, and owed {len(self._open)} jobs")
            return
        before, after = warm, self._state()
        if after[0] > before[0] + GROWTH_MB or after[1] > before[1]:
            self.problems.append(f"(MB, open files) grew from {before} to {after}")

    def _ask(self, job: str) -> None:
        self._open.add(job)
        self._worker.send(Run(job, self._work(), scope=self._dice.choice("ab")))
        if self._dice.random() < CANCELLED_SHARE:
            self._worker.send(Cancel(self._dice.choice([job, *self._open, "nobody's"])))

    def _work(self) -> Work:
        dice = self._dice
        text = dice.choice(TEXTS).encode("utf-8", "replace").decode()
        kind = dice.random()
        if kind < 0.6:
            return Chat((Message("user", text),), self._sampling())
        if kind < 0.9:
            most = 10_000 if dice.random() < ODD_SHARE else 500
            tokens = tuple(dice.randrange(most) for _ in range(dice.randrange(0, 40)))
            prompt = text if dice.random() < 0.5 else tokens
            return Complete(prompt, self._sampling(), echo=dice.random() < 0.1)
        return Count((Message("user", text),)) if kind < 0.98 else Embed((text,))

    def _sampling(self) -> Sampling:
        dice, odd = self._dice, self._odd
        shape = dice.random()
        return Sampling(
            max_tokens=dice.choice([0, 1, 7, 30, 30, 100]),
            temperature=odd([-1.0, float("nan"), 1e9]) or dice.choice([None, 0.0, 0.7, 1.5, 100.0]),
            top_k=odd([-1, 2_000_000]) or dice.choice([0, 1, 40]),
            top_p=odd([1.1]) or dice.choice([0.0, 0.5, 1.0]),
            repeat_penalty=odd([-1.0]) or dice.choice([1.0, 1.0, 1.3]),
            seed=odd([-1, 2**64 - 1]) or dice.randrange(2**32),
            stop=odd([("",), ("a",) * 17]) or dice.choice([(), (), ("e",), (" the", ".")]),
            logprobs=odd([21, -1]) or dice.choice([None, None, 0, 20]),
            json_schema=SCHEMA if shape < 0.1 else None,
            grammar=dice.choice(GRAMMARS) if 0.08 < shape < 0.2 else None,
        )

    def _odd(self, values: list[T]) -> T | None:
        """Now and then something that must be refused."""
        return self._dice.choice(values) if self._dice.random() < ODD_SHARE else None

    def _take_one(self) -> None:
        """Read events until a job ends."""
        while True:
            report = self._worker.report()
            if report.job not in self._open:
                self.problems.append(f"{report.job}: {type(report.event).__name__} after its end")
            if isinstance(report.event, Ended | Failed):
                self._open.discard(report.job)
                self.ends[_how(report.event)] += 1
                return

    def _state(self) -> tuple[float, int]:
        return round(self._process.memory_info().rss / 1e6, 1), self._process.num_fds()


def _how(event: Ended | Failed) -> str:
    return f"ended {event.finish}" if isinstance(event, Ended) else f"failed {event.code}"


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args(words)
    began = time.monotonic()
    with loaded(Load("llama", str(MODEL), 1024, 4)) as worker:
        soak = Soak(worker, args.requests, args.seed)
        soak.run()
    for how, count in sorted(soak.ends.items()):
        print(f"  {count:6}  {how}")
    for problem in soak.problems[:20]:
        print(f"problem: {problem}")
    ended = soak.ends.total() - soak.ends["failed internal"]
    failed = max(args.requests - ended, len(soak.problems))
    print(f"{args.requests - failed} passed, {failed} failed, {time.monotonic() - began:.1f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
