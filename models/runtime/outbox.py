"""Coalesces what goes to the node: a wake-up of the node for every token costs more than the token."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import monotonic

from protocols.jobs import Event, Piece
from protocols.worker import FromWorker, Report

FLUSH_S = 0.025


class Outbox:
    """Holds pieces for a short time; everything else, and the first piece of a job, goes at once."""

    def __init__(self, send: Callable[[list[FromWorker]], None]) -> None:
        self._send = send
        self._pieces: dict[str, list[Piece]] = {}
        self._begun: set[str] = set()  # jobs whose first piece was sent
        self._flushed = 0.0

    def add(self, events: Sequence[tuple[str, Event]], *, patience_s: float) -> None:
        """Take events in order; send what is due. `patience_s`: how long until the next call."""
        urgent = False
        out: list[FromWorker] = []
        for job, event in events:
            if isinstance(event, Piece):
                self._pieces.setdefault(job, []).append(event)
                urgent = urgent or job not in self._begun
                self._begun.add(job)
                continue
            out += self._drain(job)
            out.append(Report(job, event))
            if event.__struct_config__.tag in ("ended", "failed"):
                self._begun.discard(job)
        now = monotonic()
        if urgent or now + patience_s - self._flushed >= FLUSH_S:
            for job in list(self._pieces):
                out += self._drain(job)
        if out:
            self._flushed = now
            self._send(out)

    def _drain(self, job: str) -> list[FromWorker]:
        pieces = self._pieces.pop(job, None)
        return [] if pieces is None else [Report(job, _joined(pieces))]


def _joined(pieces: list[Piece]) -> Piece:
    if len(pieces) == 1:
        return pieces[0]
    return Piece(
        "".join(piece.text for piece in pieces),
        tuple(token for piece in pieces for token in piece.tokens),
        tuple(logprob for piece in pieces for logprob in piece.logprobs),
    )
