"""Install the development packages, then run every check that CI runs.

    python3 scripts/test.py                 everything
    python3 scripts/test.py lint types      only these: format lint async types imports tests
    python3 scripts/test.py tests -- -k gguf    words after -- go to pytest

Ends with status 0 only if every check passed.
"""

from __future__ import annotations

import subprocess
import sys
import time

import environment

CODE = ["protocols", "models", "node", "tui", "scripts", "tests"]
PYTHON = str(environment.PYTHON)


def checks(pytest_words: list[str]) -> dict[str, list[list[str]]]:
    coverage = [PYTHON, "-m", "coverage"]
    tests = [[*coverage, "run", "-m", "pytest", *pytest_words]]
    if not pytest_words:
        tests = [[*coverage, "erase"], *tests, [*coverage, "combine", "-q"], [*coverage, "report"]]
    return {
        "format": [[PYTHON, "-m", "ruff", "format", "--check", *CODE]],
        "lint": [[PYTHON, "-m", "ruff", "check", *CODE]],
        "async": [
            [PYTHON, "-m", "flake8", "--select", "ASYNC", "--extend-ignore", "ASYNC119", *CODE]
        ],
        "types": [
            [PYTHON, "-m", "mypy"],
            [PYTHON, "-m", "mypy", "scripts/start.py", "scripts/test.py"],
        ],
        "imports": [[str(environment.BIN / "lint-imports"), "--no-cache"]],
        "tests": tests,
    }


def run(commands: list[list[str]]) -> bool:
    """All commands of one check, also after one fails, so that a report still comes."""
    results = [
        subprocess.run(command, cwd=environment.ROOT, check=False).returncode
        for command in commands
    ]
    return not any(results)


def main(words: list[str]) -> int:
    if words[:1] in (["--help"], ["-h"]):
        print(__doc__)
        return 0
    names, pytest_words = _split(words)
    try:
        environment.ensure(dev=True)
    except environment.SetupProblem as problem:
        print(f"test: {problem}", file=sys.stderr)
        return 1
    available = checks(pytest_words)
    if unknown := [name for name in names if name not in available]:
        print(
            f"test: no such check: {' '.join(unknown)} (there are: {' '.join(available)})",
            file=sys.stderr,
        )
        return 2
    failed = []
    for name in names or list(available):
        started = time.monotonic()
        print(f"== {name}", flush=True)
        good = run(available[name])
        print(
            f"== {name}: {'ok' if good else 'FAILED'} in {time.monotonic() - started:.0f} s",
            flush=True,
        )
        failed += [] if good else [name]
    print("all checks passed" if not failed else "failed: " + ", ".join(failed), flush=True)
    return 1 if failed else 0


def _split(words: list[str]) -> tuple[list[str], list[str]]:
    at = words.index("--") if "--" in words else len(words)
    return words[:at], words[at + 1 :]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
