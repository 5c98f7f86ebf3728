"""Makes the `.venv` that everything runs in. Standard library only: it runs before anything is installed.

Every step leaves a stamp when it is whole; a step whose stamp fits is skipped, an interrupted one is
done again. Packages are installed by hash from `requirements/`, and nothing outside `.venv`.
"""

from __future__ import annotations

from install.paths import BIN, KITH, PYTHON, ROOT, SetupProblem
from install.stamps import is_current

__all__ = ["BIN", "KITH", "PYTHON", "ROOT", "SetupProblem", "ensure", "ensured"]


def ensure(*, dev: bool = False) -> None:
    """Bring `.venv` up to date. Quick when it is. Raises `SetupProblem`."""
    if is_current(dev=dev):
        return
    from install import steps

    steps.install(dev=dev)


def ensured(program: str, *, dev: bool = False) -> int:
    """The same for a program to call first: 0, or the status to leave with once the reason is printed."""
    try:
        ensure(dev=dev)
    except SetupProblem as problem:
        return _leave(f"{program}: {problem}", 1)
    except KeyboardInterrupt:
        return _leave(f"\n{program}: interrupted; run the same command to go on where it was", 130)
    return 0


def _leave(line: str, status: int) -> int:
    import sys

    print(line, file=sys.stderr)
    return status
