"""The queue of a model that embeds: texts of several jobs share a batch, and cancel comes between."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING

import numpy as np

from models.backends.base import Embedder, RequestError, StepError
from models.runtime.pace import Pace
from protocols.jobs import Embed, Ended, Event, Failed, Started, Timings, Usage, Vectors, Work

if TYPE_CHECKING:
    from models.backends.base import Vector

MAX_TEXTS = 2048
MAX_NUMBERS = 6_000_000  # in one answer: they must fit into a frame
DEFAULT_QUEUE = 64


@dataclass(slots=True)
class _Task:
    job: str
    texts: list[list[int]]
    dimensions: int
    truncated: tuple[int, ...]
    arrived: float
    begun: float = 0.0
    vectors: list[tuple[float, ...]] = field(default_factory=list)

    @property
    def unread(self) -> list[list[int]]:
        return self.texts[len(self.vectors) :]


class EmbedQueue:
    """An `Engine` over an embedder. Jobs are answered in the order of their arrival."""

    def __init__(self, embedder: Embedder, *, queue: int = DEFAULT_QUEUE) -> None:
        self._embedder = embedder
        self._tasks: deque[_Task] = deque()
        self._bound = queue
        self._pace = Pace(embedder.info.file_bytes)
        self._events: list[tuple[str, Event]] = []

    @property
    def running(self) -> int:
        return sum(bool(task.begun) for task in self._tasks)

    @property
    def waiting(self) -> int:
        return len(self._tasks) - self.running

    def take(self) -> list[tuple[str, Event]]:
        events, self._events = self._events, []
        return events

    def close(self) -> None:
        self._embedder.close()

    def submit(self, job: str, work: Work, scope: str = "") -> None:
        try:
            self._submit(job, work)
        except RequestError as error:
            self._events.append((job, Failed(error.code, str(error), error.retry)))

    def _submit(self, job: str, work: Work) -> None:
        if not isinstance(work, Embed):
            raise RequestError(
                "bad_request", "this model was loaded to embed; it cannot write text"
            )
        if any(task.job == job for task in self._tasks):
            return  # the same id is the same job, and it is being done
        if len(self._tasks) >= self._bound:
            raise RequestError(
                "overloaded", f"{self._bound} requests are waiting for this model", retry=True
            )
        dimensions = self._check(work)
        encoded = [self._embedder.encode(text) for text in work.inputs]
        truncated = tuple(index for index, (_, cut) in enumerate(encoded) if cut)
        texts = [tokens for tokens, _ in encoded]
        self._tasks.append(_Task(job, texts, dimensions, truncated, monotonic()))
        self._events.append((job, Started(sum(map(len, texts)))))

    def _check(self, work: Embed) -> int:
        if not 1 <= len(work.inputs) <= MAX_TEXTS:
            raise RequestError("bad_request", f"give 1 to {MAX_TEXTS} texts to embed")
        if any(not text for text in work.inputs):
            raise RequestError("bad_request", "an empty text cannot be embedded")
        most = self._embedder.dimensions
        if work.dimensions is not None and not 1 <= work.dimensions <= most:
            raise RequestError("bad_request", f"dimensions must be from 1 to {most} for this model")
        dimensions = work.dimensions or most
        if len(work.inputs) * dimensions > MAX_NUMBERS:
            fitting = MAX_NUMBERS // dimensions
            raise RequestError("bad_request", f"this model embeds at most {fitting} texts at once")
        return dimensions

    def cancel(self, job: str) -> None:
        for task in self._tasks:
            if task.job == job:
                self._tasks.remove(task)
                self._events.append((job, Ended("cancelled", Usage(_tokens(task.texts), 0))))
                return

    def predict(self) -> float:
        return self._pace.predict(0, _padded(self._batch()))

    def step(self) -> None:
        batch = self._batch()
        if not batch:
            return
        began = monotonic()
        try:
            vectors = self._embedder.embed([tokens for _, tokens in batch])
        except StepError as error:
            self._give_up({id(task) for task, _ in batch}, str(error))
            return
        self._pace.learn(0, _padded(batch), monotonic() - began)
        for (task, _), vector in zip(batch, vectors, strict=True):
            task.begun = task.begun or began
            task.vectors.append(_normalised(vector[: task.dimensions]))
        while self._tasks and not self._tasks[0].unread:
            self._finish(self._tasks.popleft())

    def _batch(self) -> list[tuple[_Task, list[int]]]:
        """The next texts in order, as many as fit: every text takes as much room as the longest."""
        batch: list[tuple[_Task, list[int]]] = []
        longest = 0
        for task in self._tasks:
            for tokens in task.unread:
                longest = max(longest, len(tokens))
                full = len(batch) >= self._embedder.max_texts
                if batch and (full or longest * (len(batch) + 1) > self._embedder.max_rows):
                    return batch
                batch.append((task, tokens))
        return batch

    def _finish(self, task: _Task) -> None:
        usage = Usage(_tokens(task.texts), 0)
        timings = Timings(task.begun - task.arrived, monotonic() - task.begun)
        self._events.append((task.job, Vectors(tuple(task.vectors), task.truncated)))
        self._events.append((task.job, Ended("stop", usage, timings)))

    def _give_up(self, failed: set[int], why: str) -> None:
        for task in [task for task in self._tasks if id(task) in failed]:
            self._tasks.remove(task)
            self._events.append((task.job, Failed("internal", why, retry=True)))


def _tokens(texts: list[list[int]]) -> int:
    return sum(map(len, texts))


def _padded(batch: list[tuple[_Task, list[int]]]) -> int:
    return len(batch) * max((len(tokens) for _, tokens in batch), default=0)


def _normalised(vector: Vector) -> tuple[float, ...]:
    """Length one, so that a dot product is the cosine; a zero vector stays zero."""
    length = float(np.linalg.norm(vector))
    if not np.isfinite(length):
        raise StepError("the model computed something that is no number; the file may be bad")
    return tuple((vector / length if length > 0 else vector).tolist())
