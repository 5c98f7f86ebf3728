"""Install what is missing, then run the node.

    python3 scripts/start.py                          start the node, open the terminal interface
    python3 scripts/start.py chat "tell me a joke"    any `node` command
    python3 scripts/start.py --help                   this text, then the node's commands

Without a terminal (a service, a pipe) it prints the API address and stays in the foreground.
"""

from __future__ import annotations

import os
import sys

import environment


def main(words: list[str]) -> int:
    if words[:1] in (["--help"], ["-h"]):
        print(__doc__, flush=True)
    try:
        environment.ensure()
    except environment.SetupProblem as problem:
        print(f"start: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstart: interrupted; run the same command to go on where it was", file=sys.stderr)
        return 130
    if not words:
        with_terminal = sys.stdin.isatty() and sys.stdout.isatty()
        words = ["tui"] if with_terminal else ["start", "--foreground"]
    os.execv(environment.BIN / "kith", ["kith", *words])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
