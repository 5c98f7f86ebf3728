"""Finding the running node, starting one in the background, waiting for it to be ready or gone."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from node.cli.client import Client
from node.cli.errors import NOT_RUNNING, CliError
from node.home import Home, HomeError, default_root
from node.running import RunningNode, find_running, is_held

READY_S = 60.0
STOP_S = 10.0
NO_ROOM_BYTES = 64 * 1024


def home_of(options: argparse.Namespace) -> Home:
    chosen: Path | None = options.home
    return Home(chosen.expanduser().absolute() if chosen else default_root(os.environ))


def connect(options: argparse.Namespace, *, start: bool = True) -> Client:
    """A client of the running node; starts one in the background, and says so, if none runs."""
    home = home_of(options)
    node = find_running(home) or (wait_ready(home) if is_held(home) else None)
    if node is None:
        if not start:
            raise CliError(
                f"no node runs with the home {home.root}: start it with `node start`",
                exit_code=NOT_RUNNING,
            )
        print("no node runs yet: starting it in the background …", file=sys.stderr)
        node = start_background(home, [])
    return Client(node)


def start_background(home: Home, flags: list[str]) -> RunningNode:
    """Start `node start --foreground` as a process of its own and wait until it is ready."""
    output = home.logs / "start.out"
    try:
        home.prepare()
        handle = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "wb") as sink:
            child = subprocess.Popen(
                [
                    sys.executable,
                    "-P",
                    "-m",
                    "node.cli.main",
                    "start",
                    "--foreground",
                    "--home",
                    str(home.root),
                    *flags,
                ],
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd="/",
            )
    except HomeError as error:
        raise CliError(str(error)) from error
    except OSError as error:
        raise CliError(f"the node could not be started: {error}") from error
    return wait_ready(home, child, output)


def wait_ready(
    home: Home, child: subprocess.Popen[bytes] | None = None, output: Path | None = None
) -> RunningNode:
    """Wait, bounded, until the home's node says where it is; its own last words when it fails."""
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline:
        if (child is None or is_held(home)) and (node := find_running(home)) is not None:
            return node
        if child is not None and child.poll() is not None:
            raise CliError(_last_words(output) or _why_silent(home, child.returncode))
        if child is None and not is_held(home):
            raise CliError(
                "the node that was starting has ended: see `node logs`", exit_code=NOT_RUNNING
            )
        time.sleep(0.02)
    raise CliError(f"the node was not ready after {READY_S:.0f} s: see `node logs`")


def wait_gone(home: Home) -> bool:
    deadline = time.monotonic() + STOP_S
    while time.monotonic() < deadline:
        if not is_held(home):
            return True
        time.sleep(0.02)
    return False


def _why_silent(home: Home, status: int) -> str:
    """A node that could not even write why it ended."""
    if shutil.disk_usage(home.root).free < NO_ROOM_BYTES:
        return f"the disk of {home.root} is full: free some space, then start again"
    return f"the node ended at once with status {status}: see `node start --foreground`"


def _last_words(output: Path | None) -> str:
    """The sentence with which a node refused to start; where to look when it broke instead."""
    if output is None:
        return ""
    lines = output.read_text(encoding="utf-8", errors="replace").splitlines()
    if any("Traceback" in line for line in lines):
        return f"the node broke while starting; all that it said is in {output}"
    said = [line for line in lines if line.startswith(("node: ", "kith: "))]
    return said[-1].partition(": ")[2] if said else ""
