"""Start at login, on request: a systemd user unit, or a launchd agent on macOS."""

from __future__ import annotations

import os
import plistlib
import shutil
import subprocess
import sys
from pathlib import Path

from node.cli.errors import CliError
from node.cli.output import say
from node.home import Home

LABEL = "kith-node"


def run(action: str, home: Home) -> int:
    file = unit_file(sys.platform)
    if action == "show":
        say(f"on: {file}" if file.exists() else "off")
    elif action == "on":
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(unit(sys.platform, home))
        say(f"written: {file}")
        _tell(enable_command(sys.platform, file))
    else:
        if file.exists():
            _tell(disable_command(sys.platform, file))
            file.unlink()
        say("off")
    return 0


def unit_file(platform: str) -> Path:
    if platform == "darwin":
        return Path.home() / "Library" / "LaunchAgents" / f"{LABEL}.plist"
    if platform.startswith("linux"):
        base = os.environ.get("XDG_CONFIG_HOME")
        return (
            (Path(base) if base else Path.home() / ".config")
            / "systemd"
            / "user"
            / f"{LABEL}.service"
        )
    raise CliError(
        f"starting at login is not known for {platform}: start `kith start` from its own tools"
    )


def unit(platform: str, home: Home) -> bytes:
    command = [
        sys.executable,
        "-P",
        "-m",
        "node.cli.main",
        "start",
        "--foreground",
        "--home",
        str(home.root),
    ]
    if platform == "darwin":
        return plistlib.dumps(
            {
                "Label": LABEL,
                "ProgramArguments": command,
                "RunAtLoad": True,
                "KeepAlive": {"SuccessfulExit": False},
            }
        )
    quoted = " ".join(_systemd_word(word) for word in command)
    return (
        "[Unit]\nDescription=Kith: a node for AI that you own\n\n"
        f"[Service]\nType=exec\nExecStart={quoted}\nRestart=on-failure\nRestartSec=5\nTimeoutStopSec=10\n\n"
        "[Install]\nWantedBy=default.target\n"
    ).encode()


def _systemd_word(word: str) -> str:
    escaped = word.replace("%", "%%").replace("$", "$$").replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def enable_command(platform: str, file: Path) -> list[str]:
    return (
        ["launchctl", "load", "-w", str(file)]
        if platform == "darwin"
        else ["systemctl", "--user", "enable", file.name]
    )


def disable_command(platform: str, file: Path) -> list[str]:
    return (
        ["launchctl", "unload", "-w", str(file)]
        if platform == "darwin"
        else ["systemctl", "--user", "disable", file.name]
    )


def _tell(command: list[str]) -> None:
    """Run it where the service manager is there; otherwise say what to run."""
    if shutil.which(command[0]):
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
        if done.returncode == 0:
            say("done: " + " ".join(command))
            return
    say("now run: " + " ".join(command))
