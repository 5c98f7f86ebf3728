"""Write docs/commands.md from the commands' own help; a test compares the two.

python scripts/commands_page.py
"""

from __future__ import annotations

import argparse
import importlib
import os
from collections.abc import Iterator
from pathlib import Path

from node.cli.main import COMMANDS

PAGE = Path(__file__).resolve().parent.parent / "docs" / "commands.md"
WIDTH = "100"
EXIT_CODES = """\
## Exit codes

| code | meaning |
|---|---|
| 0 | done |
| 1 | it failed; one line on stderr says what, why and what to do |
| 2 | wrong usage |
| 3 | no node runs |
| 4 | there is no such thing |
| 5 | refused |
| 130 | interrupted |
"""


def parsers(name: str) -> Iterator[argparse.ArgumentParser]:
    """The command's parser, then those of its actions."""
    module = importlib.import_module(COMMANDS[name][0])
    parser = argparse.ArgumentParser(
        prog=f"node {name}",
        description=module.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    module.add_arguments(parser)
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from action.choices.values()


def page() -> str:
    os.environ["COLUMNS"] = WIDTH
    parts = [
        "# Commands\n",
        "`node` and `kith` are the same program. Every command takes `--home DIR`. This page is made from the commands' own help.\n",
    ]
    for name in COMMANDS:
        parts.append(f"## node {name}\n")
        parts += [f"```text\n{parser.format_help().rstrip()}\n```\n" for parser in parsers(name)]
    return "\n".join([*parts, EXIT_CODES])


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
