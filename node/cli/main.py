"""The `node` and `kith` programs: choose the command, load only its module, say errors in one line.

Exit codes: 0 done; 1 it failed; 2 wrong usage; 3 no node runs; 4 not found; 5 refused; 130 interrupted.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from pathlib import Path
from typing import NoReturn

from node.cli.errors import FAILED, USAGE, CliError

#: command → (module, one line of help), in the order of `kith --help`.
COMMANDS: dict[str, tuple[str, str]] = {
    "start": ("node.cli.start", "start the node"),
    "stop": ("node.cli.stop", "stop the node"),
    "status": ("node.cli.status", "what runs, where, and what leaves this machine"),
    "tui": ("node.cli.tui", "open the terminal interface"),
    "chat": ("node.cli.chat", "ask a model: one question, a pipe, or a conversation"),
    "models": ("node.cli.models", "list, add, pull, adopt, show, remove, load, unload, default"),
    "identity": ("node.cli.identity", "show, back up, restore, rotate your keys; your devices"),
    "grants": ("node.cli.grants", "API keys for programs: new, list, revoke"),
    "why": ("node.cli.why", "how one answer came about"),
    "audit": ("node.cli.audit", "what the node did: list, verify"),
    "logs": ("node.cli.logs", "the node's log"),
    "config": ("node.cli.config", "the settings in force, and where to change them"),
    "doctor": ("node.cli.doctor", "look for problems, and say how to mend them"),
    "help": ("node.cli.help", "this text, or the help of one command"),
}


def run() -> int:
    """The `node` program: our commands, everything else to the next `node` on PATH."""
    arguments = sys.argv[1:]
    if not arguments or arguments[0] not in COMMANDS:
        from node.cli.passing import pass_on

        pass_on(Path(sys.argv[0]), arguments)
    return guarded("node", arguments)


def run_kith() -> int:
    """The `kith` program: the same commands, and nothing is passed on."""
    return guarded("kith", sys.argv[1:])


def guarded(program: str, arguments: list[str]) -> int:
    """Run one command line; every error that a person can mend is one line on stderr."""
    _open_what_is_closed()
    try:
        done = execute(program, arguments)
        sys.stdout.flush()  # here, where a full disk can still be told
        return done
    except CliError as error:
        print(f"{program}: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our output went away (`| head`): not an error, and nothing more to say.
        _let_go_of_output()
        return 0
    except UnicodeError as error:
        print(f"{program}: a name or text here is not UTF-8: {error}", file=sys.stderr)
        return USAGE
    except OSError as error:  # our own output, or a file that the command line names
        _let_go_of_output()
        where = f" ({error.filename})" if error.filename else ""
        print(f"{program}: {error.strerror or error}{where}", file=sys.stderr)
        return FAILED


def _open_what_is_closed() -> None:
    """Whoever closed our input or output (`>&-`) gets nothing, and no new file in its place."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            handle = os.open(os.devnull, os.O_RDWR)
            if handle != number:
                os.dup2(handle, number)
                os.close(handle)
            file = open(number, mode, encoding="utf-8", closefd=False)  # noqa: SIM115
            setattr(sys, name, file)


def _let_go_of_output() -> None:
    """Nothing more can be written there, not even what is still held back."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Wrong usage is one line too."""
        raise CliError(f"{message}; see `{self.prog} --help`", exit_code=USAGE)


def execute(program: str, arguments: list[str]) -> int:
    if arguments[:1] in (["--version"], ["-V"]):
        from importlib.metadata import version

        print(f"kith {version('kith-node')}")
        return 0
    if not arguments or arguments[0] in ("--help", "-h"):
        arguments = ["help"]
    name, *rest = arguments
    if name not in COMMANDS:
        raise CliError(f"there is no command '{name}'; see `{program} help`", exit_code=USAGE)
    module = importlib.import_module(COMMANDS[name][0])
    parser = _Parser(
        prog=f"{program} {name}",
        description=module.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    module.add_arguments(parser)
    _add_home(parser, default=None)
    options = parser.parse_args(rest)
    options.program = program
    return int(module.run(options) or 0)


def _add_home(parser: argparse.ArgumentParser, default: object) -> None:
    """`--home DIR`, before or after the action of a command that has actions."""
    text = "the home folder (default: $KITH_HOME or the platform's)"
    parser.add_argument("--home", type=Path, default=default, help=text)
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                _add_home(inner, default=argparse.SUPPRESS)


if __name__ == "__main__":
    sys.exit(run_kith())
