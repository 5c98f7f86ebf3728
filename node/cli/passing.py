"""`node` is also the name of Node.js: what is not ours is handed to the next `node` on PATH.

The handing over is an exec, so the process id stays the same through a chain of hand-overs. The marker
in the environment names that id and who was passed already: two Kith installations cannot bounce
a command between them, and a script that Node.js starts as a child begins afresh.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

MARKER = "KITH_NODE_PASSED"


def next_node(own: Path, env: Mapping[str, str], pid: int) -> Path | None:
    """The first `node` on PATH that is neither this program nor one that passed this command on before."""
    passed = {own.resolve(), *_already_passed(env, pid)}
    for folder in env.get("PATH", "").split(os.pathsep):
        candidate = Path(folder or ".") / "node"
        if not candidate.is_file() or not os.access(candidate, os.X_OK):
            continue
        if candidate.resolve() not in passed and candidate.parent.resolve() != own.parent.resolve():
            return candidate
    return None


def passed_environment(own: Path, env: Mapping[str, str], pid: int) -> dict[str, str]:
    paths = [str(path) for path in sorted({own.resolve(), *_already_passed(env, pid)})]
    return {**env, MARKER: os.pathsep.join([str(pid), *paths])}


def _already_passed(env: Mapping[str, str], pid: int) -> set[Path]:
    marked, *paths = env.get(MARKER, "").split(os.pathsep)
    return {Path(path) for path in paths} if marked == str(pid) else set()


def pass_on(own: Path, arguments: list[str]) -> None:
    """Become the next `node`; returns only when there is none."""
    found = next_node(own, os.environ, os.getpid())
    if found is not None:
        environment = passed_environment(own, os.environ, os.getpid())
        os.execve(found, ["node", *arguments], environment)  # noqa: S606 - that is the point
