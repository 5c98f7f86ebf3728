"""What `node doctor` looks at. Each check is a function of what it is given; none changes anything."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

from models.hardware import Hardware
from node.config import ConfigError, Settings, load_settings
from node.home import Home
from node.running import is_held
from protocols.http.control import Finding
from protocols.limits import GIB, MIB

_FREE_DISK_LOW = 2 * GIB
_MEMORY_LOW = 512 * MIB
_LEFT_S = 24 * 3600  # a download is left over when nothing was written for so long
#: Nothing of this project is older; a clock before it is wrong.
_EARLIEST = 1_767_225_600.0  # 2026-01-01


def ok(check: str, message: str) -> Finding:
    return Finding(check, "ok", message)


def warning(check: str, message: str, fix: str) -> Finding:
    return Finding(check, "warning", message, fix)


def problem(check: str, message: str, fix: str) -> Finding:
    return Finding(check, "problem", message, fix)


def check_python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    return ok("python", f"Python {version}")


def check_home(home: Home) -> Finding:
    if not home.root.exists():
        return ok("home", f"{home.root} will be made at the first start")
    if not os.access(home.root, os.W_OK) or os.statvfs(home.root).f_flag & os.ST_RDONLY:
        return problem(
            "home", f"{home.root} cannot be written", "make it writable, or use --home DIR"
        )
    loose = [path.name for path in private_files(home) if path.stat().st_mode & 0o077]
    if loose:
        return problem("home", f"others can read {', '.join(loose)}", f"chmod -R go= {home.keys}")
    return ok("home", f"{home.root} is writable and private")


def private_files(home: Home) -> list[Path]:
    return [p for p in home.keys.iterdir() if p.is_file()] if home.keys.is_dir() else []


def check_disk(home: Home) -> Finding:
    folder = next(p for p in [home.root, *home.root.parents] if p.exists())
    free = shutil.disk_usage(folder).free
    if free < _FREE_DISK_LOW:
        return warning(
            "disk", f"{free / GIB:.1f} GiB free", "free some space before pulling models"
        )
    return ok("disk", f"{free / GIB:.0f} GiB free")


def check_leftovers(home: Home, now: float) -> Finding:
    """Downloads that nobody went on with."""
    folders = [p for p in home.partial.iterdir() if p.is_dir()] if home.partial.is_dir() else []
    files = [p.stat() for folder in folders for p in folder.rglob("*") if p.is_file()]
    held = sum(status.st_size for status in files)
    text = f"{len(folders)} unfinished downloads hold {held / GIB:.1f} GiB"
    if files and now - max(status.st_mtime for status in files) > _LEFT_S:
        fix = "go on with `node models pull`, or `node models transfers --forget ID`"
        return warning("downloads", text, fix)
    return ok("downloads", text if folders else "none is unfinished")


def check_memory(hardware: Hardware) -> Finding:
    available, total = hardware.memory_available, hardware.memory_total
    text = (
        f"{available / GIB:.1f} of {total / GIB:.1f} GiB available, {hardware.physical_cores} cores"
    )
    if available < _MEMORY_LOW:
        return warning(
            "memory", text, "close something, or unload models with `node models unload`"
        )
    return ok("memory", text)


def check_config(home: Home) -> Finding:
    try:
        load_settings(home.config_file, os.environ)
    except ConfigError as error:
        return problem("settings", str(error), f"mend {home.config_file}")
    return ok(
        "settings", f"{home.config_file} is fine" if home.config_file.exists() else "all as shipped"
    )


def check_port(home: Home, settings: Settings) -> Finding:
    """Whether the API's port is ours, free, or somebody else's."""
    host, port = settings.api.host, settings.api.port
    if is_held(home) or port == 0:
        return ok("port", f"the API's port is {port or 'any free one'}")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            fix = "stop that program, or choose another: `node config set api.port 0`"
            return problem("port", f"port {port} on {host}: {error.strerror}", fix)
    return ok("port", f"port {port} is free")


def check_exposure(settings: Settings) -> Finding:
    if settings.api.host in ("127.0.0.1", "::1", "localhost") and settings.api.token_required:
        return ok("api", "only this machine reaches the API, with a token")
    what = "without a token" if not settings.api.token_required else f"on {settings.api.host}"
    fix = "`node config set api.host 127.0.0.1` and `node config set api.token_required true`"
    return warning("api", f"the API is open {what}", f"if that is not wanted: {fix}")


def check_clock(now: float) -> Finding:
    if now < _EARLIEST:
        return problem(
            "clock",
            f"the clock says {time.strftime('%Y-%m-%d', time.gmtime(now))}",
            "set the clock",
        )
    return ok("clock", time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now)))


def local_findings(home: Home, settings: Settings, hardware: Hardware) -> tuple[Finding, ...]:
    """Everything that can be looked at without a running node. One failing check never hides the others."""
    checks: list[Callable[[], Finding]] = [
        check_python,
        lambda: check_home(home),
        lambda: check_config(home),
        lambda: check_disk(home),
        lambda: check_leftovers(home, time.time()),
        lambda: check_memory(hardware),
        lambda: check_port(home, settings),
        lambda: check_exposure(settings),
        lambda: check_clock(time.time()),
    ]
    return tuple(_guarded(check) for check in checks)


def _guarded(check: Callable[[], Finding]) -> Finding:
    try:
        return check()
    except OSError as error:
        return problem("doctor", f"a check could not look: {error}", "see `node logs`")
