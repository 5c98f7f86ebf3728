"""Install the development packages, then run every check that CI runs.

    python3 scripts/test.py                 everything
    python3 scripts/test.py lint types      only these: format lint async types imports tests
    python3 scripts/test.py tests -- -k gguf    words after -- go to pytest

Ends with status 0 only if every check passed.
"""

import subprocess
import sys
import time

from python_version import leave_if_too_old

leave_if_too_old()

from environment import BIN, ROOT, ensured  # noqa: E402 - an old Python could not read it
from environment import PYTHON as PYTHON_FILE  # noqa: E402

CODE = ["protocols", "models", "node", "tui", "scripts", "tests"]
SCRIPTS = ["scripts/start.py", "scripts/test.py", "scripts/lock.py"]
PYTHON = str(PYTHON_FILE)
TRIO = ["models", "node"]  # where async code is trio's
# Left out: names of startable functions (114), yields in context managers of ours (119), functions that
# await nothing yet (124), httpx2 (127: a fork that nothing else here uses), optional checkpoint rules (9xx).
PASSED_OVER = "ASYNC114,ASYNC119,ASYNC124,ASYNC127,ASYNC9"


def checks(pytest_words: list[str]) -> dict[str, list[list[str]]]:
    coverage = [PYTHON, "-m", "coverage"]
    tests = [[*coverage, "run", "-m", "pytest", *pytest_words]]
    if not pytest_words:
        tests = [[*coverage, "erase"], *tests, [*coverage, "combine", "-q"], [*coverage, "report"]]
    return {
        "format": [[PYTHON, "-m", "ruff", "format", "--check", *CODE]],
        "lint": [[PYTHON, "-m", "ruff", "check", *CODE]],
        "async": [
            [PYTHON, "-m", "flake8", "--select", "ASYNC", "--extend-ignore", PASSED_OVER, *_async()]
        ],
        "types": [
            [PYTHON, "-m", "mypy"],
            *([PYTHON, "-m", "mypy", script] for script in SCRIPTS),
        ],
        "imports": [[str(BIN / "lint-imports"), "--no-cache"]],
        "tests": tests,
    }


def _async() -> list[str]:
    """The files that have such code: flake8-async takes half a second for each."""
    files = (file for folder in TRIO for file in (ROOT / folder).rglob("*.py"))
    return [str(file) for file in files if "async " in file.read_text(encoding="utf-8")]


def put_trio_first() -> None:
    """trio-typing, which libp2p needs, brings stubs of an old trio that mypy would believe before trio itself."""
    typings = ROOT / ".venv" / ".kith" / "typings"
    typings.mkdir(parents=True, exist_ok=True)
    (found,) = (ROOT / ".venv").glob("lib/python3.*/site-packages/trio")
    link = typings / "trio"
    link.unlink(missing_ok=True)
    link.symlink_to(found, target_is_directory=True)


def run(commands: list[list[str]]) -> bool:
    """All commands of one check, also after one fails, so that a report still comes."""
    results = [subprocess.run(command, cwd=ROOT, check=False).returncode for command in commands]
    return not any(results)


def main(words: list[str]) -> int:
    if words[:1] in (["--help"], ["-h"]):
        print(__doc__)
        return 0
    names, pytest_words = _split(words)
    available = checks(pytest_words)
    unknown = [name for name in names if name not in available]
    if unknown:
        print(
            f"test: no such check: {' '.join(unknown)} (there are: {' '.join(available)})",
            file=sys.stderr,
        )
        return 2
    status = ensured("test", dev=True)
    if status:
        return status
    put_trio_first()
    try:
        failed = run_all({name: available[name] for name in names or available})
    except KeyboardInterrupt:
        print("\ntest: interrupted", file=sys.stderr)
        return 130
    print("all checks passed" if not failed else "failed: " + ", ".join(failed), flush=True)
    return 1 if failed else 0


def run_all(chosen: dict[str, list[list[str]]]) -> list[str]:
    """The names of those that failed."""
    failed = []
    for name, commands in chosen.items():
        started = time.monotonic()
        print(f"== {name}", flush=True)
        good = run(commands)
        print(
            f"== {name}: {'ok' if good else 'FAILED'} in {time.monotonic() - started:.0f} s",
            flush=True,
        )
        failed += [] if good else [name]
    return failed


def _split(words: list[str]) -> tuple[list[str], list[str]]:
    at = words.index("--") if "--" in words else len(words)
    return words[:at], words[at + 1 :]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
