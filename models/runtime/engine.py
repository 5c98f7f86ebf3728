"""What the worker's loop drives: a scheduler of text, or a queue of embeddings."""

from __future__ import annotations

from typing import Protocol

from protocols.jobs import Event, Work


class Engine(Protocol):
    """Jobs in, events out, one step at a time. Nothing here raises because of a job."""

    @property
    def running(self) -> int: ...

    @property
    def waiting(self) -> int: ...

    def submit(self, job: str, work: Work, scope: str = "") -> None:
        """Accept or fail a job; its events come out of `take`."""

    def cancel(self, job: str) -> None:
        """End a job before the next step. An unknown or finished job is no error."""

    def predict(self) -> float:
        """Seconds that the next step should take."""

    def step(self) -> None:
        """Compute once; does nothing when there is nothing to do."""

    def take(self) -> list[tuple[str, Event]]:
        """The events since the last call, in order."""

    def close(self) -> None: ...
