"""What runs, where it can be reached, and what leaves this machine.

examples:
  node status
  node status --json
"""

from __future__ import annotations

import argparse

from node.cli.lifecycle import connect
from node.cli.output import duration, say, show_json, size
from protocols.http import requests


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="for programs")


def run(options: argparse.Namespace) -> int:
    status = connect(options, start=False).call(requests.status())
    if options.json:
        show_json(status)
        return 0
    rows = [
        ("node", f"{status.version}, process {status.pid}, up {duration(status.uptime_s)}"),
        ("api", ", ".join(status.addresses)),
        ("token", status.token_file),
        ("home", status.home),
        ("owner", status.owner),
        ("device", f"{status.device_name} ({status.device})"),
        ("network", status.network),
        ("default model", status.default_model),
        ("loaded", ", ".join(status.loaded) or "nothing yet; models load when they are asked"),
        ("jobs", f"{status.jobs_running} running, {status.jobs_waiting} waiting"),
        ("memory", f"models {size(status.memory.models_used)} of {size(status.memory.models_budget)}; "
                   f"machine {size(status.memory.available)} free of {size(status.memory.total)}"),
    ]  # fmt: skip
    for name, text in rows:
        say(f"{name:<14} {text}")
    for warning in status.warnings:
        say(f"warning        {warning}")
    if not status.backed_up:
        say("backup         never: write down your 24 words with `node identity backup`")
    return 0
