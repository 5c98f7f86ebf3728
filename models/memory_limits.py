"""How much memory this process may use: the machine's, or less where a control group says so."""

from pathlib import Path, PurePosixPath

from models.sysfiles import number, read, settings


def memory_under_limits(root: Path) -> tuple[int, int]:
    """(total, available) in bytes, with the limits of all control groups above this process."""
    meminfo = settings(read(root / "proc/meminfo"), ":")
    total = _kib(meminfo.get("MemTotal", ""))
    available = _kib(meminfo.get("MemAvailable", "")) or _kib(meminfo.get("MemFree", ""))
    for limit, used in (*_groups_v2(root), *_groups_v1(root)):
        if 0 < limit < total:
            total = limit
        if limit > 0:
            available = min(available, max(limit - used, 0))
    return total, min(available, total)


def _kib(text: str) -> int:
    word = text.partition(" ")[0]
    return int(word) * 1024 if word.isdigit() else 0


def _groups_v2(root: Path) -> list[tuple[int, int]]:
    """(limit, memory in use) of this process's group and of those above it, version 2."""
    found = []
    for folder in _folders(root / "sys/fs/cgroup", _group_path(root, "")):
        limit = number(folder / "memory.max")
        if limit is not None:
            cache = _number_in(folder / "memory.stat", "inactive_file")
            found.append((limit, (number(folder / "memory.current") or 0) - cache))
    return found


def _groups_v1(root: Path) -> list[tuple[int, int]]:
    found = []
    for folder in _folders(root / "sys/fs/cgroup/memory", _group_path(root, "memory")):
        limit = number(folder / "memory.limit_in_bytes")
        if limit is not None:
            cache = _number_in(folder / "memory.stat", "total_inactive_file")
            found.append((limit, (number(folder / "memory.usage_in_bytes") or 0) - cache))
    return found


def _group_path(root: Path, controller: str) -> PurePosixPath:
    """Where this process stands in the tree of a controller ("" for version 2)."""
    for line in read(root / "proc/self/cgroup").splitlines():
        number_, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        if controller in names.split(",") and (controller or number_ == "0"):
            return PurePosixPath(path)
    return PurePosixPath("/")


def _folders(mount: Path, path: PurePosixPath) -> list[Path]:
    """The group's folder and those above it; in a container often only the mount itself is there."""
    parts = [part for part in path.parts if part not in ("/", "..")]
    return [mount.joinpath(*parts[:count]) for count in range(len(parts), -1, -1)]


def _number_in(path: Path, name: str) -> int:
    value = settings(read(path), None).get(name, "")
    return int(value) if value.isdigit() else 0
