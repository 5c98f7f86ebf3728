"""Open the terminal interface. Closing it stops nothing.

examples:
  node tui
"""

from __future__ import annotations

import argparse
import os
import sys

from node.cli.errors import USAGE, CliError
from node.cli.lifecycle import connect


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--no-mouse", action="store_true", help="leave the mouse to the terminal")


def run(options: argparse.Namespace) -> int:
    """Become the interface's own process: it knows only the API's address and token."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise CliError(
            "the terminal interface needs a terminal; use `node chat` in a pipe", exit_code=USAGE
        )
    if os.environ.get("TERM", "dumb") == "dumb":
        raise CliError(
            "this terminal cannot move its cursor (TERM=dumb): use `node chat`", exit_code=USAGE
        )
    node = connect(options).node
    words = [
        sys.executable,
        "-P",
        "-m",
        "tui",
        "--address",
        node.address,
        "--token-file",
        node.token_file,
    ]
    words += ["--no-mouse"] if options.no_mouse else []
    sys.stdout.flush()
    os.execv(sys.executable, words)  # noqa: S606 - this process becomes the interface
