"""Continuous batching: many requests over one text backend, a step at a time.

Every step holds one row for each answer that is running and, in what room is left, chunks of the
prompts that are not yet read. It knows nothing of llama.cpp: only `StepBackend`.

A slot keeps its state when its request ends, and a new prompt goes to the slot that shares the
longest beginning with it, within one scope: whose prompts are already computed shows in the time to
the first token, and must not show to others.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from secrets import randbits
from time import monotonic

from models.backends.base import Choice, Part, RequestError, StepBackend, StepError
from models.runtime.pace import Pace
from models.runtime.prompts import Prompt, Prompter
from models.runtime.slots import Slot, best_slot
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
    seed: int
    scope: str
    text: TextStream
    arrived: float
    admitted: float = 0.0
    first: float = 0.0  # when its first token was chosen
    generated: int = 0
    cached: int = 0

    @property
    def sampling(self) -> Sampling:
        return self.prompt.sampling

    def usage(self) -> Usage:
        return Usage(len(self.prompt.tokens), self.generated, self.cached)

    def timings(self) -> Timings:
        now = monotonic()
        admitted = self.admitted or now
        first = self.first or now
        return Timings(admitted - self.arrived, first - admitted, now - first)


@dataclass(slots=True)
class _Run:
    """A request in its slot."""

    task: _Task
    slot: Slot
    last: int | None = None  # the token to decode next; None while the prompt is being read

    @property
    def unread(self) -> int:
        return len(self.task.prompt.tokens) - len(self.slot.kv)

    def decode(self) -> Part:
        """The step of an answer that is running."""
        last = () if self.last is None else (self.last,)
        return Part(self.slot.index, len(self.slot.kv), last, True)

    def read(self, room: int) -> Part:
        """A step through the prompt, of at most `room` tokens."""
        done = len(self.slot.kv)
        chunk = self.task.prompt.tokens[done : done + room]
        return Part(self.slot.index, done, chunk, len(chunk) == self.unread)


class Scheduler:
    """An `Engine` over a text backend."""

    def __init__(self, backend: StepBackend, *, queue: int = DEFAULT_QUEUE) -> None:
        self._backend = backend
        self._context = backend.info.context
        self._prompter = Prompter(backend)
        self._slots = [Slot(index) for index in range(backend.info.slots)]
        self._runs: list[_Run] = []  # in the order of their admission
        self._queue: deque[_Task] = deque()
        self._bound = queue
        self._pace = Pace(backend.info.file_bytes)
        self._events: list[tuple[str, Event]] = []
        self._planned: list[tuple[_Run, Part]] | None = None

    @property
    def running(self) -> int:
        return len(self._runs)

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
            raise RequestError("bad_request", "this model writes text; it was not loaded to embed")
        if isinstance(work, Count):
            tokens = self._prompter.count(work.messages)
            self._send(job, Started(tokens))
            self._send(job, Ended("stop", Usage(tokens, 0)))
            return
        if self._knows(job):
            return  # the same id is the same job, and it is being done
        if len(self._queue) >= self._bound:
            raise RequestError(
                "overloaded", f"{self._bound} requests are waiting for this model", retry=True
            )
        prompt = self._prompter.prompt(work)
        seed = randbits(32) if prompt.sampling.seed is None else prompt.sampling.seed
        text = TextStream(prompt.sampling.stop, self._backend.piece)
        self._queue.append(_Task(job, prompt, seed, scope, text, monotonic()))
        self._planned = None

    def _knows(self, job: str) -> bool:
        tasks = [*self._queue, *(run.task for run in self._runs)]
        return any(task.job == job for task in tasks)

    def cancel(self, job: str) -> None:
        for task in self._queue:
            if task.job == job:
                self._queue.remove(task)
                self._send(job, Ended("cancelled", task.usage(), task.timings()))
                return
        for run in self._runs:
            if run.task.job == job:
                self._finish(run, "cancelled")
                return

    def predict(self) -> float:
        return self._pace.predict(*_load(self._next()))

    def step(self) -> None:
        planned, self._planned = self._next(), None
        if not planned:
            return
        load, began = _load(planned), monotonic()
        try:
            choices = iter(self._backend.step([part for _, part in planned]))
        except StepError as error:
            self._give_up([run for run, _ in planned], str(error))
            return
        self._pace.learn(*load, monotonic() - began)
        for run, part in planned:
            run.slot.kv.extend(part.tokens)
            if part.choose:
                self._advance(run, next(choices))

    def _next(self) -> list[tuple[_Run, Part]]:
        """The next step, planned once."""
        if self._planned is None:
            while self._queue and self._start(self._queue[0]):
                self._queue.popleft()
            self._planned = self._plan()
        return self._planned

    def _plan(self) -> list[tuple[_Run, Part]]:
        """One row for every running answer, then as much of the prompts as the step should take."""
        planned = [(run, run.decode()) for run in self._runs if run.last is not None]
        reading = [run for run in self._runs if run.last is None]
        if reading:
            room = self._pace.chunk(bool(planned), self._backend.max_rows - len(planned))
            for run in reading:
                if room > 0:
                    part = run.read(room)
                    planned.append((run, part))
                    room -= len(part.tokens)
        return planned

    def _start(self, task: _Task) -> bool:
        """Give a waiting request a slot; False when there is none."""
        tokens = task.prompt.tokens
        slot = best_slot(self._slots, tokens, task.scope)
        if slot is None:
            return False
        try:
            self._backend.begin(slot.index, task.sampling, task.seed)
        except RequestError as error:
            self._send(task.job, Failed(error.code, str(error), error.retry))
            return True
        # The last token is always computed again: the first choice is made from its row.
        wanted = min(slot.shared(tokens, task.scope), len(tokens) - 1)
        task.cached = self._backend.keep(slot.index, wanted) if slot.kv else 0
        del slot.kv[task.cached :]
        task.admitted = slot.used = monotonic()
        slot.busy, slot.scope = True, task.scope
        run = _Run(task, slot)
        self._runs.append(run)
        self._send(task.job, Started(len(tokens), task.cached, task.seed))
        if task.prompt.echo is not None:
            self._send(task.job, Piece(task.prompt.echo, tuple(tokens)))
        if task.sampling.max_tokens == 0:
            self._finish(run, "length")
        return True

    def _advance(self, run: _Run, choice: Choice) -> None:
        task = run.task
        task.first = task.first or monotonic()
        if choice.token is None or self._backend.is_end(choice.token):
            self._finish(run, "stop")
            return
        task.generated += 1
        run.last = choice.token
        piece = task.text.add(choice.token, choice.logprob)
        if piece is not None:
            self._send(task.job, piece)
        if task.text.stopped is not None:
            self._finish(run, "stop")
        elif task.generated == task.sampling.max_tokens or len(run.slot.kv) >= self._context:
            self._finish(run, "length")

    def _finish(self, run: _Run, reason: FinishReason) -> None:
        task = run.task
        piece = task.text.finish()
        if piece is not None:
            self._send(task.job, piece)
        self._send(task.job, Ended(reason, task.usage(), task.timings(), task.text.stopped))
        self._release(run)

    def _give_up(self, runs: list[_Run], why: str) -> None:
        """A step failed: nothing is known about its slots, so they start empty again."""
        for run in runs:
            self._send(run.task.job, Failed("internal", why, retry=True))
            self._backend.keep(run.slot.index, 0)
            run.slot.kv.clear()
            self._release(run)

    def _release(self, run: _Run) -> None:
        self._backend.end(run.slot.index)
        self._runs.remove(run)
        run.slot.busy, run.slot.used = False, monotonic()
        self._planned = None

    def _send(self, job: str, event: Event) -> None:
        self._events.append((job, event))


def _load(planned: list[tuple[_Run, Part]]) -> tuple[int, int]:
    """How many rows decode, and how many tokens of prompts there are besides."""
    decoding = sum(run.last is not None for run, _ in planned)
    return decoding, sum(len(part.tokens) for _, part in planned) - decoding
