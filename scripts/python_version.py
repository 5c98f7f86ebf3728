"""Which Python can run the rest. Any Python 3.6 can read this file, so that it can say why it cannot."""

import shutil
import sys

OLDEST, NEWEST = (3, 11), (3, 13)


def problem_with(version: "tuple[int, int]") -> str:
    """The line that says so, or "" for a version that the locked packages are for."""
    if OLDEST <= version <= NEWEST:
        return ""
    names = [f"python3.{minor}" for minor in range(NEWEST[1], OLDEST[1] - 1, -1)]
    found = [name for name in names if shutil.which(name)]
    way = f"run this with {found[0]}" if found else "install one of them and run this with it"
    return (
        f"Python {version[0]}.{version[1]} cannot run Kith: its packages are locked for "
        f"Python {OLDEST[0]}.{OLDEST[1]} to {NEWEST[0]}.{NEWEST[1]}; {way}"
    )


def leave_if_too_old() -> None:
    """To be called before anything is imported that such a Python cannot read."""
    if sys.version_info[:2] < OLDEST:
        sys.exit(problem_with(sys.version_info[:2]))
