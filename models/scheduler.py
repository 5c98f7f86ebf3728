"""Continuous batching: many requests over one text backend, a step at a time.

Every step holds one row for each answer that is running and, in what room is left, chunks of the
prompts that are not yet read. It knows nothing of llama.cpp: only `StepBackend`.

A slot keeps its state when its request ends. A new prompt goes to the slot that shares the longest
beginning with it, within the same scope only: whose prompts are already computed shows in the
time to the first token, and must not show to others.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from secrets import randbits
from time import monotonic

from models.backends.base import Choice, Part, RequestError, StepBackend, StepError
from models.runtime.pace import Pace
from models.runtime.prompts import Prompt, Prompter
from models.runtime.text import TextStream
from protocols.jobs import (
    Count,
    Embed,
    Ended,
    Event,
    Failed,
    FinishReason,
    Piece,
    Sampling,
    Started,
    Timings,
    Usage,
    Work,
)

DEFAULT_QUEUE = 64


@dataclass(slots=True)
class _Task:
    """One request, waiting or running."""

    job: str
    prompt: Prompt
    sampling: Sampling
    seed: int
    scope: str
    text: TextStream
    arrived: float
    admitted: float = 0.0
    first: float = 0.0  # when its first token was chosen
    generated: int = 0
    cached: int = 0

    def usage(self) -> Usage:
        return Usage(len(self.prompt.tokens), self.generated, self.cached)

    def timings(self) -> Timings:
        now = monotonic()
        first = self.first or now
        return Timings(
            queued_s=(self.admitted or now) - self.arrived,
            prompt_s=first - self.admitted if self.admitted else 0.0,
            generate_s=now - first,
        )


@dataclass(slots=True)
class _Slot:
    """One sequence of the backend: what is computed in it, and who uses it."""

    index: int
    kv: list[int] = field(default_factory=list)
    scope: str = ""
    task: _Task | None = None
    last: int | None = None  # the token to decode next; None while the prompt is being read
    used: float = 0.0

    @property
    def unread(self) -> int:
        assert self.task is not None
        return len(self.task.prompt.tokens) - len(self.kv)


class Scheduler:
    """An `Engine` over a text backend."""

    def __init__(self, backend: StepBackend, *, queue: int = DEFAULT_QUEUE) -> None:
        self._backend = backend
        self._context = backend.info.context
        self._prompter = Prompter(backend)
        self._slots = [_Slot(index) for index in range(backend.info.slots)]
        self._queue: deque[_Task] = deque()
        self._bound = queue
        self._pace = Pace(backend.info.file_bytes)
        self._events: list[tuple[str, Event]] = []
        self._parts: list[Part] | None = None  # the next step; None when it must be planned anew

    @property
    def running(self) -> int:
        return sum(slot.task is not None for slot in self._slots)

    @property
    def waiting(self) -> int:
        return len(self._queue)

    def take(self) -> list[tuple[str, Event]]:
        events, self._events = self._events, []
        return events

    def close(self) -> None:
        self._backend.close()

    def submit(self, job: str, work: Work, scope: str = "") -> None:
        try:
            self._submit(job, work, scope)
        except RequestError as error:
            self._send(job, Failed(error.code, str(error), error.retry))

    def _submit(self, job: str, work: Work, scope: str) -> None:
        if isinstance(work, Embed):
            raise RequestError(
                "bad_request", "this model was loaded to write text, not to embed it"
            )
        if not isinstance(work, Count) and len(self._queue) >= self._bound:
            raise RequestError("overloaded", f"{self._bound} requests are waiting", retry=True)
        prompt = self._prompter.prompt(work)
        if isinstance(work, Count):
            self._send(job, Started(len(prompt.tokens)))
            self._send(job, Ended("stop", Usage(len(prompt.tokens), 0)))
            return
        seed = work.sampling.seed if work.sampling.seed is not None else randbits(32)
        text = TextStream(work.sampling.stop, self._backend.piece)
        self._queue.append(_Task(job, prompt, prompt.sampling, seed, scope, text, monotonic()))
        self._parts = None

    def cancel(self, job: str) -> None:
        for task in self._queue:
            if task.job == job:
                self._queue.remove(task)
                self._send(job, Ended("cancelled", task.usage(), task.timings()))
                return
        for slot in self._slots:
            if slot.task is not None and slot.task.job == job:
                self._finish(slot, "cancelled")
                return

    def predict(self) -> float:
        return self._pace.predict(*self._load(self._next()))

    def step(self) -> None:
        parts, self._parts = self._next(), None
        if not parts:
            return
        began = monotonic()
        try:
            choices = iter(self._backend.step(parts))
        except StepError as error:
            self._give_up(parts, str(error))
            return
        self._pace.learn(*self._load(parts), monotonic() - began)
        for part in parts:
            slot = self._slots[part.slot]
            slot.kv.extend(part.tokens)
            if part.choose:
                self._advance(slot, next(choices))

    def _next(self) -> list[Part]:
        if self._parts is None:
            self._admit()
            self._parts = self._plan()
        return self._parts

    def _load(self, parts: list[Part]) -> tuple[int, int]:
        """How many rows decode, and how many tokens of prompts there are besides."""
        decoding = sum(self._slots[part.slot].last is not None for part in parts)
        return decoding, sum(len(part.tokens) for part in parts) - decoding

    def _plan(self) -> list[Part]:
        """One row for every running answer, then as much of the prompts as the step should take."""
        parts = [
            Part(slot.index, len(slot.kv), (slot.last,), True)
            for slot in self._slots
            if slot.task is not None and slot.last is not None
        ]
        reading = [slot for slot in self._slots if slot.task is not None and slot.last is None]
        if not reading:
            return parts
        room = self._pace.chunk(bool(parts), self._backend.max_rows - len(parts))
        for slot in sorted(reading, key=_admitted):
            if room <= 0:
                break
            assert slot.task is not None
            done, count = len(slot.kv), min(slot.unread, room)
            chunk = slot.task.prompt.tokens[done : done + count]
            parts.append(Part(slot.index, done, chunk, count == slot.unread))
            room -= count
        return parts

    def _admit(self) -> None:
        while self._queue:
            free = [slot for slot in self._slots if slot.task is None]
            if not free:
                return
            self._start(self._queue.popleft(), free)

    def _start(self, task: _Task, free: list[_Slot]) -> None:
        tokens = task.prompt.tokens
        slot = max(free, key=lambda each: (_shared(each, task), -each.used))
        try:
            self._backend.begin(slot.index, task.sampling, task.seed)
        except RequestError as error:
            self._send(task.job, Failed(error.code, str(error), error.retry))
            return
        # The last token is always computed again: its row is what the first choice is made from.
        wanted = min(_shared(slot, task), len(tokens) - 1)
        task.cached = self._backend.keep(slot.index, wanted) if slot.kv else 0
        del slot.kv[task.cached :]
        task.admitted = slot.used = monotonic()
        slot.task, slot.last, slot.scope = task, None, task.scope
        self._send(task.job, Started(len(tokens), task.cached, task.seed))
        if task.prompt.echo is not None:
            self._send(task.job, Piece(task.prompt.echo, tuple(tokens)))
        if task.sampling.max_tokens == 0:
            self._finish(slot, "length")

    def _advance(self, slot: _Slot, choice: Choice) -> None:
        task = slot.task
        assert task is not None
        task.first = task.first or monotonic()
        if choice.token is None or self._backend.is_end(choice.token):
            self._finish(slot, "stop")
            return
        task.generated += 1
        slot.last = choice.token
        piece = task.text.add(choice.token, choice.logprob)
        if piece is not None:
            self._send(task.job, piece)
        if task.text.stopped is not None:
            self._finish(slot, "stop")
        elif task.generated == task.sampling.max_tokens or len(slot.kv) >= self._context:
            self._finish(slot, "length")

    def _finish(self, slot: _Slot, reason: FinishReason) -> None:
        task = slot.task
        assert task is not None
        piece = task.text.finish()
        if piece is not None:
            self._send(task.job, piece)
        stop = task.text.stopped
        self._send(task.job, Ended(reason, task.usage(), task.timings(), stop))
        self._release(slot)

    def _give_up(self, parts: list[Part], why: str) -> None:
        """A step failed: nothing is known about its slots, so they start empty again."""
        for part in parts:
            slot = self._slots[part.slot]
            assert slot.task is not None
            self._send(slot.task.job, Failed("internal", why, retry=True))
            self._backend.keep(slot.index, 0)
            slot.kv.clear()
            self._release(slot)

    def _release(self, slot: _Slot) -> None:
        self._backend.end(slot.index)
        self._parts = None
        slot.task, slot.last, slot.used = None, None, monotonic()

    def _send(self, job: str, event: Event) -> None:
        self._events.append((job, event))


def _admitted(slot: _Slot) -> float:
    return slot.task.admitted if slot.task is not None else 0.0


def _shared(slot: _Slot, task: _Task) -> int:
    """How many tokens at the beginning of the prompt this slot has computed already."""
    return common_prefix(slot.kv, task.prompt.tokens) if slot.scope == task.scope else 0


def common_prefix(one: list[int], other: list[int]) -> int:
    """The length of the longest common beginning, by bisection over slice comparisons."""
    high = min(len(one), len(other))
    if one[:high] == other[:high]:
        return high
    low = 0
    while low < high - 1:
        middle = (low + high) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle
    return low
