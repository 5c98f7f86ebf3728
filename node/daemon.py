"""The composition root: builds every part from the lowest to the highest, runs them, stops them in order.

Nothing else constructs the rooms' services. Stopping: refuse new work, let answers say that they were cut,
close the API, end the workers, close the store.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from importlib.metadata import version
from typing import Any, Final

import trio

from models.hardware import read_hardware
from node import api, content, events, feeds, memory, owner, serving, store
from node.config import ConfigError, Settings, load_settings
from node.doctor import local_findings
from node.home import Home, HomeError
from node.logs import logging_to
from node.running import RunningNode, announced, hold_home

_log = logging.getLogger(__name__)

STATE_MIGRATIONS: Final = (
    *events.MIGRATIONS,
    *feeds.MIGRATIONS,
    *owner.MIGRATIONS,
    *content.MIGRATIONS,
    *memory.MIGRATIONS,
)
INDEX_MIGRATIONS: Final = (*content.INDEX_MIGRATIONS,)
#: What keeps a node from starting or running and says in a sentence why, and what to do.
PROBLEMS: Final = (HomeError, ConfigError, store.StoreError, owner.OwnerError, api.CannotListen)
FAREWELL_S: Final = 0.5  # for answers that were cut to reach their readers


def main(home: Home, overrides: Mapping[str, Any]) -> None:
    """Be the node of this home until SIGINT, SIGTERM or a stop over the API.

    Raises one of `PROBLEMS`.
    """
    with ExitStack() as stack:
        home.prepare()
        settings = load_settings(home.config_file, os.environ, overrides)
        stack.enter_context(hold_home(home))
        stack.enter_context(logging_to(home, settings.log))
        opened = stack.enter_context(store.open_store(home, STATE_MIGRATIONS, INDEX_MIGRATIONS))
        try:
            trio.run(_until_stopped, home, settings, opened)
        except BaseExceptionGroup as group:
            if (problem := _problem_in(group)) is not None:
                raise problem from group
            raise


def _problem_in(group: BaseExceptionGroup[BaseException]) -> Exception | None:
    """The one error that a person can mend, out of the nurseries that it passed through."""
    known, rest = group.split(PROBLEMS)
    if known is None or rest is not None:
        return None
    error: BaseException = known
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error if isinstance(error, PROBLEMS) else None


async def _until_stopped(home: Home, settings: Settings, opened: store.Store) -> None:
    async with trio.open_nursery() as nursery:
        stop = trio.Event()
        nursery.start_soon(_stop_on_signal, stop)
        await run_node(home, settings, opened, stop)
        nursery.cancel_scope.cancel()


async def _stop_on_signal(stop: trio.Event) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
        async for number in signals:
            _log.info("stopping: %s", signal.Signals(number).name)
            stop.set()


async def run_node(
    home: Home,
    settings: Settings,
    opened: store.Store,
    stop: trio.Event,
    *,
    task_status: trio.TaskStatus[RunningNode] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Build and run the node until `stop` is set; started with how to reach it."""
    began = time.monotonic()
    async with (
        _built(home, settings, opened, stop) as (parts, engine),
        trio.open_nursery() as nursery,
    ):
        app = api.build_app(parts)
        bound: api.Bound = await nursery.start(partial(api.serve, app, settings.api, home))
        running = _note(home, bound)
        with announced(home, running):
            await parts.events.append(
                "node.started", version=running.version, address=running.address
            )
            _log.info(
                "ready after %.2f s: %s", time.monotonic() - began, ", ".join(bound.addresses)
            )
            _warn(parts)
            print(f"Kith {running.version} is ready: {running.address}", flush=True)  # noqa: T201
            if hint := parts.identity.backup_hint():
                print(hint, flush=True)  # noqa: T201
            task_status.started(running)
            await stop.wait()
        engine.stop_jobs()
        with trio.move_on_after(FAREWELL_S):
            await _answered(engine)
        nursery.cancel_scope.cancel()
    _log.info("stopped")


@asynccontextmanager
async def _built(
    home: Home, settings: Settings, opened: store.Store, stop: trio.Event
) -> AsyncIterator[tuple[api.Parts, serving.Serving]]:
    """Every part, lower rooms first; left in the opposite order."""
    now: Callable[[], float] = time.time
    log = events.EventLog(opened.state)
    written = feeds.Feeds(opened.state, now=now)
    identity = await owner.open_identity(home, opened.state, log, written, now=now)
    grants = await owner.open_grants(
        opened.state,
        log,
        token=identity.token,
        default_label=settings.api.default_label,
        now=now,
    )
    library = await content.open_library(
        home, settings.content, opened, log, default=settings.serving.default_model
    )
    async with (
        grants.run(),
        content.open_transfers(home, settings, library, log) as transfers,
        serving.open_serving(settings, library, log) as engine,
    ):
        conversations = await memory.open_conversations(
            opened.state, log, engine, default_model=library.default, now=now
        )
        parts = api.Parts(
            settings=settings,
            home=home,
            version=version("kith-node"),
            identity=identity,
            grants=grants,
            library=library,
            transfers=transfers,
            serving=engine,
            conversations=conversations,
            events=log,
            hardware=read_hardware,
            clock=now,
            stop=stop.set,
            findings=lambda: local_findings(home, settings, read_hardware()),
        )
        yield parts, engine


def _warn(parts: api.Parts) -> None:
    for finding in parts.findings():
        if finding.state != "ok":
            _log.warning("%s: %s; %s", finding.check, finding.message, finding.fix)


async def _answered(engine: serving.Serving) -> None:
    """Until no job is left."""
    while (now := engine.statistics()).running or now.waiting:  # noqa: ASYNC110 - for half a second
        await trio.sleep(0.01)


def _note(home: Home, bound: api.Bound) -> RunningNode:
    address = next(a for a in bound.addresses if not a.startswith("unix:"))
    return RunningNode(
        pid=os.getpid(),
        version=version("kith-node"),
        address=address,
        socket=str(home.socket),
        token_file=str(home.token_file),
        started_at=time.time(),
    )
