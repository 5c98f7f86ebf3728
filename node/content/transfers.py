"""Long work on models: pulls and adds, as parts of the running node that anyone may watch.

A client that goes away changes nothing. A pull that was stopped, failed, or was cut off with the node
is listed as it is, and goes on from its last byte when the same reference is pulled again.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import trio
from msgspec.structs import replace

from models.errors import BadModel
from node.config import Settings
from node.content import names
from node.content.add import Wish, checked_label
from node.content.adopt import Seen, look_around
from node.content.disk import is_full
from node.content.errors import (
    BadRef,
    ContentError,
    NameTaken,
    NotAllowed,
    TooMany,
    UnknownModel,
    UnknownTransfer,
)
from node.content.library import Library
from node.content.model import Added
from node.content.refs import Ref, is_loopback, parse_ref
from node.content.sidecar import (
    Sidecar,
    checked_sha256,
    new_sidecar,
    read_sidecar,
    staging_id,
    unfinished,
)
from node.content.staging import Staging
from node.content.task import Task
from node.events import EventLog
from node.home import Home
from node.owner import Caller
from node.store import StoreError
from protocols.http.control import (
    AddModel,
    Adopted,
    AdoptedModel,
    AdoptModels,
    PullModel,
    Transfer,
)

_AT_ONCE: Final = 2  # of a kind: more would only share the same line or disk
_MOST_ACTIVE: Final = 32
_MOST_KEPT: Final = 100  # finished ones that are still listed
_LOOK_EVERY_S: Final = 0.2
_LAST_WORDS_S: Final = 2.0
_GO_ON: Final = "stopped; pull the same reference again to go on"
_log = logging.getLogger(__name__)


class Transfers:
    """Open with `open_transfers`."""

    def __init__(
        self,
        home: Home,
        settings: Settings,
        library: Library,
        events: EventLog,
        first_wait_s: float,
    ) -> None:
        self._home = home
        self._settings = settings
        self._library = library
        self._events = events
        self._first_wait_s = first_wait_s
        self._tasks: dict[str, Task] = {}
        self._turns = {kind: trio.CapacityLimiter(_AT_ONCE) for kind in ("add", "pull")}
        self._beginning = trio.Lock()  # of pulls: two for one reference must not both begin
        self._nursery: trio.Nursery | None = None

    @asynccontextmanager
    async def run(self) -> AsyncIterator[Transfers]:
        """While open, transfers run; at the end they are stopped, and what pulls have is kept."""
        for staging, sidecar in await trio.to_thread.run_sync(unfinished, self._home):
            await self._list_unfinished(staging, sidecar)
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            try:
                yield self
            finally:
                self._nursery = None
                nursery.cancel_scope.cancel()

    # --- looking ----------------------------------------------------------------------------------

    async def list(self) -> list[Transfer]:
        """Every transfer that is known, oldest first."""
        return [task.snapshot() for task in self._tasks.values()]

    async def get(self, id: str) -> Transfer:
        """Raises `UnknownTransfer`."""
        return self._task(id).snapshot()

    @asynccontextmanager
    async def watch(self, id: str) -> AsyncIterator[trio.MemoryReceiveChannel[Transfer]]:
        """How a transfer stands now and each time that it changes, to the end of it.

        A slow reader misses what lay between, never the last. Raises `UnknownTransfer`.
        """
        task, nursery = self._task(id), self._open()
        send, receive = trio.open_memory_channel[Transfer](0)
        scope = trio.CancelScope()
        nursery.start_soon(_feed, task, send, scope)
        try:
            with receive:
                yield receive
        finally:
            scope.cancel()

    # --- changing ---------------------------------------------------------------------------------

    async def start_pull(self, what: PullModel, caller: Caller) -> Transfer:
        """Begin to fetch a model, or go on with it. The same reference is never fetched twice at a time.

        Raises `BadRef`, `BadName`, `NotAllowed` (offline), `TooMany`.
        """
        ref = parse_ref(what.ref, self._settings.content.hub_endpoint)
        if self._settings.offline and not is_loopback(ref.origin[1]):
            raise NotAllowed(
                f"this node is set to be offline, and {ref.origin[1]} is not on this machine: allow the"
                " network (`offline = false`), or add a file with `node models add FILE`"
            )
        name, label = self._free_name(what.name, ref), checked_label(what.label)
        what = replace(what, name=name, label=label, sha256=checked_sha256(what.sha256, ref))
        staging = Staging(self._home, staging_id(ref))
        async with self._beginning:
            running = self._running(staging.folder.name)
            if running is not None:
                return running.snapshot()
            old = await trio.to_thread.run_sync(read_sidecar, staging)
            sidecar = new_sidecar(what, ref, old, caller.id)
            task = Task(sidecar.id, "pull", sidecar.ref, name or names.clean(ref.model_name))
            task.key = staging.folder.name
            self._begin(task, partial(self._pull, task, ref, sidecar, staging))
        return task.snapshot()

    async def start_add(self, what: AddModel, caller: Caller) -> Transfer:
        """Begin to take in a file or folder of this machine. Raises `BadName`, `AddFailed`, `TooMany`."""
        name = names.checked(what.name) if what.name else None
        wish = Wish(name=name, label=checked_label(what.label), asked_by=caller.id)
        path = Path(what.path)
        task = Task(secrets.token_hex(8), "add", what.path, name or names.clean(path.name))
        self._begin(task, partial(self._add, task, path, wish, copy=what.copy))
        return task.snapshot()

    async def adopt(
        self,
        what: AdoptModels,
        caller: Caller,
        *,
        env: Mapping[str, str] | None = None,
        user: Path | None = None,
    ) -> Adopted:
        """Begin to refer to the models that other programs keep on this machine, where they are.

        Each that is new here is added by a transfer of its own, however many they are; with `dry_run`
        they are only told. Raises `AddFailed` for a folder that is not there.
        """
        env, user = os.environ if env is None else env, user or Path.home()
        seen = await look_around(self._library, what, env, user)
        if what.dry_run:
            return Adopted(tuple(each.told for each in seen))
        return Adopted(tuple(self._adopt_one(each, caller) for each in seen))

    def _adopt_one(self, seen: Seen, caller: Caller) -> AdoptedModel:
        if seen.told.state != "found":
            return seen.told
        key = f"adopt {seen.path}"  # two names of one file are one model
        task = self._running(key)
        if task is None:
            task = Task(secrets.token_hex(8), "add", str(seen.path), seen.told.name)
            task.key = key
            wish = dataclasses.replace(seen.wish, asked_by=caller.id)
            self._begin(task, partial(self._add, task, seen.path, wish, copy=False), bounded=False)
        return replace(seen.told, state="adding", transfer=task.id)

    async def stop(self, id: str) -> Transfer:
        """Stop a transfer; a pull can go on later. One that is over stays as it is.

        Raises `UnknownTransfer`.
        """
        task = self._task(id)
        task.scope.cancel()
        while task.active:
            await task.changed.wait()
        return task.snapshot()

    async def forget(self, id: str) -> Transfer:
        """Stop a transfer for good: what a pull has fetched so far is deleted, and it is not listed again.

        Raises `UnknownTransfer`.
        """
        last = await self.stop(id)
        task = self._tasks.pop(id, None)
        if task is not None and task.kind == "pull":
            async with self._beginning:
                if self._running(task.key) is None:
                    await trio.to_thread.run_sync(Staging(self._home, task.key).discard)
        return last

    # --- inside -----------------------------------------------------------------------------------

    def _task(self, id_: str) -> Task:
        task = self._tasks.get(id_)
        if task is None:
            raise UnknownTransfer(f"there is no transfer {id_[:64]!r}: see the list of transfers")
        return task

    def _open(self) -> trio.Nursery:
        if self._nursery is None:
            raise NotAllowed("the node is stopping: try again when it is up")
        return self._nursery

    def _running(self, key: str) -> Task | None:
        return next((t for t in self._tasks.values() if t.key == key and t.active), None)

    def _begin(
        self, task: Task, work: Callable[[], Awaitable[Added]], *, bounded: bool = True
    ) -> None:
        nursery = self._open()
        active = sum(other.active for other in self._tasks.values())
        if bounded and active >= _MOST_ACTIVE:
            raise TooMany(f"{_MOST_ACTIVE} transfers are waiting or running: try again later")
        self._tasks.pop(task.id, None)  # a pull that goes on moves to the end of the list
        self._tasks[task.id] = task
        over = [t.id for t in self._tasks.values() if not t.active]
        for id_ in over[: max(0, len(over) - _MOST_KEPT)]:
            del self._tasks[id_]
        nursery.start_soon(self._run, task, work)

    async def _run(self, task: Task, work: Callable[[], Awaitable[Added]]) -> None:
        """One transfer from its turn to its end; the boundary at which every failure becomes a state."""
        try:
            with task.scope:
                async with self._turns[task.kind]:
                    task.become("running")
                    added = await work()
                    task.model = added.model.name
                    known = f"the library has it already, as {task.model}" if added.known else ""
                    task.become("done", known)
        except (ContentError, BadModel, StoreError) as error:
            task.become("failed", str(error))
        except OSError as error:
            task.become("failed", _os_message(error))
        except Exception:  # noqa: BLE001 - the boundary of a task: logged, never the end of the node
            _log.exception("transfer %s failed in a way that nobody expected", task.id)
            task.become("failed", "something unexpected went wrong: see the log")
        finally:
            if task.active:
                task.become("stopped", _GO_ON if task.kind == "pull" else "stopped")
            _log.info("%s %s: %s %s", task.kind, task.name, task.state, task.message)

    async def _add(self, task: Task, path: Path, wish: Wish, *, copy: bool) -> Added:
        def progress(done: int, total: int) -> None:
            task.meter.done, task.meter.total = done, total

        task.meter.doing = "copying" if copy else "hashing"
        try:
            return await self._library.bring_in(path, wish, copy=copy, progress=progress)
        except (ContentError, BadModel, StoreError, OSError) as error:
            with trio.move_on_after(_LAST_WORDS_S, shield=True):
                await self._tell("transfer.failed", task, asked_by=wish.asked_by, why=str(error))
            raise

    async def _pull(self, task: Task, ref: Ref, sidecar: Sidecar, staging: Staging) -> Added:
        from node.content.download import Patience  # only now: the HTTP client takes long to import
        from node.content.pull import Pull

        patience = Patience(self._settings.content.pull_retries, first_s=self._first_wait_s)
        told = {"ref": ref.text, "host": ref.origin[1], "asked_by": sidecar.asked_by}
        await self._events.append("transfer.started", task.id, **told)
        pull = Pull(self._library, ref, sidecar, staging, patience, task.meter)
        try:
            added = await pull.run(offline=self._settings.offline)
        except (ContentError, BadModel, StoreError, OSError) as error:
            useless = isinstance(error, BadModel) or getattr(error, "keep", True) is False
            with trio.move_on_after(_LAST_WORDS_S, shield=True):
                await self._tell("transfer.failed", task, **told, why=str(error))
                await trio.to_thread.run_sync(_tidy, staging, sidecar, useless)
            raise
        except trio.Cancelled:
            with trio.move_on_after(_LAST_WORDS_S, shield=True):
                await self._tell("transfer.stopped", task, **told)
                await trio.to_thread.run_sync(_tidy, staging, sidecar, False)
            raise
        await self._tell("transfer.ended", task, **told, known=added.known)
        await trio.to_thread.run_sync(staging.discard)
        return added

    async def _tell(self, kind: str, task: Task, **facts: Any) -> None:
        """Record how it ended, and which hosts sent how much. A full disk must not hide the reason."""
        facts = {**facts, "received": sum(task.meter.received.values())}
        try:
            await self._events.append(kind, task.id, hosts=dict(task.meter.received), **facts)
        except StoreError as error:
            _log.error("the event %s of %s could not be kept: %s", kind, task.id, error)

    def _free_name(self, name: str | None, ref: Ref) -> str | None:
        """The chosen name, if no other model has it: better told now than after hours."""
        if not name:
            return None
        name = names.checked(name)
        try:
            taken = self._library.peek(name)
        except UnknownModel:
            return name
        if taken.name == name and taken.source != ref.text:
            raise NameTaken(name)
        return name

    async def _list_unfinished(self, staging: Staging, sidecar: Sidecar) -> None:
        try:
            ref = parse_ref(sidecar.ref, self._settings.content.hub_endpoint)
        except BadRef as error:
            _log.warning("%s: %s", staging.folder, error)
            return
        name = sidecar.name or names.clean(ref.model_name)
        task = Task(sidecar.id, "pull", sidecar.ref, name)
        task.key, task.started_at = staging.folder.name, sidecar.started_at
        task.meter.done = await trio.to_thread.run_sync(sidecar.present, staging)
        task.meter.total = sidecar.total
        task.become("stopped", _GO_ON)
        self._tasks[task.id] = task


@asynccontextmanager
async def open_transfers(
    home: Home,
    settings: Settings,
    library: Library,
    events: EventLog,
    *,
    first_wait_s: float = 0.5,
) -> AsyncIterator[Transfers]:
    """The transfers of this node, running. `first_wait_s`: before the second try of a pull."""
    async with Transfers(home, settings, library, events, first_wait_s).run() as transfers:
        yield transfers


async def _feed(
    task: Task, send: trio.MemorySendChannel[Transfer], scope: trio.CancelScope
) -> None:
    """Send snapshots until the transfer is over or the reader has gone."""
    last: Transfer | None = None
    with scope, send:
        while True:
            changed, now = task.changed, task.snapshot()
            try:
                if now != last:
                    await send.send(now)
                    last = now
            except trio.BrokenResourceError:
                return
            if not task.active:
                if task.snapshot() == now:
                    return
                continue
            with trio.move_on_after(_LOOK_EVERY_S):
                await changed.wait()


def _tidy(staging: Staging, sidecar: Sidecar, useless: bool) -> None:
    """Delete what another try could not use: nothing is left of a pull that never got a byte."""
    if useless or (staging.plan() is None and not sidecar.present(staging)):
        staging.discard()


def _os_message(error: OSError) -> str:
    if is_full(error):
        return "the disk is full: free some space and try again; what came so far is kept"
    return f"{error.strerror or error}: check the home folder and its disk"
