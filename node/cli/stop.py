"""Stop the node. Running answers are cut and kept as unfinished.

examples:
  node stop
"""

from __future__ import annotations

import argparse

from node.cli.client import Client
from node.cli.errors import CliError
from node.cli.lifecycle import home_of, wait_gone, wait_ready
from node.running import find_running, is_held
from protocols.http import requests


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """No options of its own."""


def run(options: argparse.Namespace) -> int:
    home = home_of(options)
    if not is_held(home):
        print("no node runs")
        return 0
    node = find_running(home) or wait_ready(home)
    Client(node, timeout=10).call(requests.stop())
    if not wait_gone(home):
        raise CliError(f"the node (process {node.pid}) did not stop in time: see `node logs`")
    print("stopped")
    return 0
