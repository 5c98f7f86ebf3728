"""The control API about the node itself: status, settings, events, jobs, logs, stop."""

from __future__ import annotations

import os
from collections import deque
from pathlib import Path
from typing import Annotated, Final

import msgspec
import trio
from msgspec import Meta

from node.api.call import Call, Reply
from node.api.parts import Parts
from node.api.problems import ApiError
from node.config import ConfigError, Settings, setting_names
from node.events import Entry
from node.settings_file import SECRETS, UnknownSetting, set_in_file, value_of
from protocols.http import control

MOST_EVENTS: Final = 1000
MOST_LINES: Final = 10_000
_LOG_TAIL_BYTES: Final = 4 * 1024 * 1024


class EventQuery(msgspec.Struct, forbid_unknown_fields=True):
    after: Annotated[int, Meta(ge=-1, le=2**53)] = 0  # -1: the latest ones
    limit: Annotated[int, Meta(ge=1, le=MOST_EVENTS)] = 100
    kind: Annotated[str, Meta(max_length=64)] = ""
    subject: Annotated[str, Meta(max_length=128)] = ""
    verify: bool = False


class LogQuery(msgspec.Struct, forbid_unknown_fields=True):
    lines: Annotated[int, Meta(ge=1, le=MOST_LINES)] = 100


async def health(call: Call) -> Reply:
    return Reply(b"ok\n", media_type="text/plain; charset=utf-8")


async def status(call: Call) -> control.Status:
    parts = call.parts
    identity = parts.identity.describe()
    numbers = parts.serving.statistics()
    machine = await trio.to_thread.run_sync(parts.hardware)
    return control.Status(
        version=parts.version,
        pid=os.getpid(),
        home=str(parts.home.root),
        addresses=tuple(call.app_state.addresses),
        token_file=str(parts.home.token_file),
        owner=identity.owner,
        device=identity.device,
        device_name=identity.device_name,
        backed_up=identity.backed_up,
        offline=parts.settings.offline,
        network=_network(parts.settings),
        default_model=parts.library.default(),
        loaded=tuple(parts.serving.loaded()),
        jobs_running=numbers.running,
        jobs_waiting=numbers.waiting,
        uptime_s=round(parts.clock() - call.app_state.started_at, 3),
        memory=control.Memory(
            total=machine.memory_total,
            available=machine.memory_available,
            models_budget=numbers.memory_budget,
            models_used=numbers.memory_used,
        ),
        warnings=(*_warnings(parts, identity), *await _of_the_default(parts)),
    )


async def doctor(call: Call) -> control.Doctor:
    return control.Doctor(tuple(await trio.to_thread.run_sync(call.parts.findings)))


async def config(call: Call) -> control.Config:
    parts = call.parts
    found = []
    for name in setting_names():
        shown, shipped = value_of(parts.settings, name), value_of(Settings(), name)
        found.append(control.Setting(name, shown, shipped))
    return control.Config(str(parts.home.config_file), tuple(found))


async def set_config(call: Call) -> control.ChangedSetting:
    """Write one setting into the file; the node that runs goes on with what it has."""
    what, file = call.take(control.ChangeSetting), call.parts.home.config_file
    try:
        written = await trio.to_thread.run_sync(set_in_file, file, what.name, what.value)
    except ConfigError as error:
        status = 404 if isinstance(error, UnknownSetting) else 400
        raise ApiError(status, "bad_setting", str(error)) from error
    await call.parts.events.append("config.changed", what.name, by=call.caller.id)
    shown = "(set)" if what.name in SECRETS else written
    return control.ChangedSetting(what.name, shown, str(file))


async def events(call: Call) -> control.EventList:
    query, log = call.query(EventQuery), call.parts.events
    if query.after < 0:
        found = await log.latest(query.limit, kind=query.kind, subject=query.subject)
    else:
        found = await log.read(
            after=query.after, limit=query.limit, kind=query.kind, subject=query.subject
        )
    broken = await log.verify() if query.verify else None
    return control.EventList(tuple(map(_entry, found)), broken)


async def job(call: Call) -> control.JobWhy:
    id = call.path("id")
    found = await call.parts.events.read(subject=id, kind="job.", limit=MOST_EVENTS)
    if not found:
        raise ApiError(404, "job_not_found", f"no event tells of a job {id[:64]!r}")
    return control.JobWhy(id, tuple(map(_entry, found)))


async def logs(call: Call) -> control.LogTail:
    query, file = call.query(LogQuery), call.parts.home.log_file
    lines = await trio.to_thread.run_sync(_tail, file, query.lines)
    return control.LogTail(str(file), tuple(lines))


async def stop(call: Call) -> Reply:
    return Reply(b'{"stopping":true}', status=202, after=call.parts.stop)


def _network(settings: Settings) -> str:
    if settings.offline:
        return "offline: nothing leaves this machine"
    return "nothing leaves this machine but the pulls you ask for"


def _warnings(parts: Parts, identity: control.Identity) -> list[str]:
    settings, found = parts.settings.api, []
    if settings.host not in ("127.0.0.1", "localhost", "::1"):
        found.append(
            f"the API listens on {settings.host}, without encryption: whoever reaches this machine"
            " can try keys on it, and read along"
        )
    if not settings.token_required:
        found.append("no API key is needed (api.token_required is off): every program may ask")
    if settings.cors_origins:
        found.append(f"web pages of {', '.join(settings.cors_origins)} may call the API")
    if identity.pending:
        found.append(identity.pending)
    return found


async def _of_the_default(parts: Parts) -> list[str]:
    """The setting may name a model that is not there (yet): then another one answers, not in silence."""
    wanted, answers = parts.settings.serving.default_model, parts.library.default()
    if wanted == answers or any(model.name == wanted for model in await parts.library.list()):
        return []
    return [
        f"serving.default_model names {wanted!r}, which is not in the library: {answers} answers;"
        " `node models default NAME` chooses another"
    ]


def _entry(entry: Entry) -> control.EventEntry:
    return control.EventEntry(entry.seq, entry.at, entry.kind, entry.subject, entry.facts)


def _tail(file: Path, lines: int) -> list[str]:
    """The last lines of the log, of as many bytes as a person could want to read."""
    try:
        with file.open("rb") as opened:
            size = opened.seek(0, os.SEEK_END)
            opened.seek(max(0, size - _LOG_TAIL_BYTES))
            found = deque(opened, maxlen=lines)
    except FileNotFoundError:
        return []
    return [line.decode("utf-8", "replace").rstrip("\r\n") for line in found]
