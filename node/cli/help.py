"""Kith: a node for AI that you own."""

from __future__ import annotations

import argparse

from node.cli.errors import CliError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("command", nargs="?", help="the command to explain")


def run(options: argparse.Namespace) -> int:
    from node.cli.main import COMMANDS, execute

    if options.command:
        if options.command not in COMMANDS:
            raise CliError(f"there is no command '{options.command}'", exit_code=2)
        return execute(options.program, [options.command, "--help"])
    print("Kith: a node for AI that you own.\n")
    print(
        f"usage: {options.program} COMMAND [...]      ({options.program} COMMAND --help for more)\n"
    )
    for name, (_, text) in COMMANDS.items():
        print(f"  {name:<10} {text}")
    print(
        f"\nexamples:\n  {options.program} start\n"
        f'  {options.program} chat "tell me a joke"\n'
        f"  {options.program} models list"
    )
    return 0
