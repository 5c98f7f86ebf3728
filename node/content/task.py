"""One transfer of this run of the node: how it stands."""

from __future__ import annotations

import time
from typing import Literal

import trio

from node.content.meter import Meter, Rate, seconds_left
from protocols.http.control import Transfer

State = Literal["waiting", "running", "checking", "done", "failed", "stopped"]


class Task:
    """One transfer of this run of the node."""

    def __init__(self, id_: str, kind: Literal["add", "pull"], ref: str, name: str) -> None:
        self.id = id_
        self.kind = kind
        self.ref = ref
        self.name = name
        self.state: State = "waiting"
        self.message = ""
        self.model = ""
        self.started_at = time.time()
        self.key = ""  # of a pull's staging folder
        self.scope = trio.CancelScope()
        self.meter = Meter()
        self.changed = trio.Event()
        self._rate = Rate()

    @property
    def active(self) -> bool:
        return self.state in ("waiting", "running", "checking")

    def become(self, state: State, message: str = "") -> None:
        self.state, self.message = state, message
        self.changed.set()
        self.changed = trio.Event()

    def snapshot(self) -> Transfer:
        meter, running = self.meter, self.state == "running"
        moved = meter.done if self.kind == "add" else sum(meter.received.values())
        rate = self._rate.measure(trio.current_time(), moved) if running else 0.0
        return Transfer(
            id=self.id,
            kind=self.kind,
            ref=self.ref,
            name=self.name,
            state="checking" if running and meter.checking else self.state,
            done=meter.done,
            total=meter.total,
            rate=rate,
            eta_s=seconds_left(meter.done, meter.total, rate),
            message=meter.doing if running else self.message,
            model=self.model,
            started_at=self.started_at,
        )
