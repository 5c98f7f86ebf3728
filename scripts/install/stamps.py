"""What is installed already: every whole step leaves a stamp, which is a copy of what it was made from."""

from __future__ import annotations

import os

from install.paths import KITH, NOTES, PYTHON, REQUIREMENTS, ROOT

STEPS = ("venv", "build", "packages", "llama", "dev", "project")
LOCKS = {"build": "build.txt", "packages": "runtime.txt", "llama": "llama.txt", "dev": "dev.txt"}


def is_current(*, dev: bool) -> bool:
    """Whether there is nothing to do. Reads a few small files and imports nothing."""
    wanted = [name for name in STEPS if dev or name != "dev"]
    return all(fits(name) for name in wanted) and KITH.exists()


def fits(name: str) -> bool:
    stamp = _read(name)
    if name == "venv" and not PYTHON.exists():
        return False  # its Python was removed or upgraded
    if name == "llama" and not os.environ.get("CMAKE_ARGS"):
        # Options once built with stay until others are asked for.
        return stamp.partition(b"\0")[0] == _made_of(name)
    return stamp == _made_of(name)


def leave(name: str) -> None:
    """Say that a step is whole. Raises OSError."""
    partial = NOTES / f"{name}.partial"
    partial.write_bytes(_made_of(name))
    partial.rename(NOTES / f"{name}.stamp")


def remove(name: str) -> None:
    """Before a step begins: what it had made is not whole from now on."""
    (NOTES / f"{name}.stamp").unlink(missing_ok=True)


def _read(name: str) -> bytes:
    try:
        return (NOTES / f"{name}.stamp").read_bytes()
    except OSError:
        return b""


def _made_of(name: str) -> bytes:
    # A virtual environment has absolute paths in it: it works only where it was made.
    place = os.fsencode(f"{ROOT}\n{PYTHON.resolve()}\n")
    if name == "venv":
        return place
    if name == "project":
        return place + (ROOT / "pyproject.toml").read_bytes()
    lock = (REQUIREMENTS / LOCKS[name]).read_bytes()
    options = os.environ.get("CMAKE_ARGS", "") if name == "llama" else ""
    return lock + (b"\0" + options.encode() if options else b"")
