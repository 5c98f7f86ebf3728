"""All models that are loaded: shares the memory out among them and unloads what nobody uses."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import trio

from node.config import ServingSettings
from node.serving import residency
from node.serving.errors import JobFailed, ModelBusy
from node.serving.plan import Plan
from node.serving.records import Records
from node.serving.residency import MachineMemory, Resident
from node.serving.supervisor import Supervisor
from node.serving.worker_process import Launcher
from protocols.limits import MIB

LOOK_EVERY_S = 2.0  # at memory pressure and idle models
MODELS_KNOWN = 1000  # supervisors that are kept though nothing is loaded

_log = logging.getLogger(__name__)


@dataclass
class Counts:
    """What happened to workers since the node started."""

    loads: int = 0
    deaths: int = 0
    hangs: int = 0


class Workers:
    """Finds or makes the supervisor of a model. Runs inside the nursery that it is given."""

    def __init__(
        self,
        settings: ServingSettings,
        launcher: Launcher,
        records: Records,
        memory: Callable[[], MachineMemory],
        nursery: trio.Nursery,
    ) -> None:
        self._settings = settings
        self._launcher = launcher
        self._records = records
        self._memory = memory
        self._nursery = nursery
        self._supervisors: dict[str, Supervisor] = {}
        self.budget_bytes = residency.budget(settings.memory_bytes, memory().total)
        self.counts = Counts()

    @property
    def supervisors(self) -> Sequence[Supervisor]:
        return tuple(self._supervisors.values())

    @property
    def used_bytes(self) -> int:
        return sum(each.reserved for each in self._supervisors.values())

    def of(self, plan: Plan) -> Supervisor:
        """The supervisor of this model; a new one when the model is served for the first time."""
        known = self._supervisors.get(plan.cid)
        if known is not None:
            if known.plan != plan and known.state == "unloaded":
                known.plan = plan  # it has another name or place since
            return known
        self._forget_one()
        made = Supervisor(plan, self, self._launcher, self._settings, self._records, self._nursery)
        self._supervisors[plan.cid] = made
        return made

    def known(self, name_or_cid: str) -> Supervisor | None:
        """The supervisor of a model that was served before."""
        wanted = name_or_cid.lower()
        for each in reversed(self._supervisors.values()):  # a name may have been given anew
            if name_or_cid == each.plan.cid or wanted == each.plan.name.lower():
                return each
        return None

    def count(self, what: Literal["loads", "deaths", "hangs"]) -> None:
        setattr(self.counts, what, getattr(self.counts, what) + 1)

    async def make_room(self, supervisor: Supervisor) -> None:
        """Reserve memory for a model, unloading idle ones; `JobFailed` when it cannot fit."""
        needed = supervisor.plan.bytes
        residents, memory = self._residents(), self._memory()
        room = residency.make_room(needed, residents, memory, self.budget_bytes)
        if not room.fits:
            raise JobFailed(
                "out_of_memory",
                _no_room(supervisor.plan.name, needed, room.short, residents),
                retry=room.waiting_may_help,
            )
        supervisor.reserved = needed
        await self._unload(room.unload, "room for another model")

    async def unload(self, supervisor: Supervisor) -> None:
        """Unload it now. Raises `ModelBusy` while jobs want it."""
        if not supervisor.resident.idle:
            raise ModelBusy(
                f"'{supervisor.plan.name}' is in use: stop its answers first, or wait for them"
            )
        await supervisor.stop()

    async def keep_house(self) -> None:
        """Unload idle models and relieve the machine, until cancelled."""
        while True:
            await trio.sleep(min(LOOK_EVERY_S, self._settings.idle_unload_s / 2 or LOOK_EVERY_S))
            residents = self._residents()
            idle_s = self._settings.idle_unload_s
            await self._unload(
                residency.outstayed(residents, trio.current_time(), idle_s), "unused"
            )
            await self._unload(
                residency.relieve(self._residents(), self._memory()), "little memory left"
            )

    async def stop(self) -> None:
        """End every worker; bounded by the slowest one."""
        async with trio.open_nursery() as nursery:
            for each in self.supervisors:
                nursery.start_soon(each.stop)

    def _residents(self) -> list[Resident]:
        """What holds memory and keeps it: not what is just being unloaded."""
        return [
            each.resident
            for each in self._supervisors.values()
            if each.reserved and not each.retiring
        ]

    async def _unload(self, cids: Sequence[str], why: str) -> None:
        """Unload these, and wait for all that are leaving: only then is their memory free."""
        chosen = [self._supervisors[cid] for cid in cids]
        for each in chosen:
            _log.info("unloading %s: %s", each.plan.name, why)
            each.retire()  # before the first wait: nobody begins anything in it now
        async with trio.open_nursery() as nursery:
            for each in self.supervisors:
                if each.retiring:
                    nursery.start_soon(each.stop)

    def _forget_one(self) -> None:
        if len(self._supervisors) < MODELS_KNOWN:
            return
        for cid, each in self._supervisors.items():
            if each.state == "unloaded" and each.reserved == 0 and each.resident.idle:
                del self._supervisors[cid]
                return


def _no_room(name: str, needed: int, short: int, residents: Sequence[Resident]) -> str:
    busy = sum(not each.idle for each in residents)
    todo = (
        "try again when the models in use are idle"
        if busy
        else "use a smaller model or a smaller serving.context, or raise serving.memory_bytes"
    )
    return (
        f"'{name}' needs about {needed // MIB:,} MiB of memory and {short // MIB + 1:,} MiB of that "
        f"are missing, even with every idle model unloaded: {todo}"
    )
