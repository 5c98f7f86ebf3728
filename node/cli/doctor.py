"""Look for problems, and say how to mend them. Works with and without a running node.

examples:
  node doctor
  node doctor --json

Ends with status 1 when something is a problem.
"""

from __future__ import annotations

import argparse
import os

from node.cli.client import Client
from node.cli.errors import CliError
from node.cli.lifecycle import home_of
from node.cli.output import say, show_json
from node.running import find_running
from protocols.http import requests
from protocols.http.control import Doctor, Finding

_MARK = {"ok": "ok      ", "warning": "warning ", "problem": "PROBLEM "}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="for programs")


def run(options: argparse.Namespace) -> int:
    doctor = Doctor(findings(options))
    if options.json:
        show_json(doctor)
    else:
        for finding in doctor.findings:
            say(f"{_MARK[finding.state]} {finding.check:<10} {finding.message}")
            if finding.fix:
                say(f"{'':<20}→ {finding.fix}")
    return 1 if any(finding.state == "problem" for finding in doctor.findings) else 0


def findings(options: argparse.Namespace) -> tuple[Finding, ...]:
    """The running node's own findings, or those of this process with one more: no node runs."""
    home = home_of(options)
    if (node := find_running(home)) is not None:
        try:
            return Client(node, timeout=30).call(requests.doctor()).findings
        except CliError as error:
            lost = Finding(
                "node", "problem", str(error), "stop it with `node stop`, see `node logs`"
            )
            return (lost, *_without_node(options))
    return (Finding("node", "ok", "not running; `node start` starts it"), *_without_node(options))


def _without_node(options: argparse.Namespace) -> tuple[Finding, ...]:
    from models.hardware import read_hardware
    from node.config import ConfigError, Settings, load_settings
    from node.doctor import local_findings

    home = home_of(options)
    try:
        settings = load_settings(home.config_file, os.environ)
    except ConfigError:
        settings = Settings()  # the settings' own check tells what is wrong with them
    return local_findings(home, settings, read_hardware())
