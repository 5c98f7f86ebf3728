"""What this machine has: cores, memory that this process may use, power, graphics cards.

Everything is read from /proc and /sys under a root that tests can replace; nothing is run.
Elsewhere (macOS) psutil answers instead.
"""

import importlib
import os
import re
from pathlib import Path
from typing import Any, Final

import msgspec

from models.memory_limits import memory_under_limits
from models.sysfiles import first_line, number, read, settings

_CPU_FLAGS: Final = frozenset(
    {"sse3", "ssse3", "avx", "avx2", "f16c", "fma", "avx512f", "avx512_vnni", "avx512_bf16"}
    | {"avx_vnni", "amx_int8", "amx_bf16", "neon", "asimd", "asimddp", "i8mm", "bf16", "sve"}
)
_VENDORS: Final = {"0x10de": "NVIDIA", "0x1002": "AMD", "0x8086": "Intel"}
_MAX_CPUS: Final = 4096
_MAX_TEXT: Final = 120


class Gpu(msgspec.Struct, frozen=True):
    """A graphics card; its memory in bytes where the driver tells it."""

    vendor: str
    name: str
    memory_bytes: int | None = None


class Hardware(msgspec.Struct, frozen=True, kw_only=True):
    """The machine as this process may use it: limits of its container are counted in."""

    cpu_name: str
    cpu_flags: tuple[str, ...]
    physical_cores: int
    logical_cores: int
    cpu_quota: float | None  # cores' worth of time that a container allows; None without limit
    memory_total: int  # bytes; 0 when unknown
    memory_available: int
    on_battery: bool | None  # None on a machine without a battery
    gpus: tuple[Gpu, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain


def read_hardware(root: Path = Path("/")) -> Hardware:
    """Look at the machine; what cannot be read is left out, and nothing is raised."""
    if not (root / "proc" / "meminfo").exists():
        return _from_psutil()
    logical, physical = _cores(root)
    total, available = memory_under_limits(root)
    name, flags = _cpu(root)
    return Hardware(
        cpu_name=name,
        cpu_flags=flags,
        physical_cores=physical,
        logical_cores=logical,
        cpu_quota=_cpu_quota(root),
        memory_total=total,
        memory_available=available,
        on_battery=_on_battery(root),
        gpus=_gpus(root),
    )


def _cores(root: Path) -> tuple[int, int]:
    """(logical, physical) cores that this process may use."""
    status = settings(read(root / "proc/self/status"), ":")
    folder = root / "sys/devices/system/cpu"
    listed = status.get("Cpus_allowed_list") or first_line(folder / "online")
    allowed = cpu_list(listed) or {0}
    online = cpu_list(first_line(folder / "online")) or allowed
    usable = (allowed & online) or allowed
    siblings = {
        first_line(folder / f"cpu{cpu}/topology/thread_siblings_list") or str(cpu) for cpu in usable
    }
    return len(usable), len(siblings)


def cpu_list(text: str) -> set[int]:
    """The numbers in a list such as `0-3,8`; empty when it is no such list."""
    cpus: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,6})(?:-(\d{1,6}))?\s*", part)
        if match is None:
            return set()
        first, last = int(match[1]), int(match[2] or match[1])
        if last - first > _MAX_CPUS:
            return set()
        cpus.update(range(first, last + 1))
    return cpus


def _cpu(root: Path) -> tuple[str, tuple[str, ...]]:
    fields = settings(read(root / "proc/cpuinfo").partition("\n\n")[0], ":")
    name = fields.get("model name") or fields.get("Model") or fields.get("Processor") or "unknown"
    words = (fields.get("flags") or fields.get("Features") or "").split()
    return name[:_MAX_TEXT], tuple(sorted(_CPU_FLAGS.intersection(words)))


def _cpu_quota(root: Path) -> float | None:
    words = first_line(root / "sys/fs/cgroup/cpu.max").split()
    if len(words) == 2 and words[0].isdigit() and words[1].isdigit() and int(words[1]):
        return int(words[0]) / int(words[1])
    quota = number(root / "sys/fs/cgroup/cpu/cpu.cfs_quota_us")
    period = number(root / "sys/fs/cgroup/cpu/cpu.cfs_period_us")
    return quota / period if quota and period and quota > 0 else None


def _on_battery(root: Path) -> bool | None:
    supplies = sorted(root.glob("sys/class/power_supply/*"))
    kinds = {supply: first_line(supply / "type") for supply in supplies}
    batteries = [
        supply
        for supply, kind in kinds.items()
        if kind == "Battery" and first_line(supply / "scope") != "Device"
    ]
    if not batteries:
        return None
    mains = [supply for supply, kind in kinds.items() if kind == "Mains"]
    if mains:
        return all(first_line(supply / "online") != "1" for supply in mains)
    return any(first_line(battery / "status") == "Discharging" for battery in batteries)


def _gpus(root: Path) -> tuple[Gpu, ...]:
    gpus = []
    for card in sorted(root.glob("proc/driver/nvidia/gpus/*/information")):
        name = settings(read(card), ":").get("Model", "unknown")
        gpus.append(Gpu("NVIDIA", name[:_MAX_TEXT]))
    for device in sorted(root.glob("sys/class/drm/card[0-9]*/device")):
        code = first_line(device / "vendor")
        # The driver of NVIDIA's cards has told about them above, by name.
        if "-" in device.parent.name or (code == "0x10de" and gpus) or code not in _VENDORS:
            continue
        name = first_line(device / "product_name") or first_line(device / "device") or "unknown"
        gpus.append(Gpu(_VENDORS[code], name[:_MAX_TEXT], number(device / "mem_info_vram_total")))
    return tuple(gpus)


def _from_psutil() -> Hardware:
    psutil: Any = importlib.import_module("psutil")  # only where it is needed
    memory = psutil.virtual_memory()
    battery = psutil.sensors_battery() if hasattr(psutil, "sensors_battery") else None
    logical = psutil.cpu_count() or os.cpu_count() or 1
    return Hardware(
        cpu_name=os.uname().machine,
        cpu_flags=(),
        physical_cores=psutil.cpu_count(logical=False) or logical,
        logical_cores=logical,
        cpu_quota=None,
        memory_total=memory.total,
        memory_available=memory.available,
        on_battery=None if battery is None else not battery.power_plugged,
        gpus=(),
    )
