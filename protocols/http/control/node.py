"""The node itself: status, settings, findings, events, the log."""

from __future__ import annotations

from typing import Any, Literal

import msgspec


class Memory(msgspec.Struct, frozen=True):
    total: int
    available: int
    models_budget: int
    models_used: int


class Status(msgspec.Struct, frozen=True):
    """GET /node/v1/status"""

    version: str
    pid: int
    home: str
    addresses: tuple[str, ...]  # base URLs and "unix:PATH"
    token_file: str
    owner: str  # owner id
    device: str  # device id
    device_name: str
    backed_up: bool  # whether the owner key's words were ever shown
    offline: bool
    network: str  # in words: what, if anything, leaves this machine
    default_model: str
    loaded: tuple[str, ...]
    jobs_running: int
    jobs_waiting: int
    uptime_s: float
    memory: Memory
    warnings: tuple[str, ...] = ()


class Finding(msgspec.Struct, frozen=True):
    """One thing that `node doctor` looked at."""

    check: str
    state: Literal["ok", "warning", "problem"]
    message: str
    fix: str = ""


class Doctor(msgspec.Struct, frozen=True):
    """GET /node/v1/doctor"""

    findings: tuple[Finding, ...]


class Setting(msgspec.Struct, frozen=True):
    name: str
    value: Any
    default: Any
    help: str = ""


class Config(msgspec.Struct, frozen=True):
    """GET /node/v1/config"""

    file: str
    settings: tuple[Setting, ...]


class ChangeSetting(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """PATCH /node/v1/config: write one setting into the settings file. Only with the owner's own token."""

    name: str
    value: str  # as TOML, or plain text


class ChangedSetting(msgspec.Struct, frozen=True):
    """What was written; it takes effect at the next start."""

    name: str
    value: str
    file: str


class EventEntry(msgspec.Struct, frozen=True):
    seq: int
    at: float
    kind: str
    subject: str
    facts: dict[str, Any]


class EventList(msgspec.Struct, frozen=True):
    """GET /node/v1/events?after=N&limit=N&kind=PREFIX&subject=ID"""

    events: tuple[EventEntry, ...]
    broken_at: int | None = None  # with ?verify=1: the first event that does not fit its chain


class JobWhy(msgspec.Struct, frozen=True):
    """GET /node/v1/jobs/{id}: the whole way of one job, from the event log."""

    id: str
    events: tuple[EventEntry, ...]


class LogTail(msgspec.Struct, frozen=True):
    """GET /node/v1/logs?lines=N: the end of the node's log, oldest line first."""

    file: str
    lines: tuple[str, ...]
