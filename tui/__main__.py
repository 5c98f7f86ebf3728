"""`python -P -m tui --address URL --token-file FILE`: what `node tui` becomes."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="tui", description="Kith's terminal interface")
    parser.add_argument(
        "--address", required=True, help="the node's API, e.g. http://127.0.0.1:8750"
    )
    parser.add_argument("--token-file", required=True, type=Path)
    parser.add_argument("--no-mouse", action="store_true", help="leave the mouse to the terminal")
    options = parser.parse_args(words)
    if problem := unfit():
        print(f"tui: {problem}", file=sys.stderr)  # noqa: T201 - before the interface begins
        return 2
    from tui.api import Api
    from tui.app import KithApp

    app = KithApp(Api(options.address, options.token_file))
    app.run(mouse=not options.no_mouse)
    return app.return_code or 0


def unfit() -> str:
    """Why this terminal cannot show the interface; empty when it can."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return "it needs a terminal; use `node chat` in a pipe"
    if os.environ.get("TERM", "dumb") == "dumb":
        return "this terminal cannot move its cursor (TERM=dumb): use `node chat`"
    return ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
