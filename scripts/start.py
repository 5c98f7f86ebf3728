"""Install what is missing, then run the node.

    python3 scripts/start.py                          start the node, open the terminal interface
    python3 scripts/start.py chat "tell me a joke"    any `node` command
    python3 scripts/start.py --help                   this text, then the node's commands

Without a terminal (a service, a pipe) it prints the API address and stays in the foreground.
"""

import os
import sys

from python_version import leave_if_too_old

leave_if_too_old()

from environment import KITH, ensured  # noqa: E402 - an old Python could not read it


def main(words: list[str]) -> int:
    if words[:1] in (["--help"], ["-h"]):
        print(__doc__, flush=True)
    status = ensured("start")
    if status:
        return status
    if not words:
        with_terminal = sys.stdin.isatty() and sys.stdout.isatty()
        words = ["tui"] if with_terminal else ["start", "--foreground"]
    os.execv(KITH, ["kith", *words])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
