"""The node's log.

examples:
  node logs                 the last 50 lines
  node logs -n 200
  node logs --follow        go on as it grows; Ctrl-C ends
"""

from __future__ import annotations

import argparse
import time
from collections import deque
from pathlib import Path

from node.cli.errors import NOT_FOUND, CliError
from node.cli.lifecycle import home_of
from node.cli.output import say


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-n", "--lines", type=int, default=50, help="how many of the last lines (default 50)"
    )
    parser.add_argument("-f", "--follow", action="store_true", help="go on as the log grows")


def run(options: argparse.Namespace) -> int:
    file = home_of(options).log_file
    if not file.exists():
        raise CliError(f"there is no log yet: {file}", exit_code=NOT_FOUND)
    with file.open(encoding="utf-8", errors="replace") as log:
        for line in deque(log, maxlen=max(0, options.lines)):
            say(line.rstrip("\n"))
        position = log.tell()
    if options.follow:
        _follow(file, position)
    return 0


def _follow(file: Path, position: int) -> None:
    """Until interrupted; a log that was turned over is read from its start."""
    while True:
        time.sleep(0.3)
        if not file.exists():
            continue
        if file.stat().st_size < position:
            position = 0
        with file.open(encoding="utf-8", errors="replace") as log:
            log.seek(position)
            while line := log.readline():
                say(line.rstrip("\n"))
            position = log.tell()
