"""Start the node: in the background from a terminal, in the foreground with --foreground.

examples:
  node start                      start in the background
  node start --foreground         stay, log to the terminal, stop with Ctrl-C
  node start --offline            no network at all but the API on this machine
  node start --at-boot on         start it whenever you log in (systemd or launchd)
"""

from __future__ import annotations

import argparse
import os
from typing import Any

from node.cli.client import Client
from node.cli.errors import USAGE, CliError
from node.cli.lifecycle import home_of, start_background
from node.running import find_running
from protocols.http import requests


def add_arguments(parser: argparse.ArgumentParser) -> None:
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--foreground", action="store_true", help="stay in the foreground")
    how.add_argument("--detach", action="store_true", help="run in the background (the default)")
    parser.add_argument("--offline", action="store_true", help="no network but the API on loopback")
    parser.add_argument("--host", help="address of the API (default 127.0.0.1)")
    parser.add_argument("--port", type=int, help="port of the API (0: any free one)")
    parser.add_argument("--at-boot", choices=["on", "off", "show"], help="start when you log in")


def run(options: argparse.Namespace) -> int:
    home = home_of(options)
    if options.at_boot:
        from node.cli import boot

        return boot.run(options.at_boot, home)
    if options.foreground:
        return run_foreground(options)
    if (node := find_running(home)) is not None:
        print(f"already running: {node.address} (process {node.pid})")
        if flags := _flags(options):
            raise CliError(
                f"{' '.join(flags)} changes nothing while it runs: `node stop`, then start again",
                exit_code=USAGE,
            )
        return 0
    node = start_background(home, _flags(options))
    print(f"running: {node.address} (process {node.pid})")
    if not Client(node).call(requests.status()).backed_up:
        print("your keys have no backup yet: write down their 24 words with `node identity backup`")
    return 0


def run_foreground(options: argparse.Namespace) -> int:
    """Be the node until a signal or `node stop`."""
    from node.daemon import PROBLEMS, main  # the only place that loads the daemon

    os.umask(0o077)  # what a node writes is its owner's
    try:
        main(home_of(options), _overrides(options))
    except PROBLEMS as error:
        raise CliError(str(error)) from error
    except OSError as error:
        raise CliError(f"the node could not start: {error}") from error
    return 0


def _overrides(options: argparse.Namespace) -> dict[str, Any]:
    chosen: dict[str, Any] = {}
    if options.offline:
        chosen["offline"] = True
    if options.host:
        chosen["api.host"] = options.host
    if options.port is not None:
        chosen["api.port"] = options.port
    return chosen


def _flags(options: argparse.Namespace) -> list[str]:
    flags = ["--offline"] if options.offline else []
    flags += ["--host", options.host] if options.host else []
    return flags + (["--port", str(options.port)] if options.port is not None else [])
