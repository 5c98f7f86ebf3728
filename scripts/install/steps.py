"""The steps that make `.venv`, in order, each done again until it was whole once."""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from types import FrameType

from python_version import problem_with

from install import llama, stamps
from install.child import clock, run, say, shown
from install.paths import LOG, ROOT, TEMPORARY, VENV, SetupProblem
from install.pip import install_locked, install_project

_TITLES = {
    "venv": "making the virtual environment",
    "build": "installing build tools",
    "packages": "installing packages",
    "llama": "installing llama.cpp",
    "dev": "installing development packages",
    "project": "installing kith-node itself",
}


def install(*, dev: bool) -> None:
    """Do what is missing. Raises `SetupProblem`; KeyboardInterrupt or SystemExit when told to leave."""
    with _signals_as_exceptions(), _alone() as lock:
        if stamps.is_current(dev=dev):
            return  # another one did it while we waited
        try:
            _install(dev, lock)
        except OSError as error:
            where = f" ({error.filename})" if error.filename else ""
            raise SetupProblem(
                f"{shown(VENV)} cannot be written: {error.strerror or error}{where}; "
                "mend that and run the same command again"
            ) from error


def _install(dev: bool, lock: int) -> None:
    started = time.monotonic()
    wanted = [name for name in stamps.STEPS if dev or name != "dev"]
    missing = [name for name in wanted if not stamps.fits(name)] or ["project"]
    if "venv" in missing:
        missing = wanted
        _check_python()
    if "llama" in missing and llama.cached_wheel() is None:
        llama.check_compiler()
    LOG.unlink(missing_ok=True)
    say(f"Setting up in {VENV.relative_to(ROOT)} (once; interrupt and run again at any point)")
    for name in missing:
        _do(name, lock)
    shutil.rmtree(TEMPORARY, ignore_errors=True)
    say(f"Ready after {clock(time.monotonic() - started)}")


def _do(name: str, lock: int) -> None:
    started = time.monotonic()
    stamps.remove(name)
    if name == "venv":
        _clear_away()
    shutil.rmtree(TEMPORARY, ignore_errors=True)
    TEMPORARY.mkdir(parents=True)
    _work(name)(_TITLES[name], lock)
    stamps.leave(name)
    say(f"  {_TITLES[name]}: done in {clock(time.monotonic() - started)}")


def _work(name: str) -> Callable[[str, int], None]:
    if name == "venv":
        return _make_venv
    if name == "llama":
        return lambda _title, lock: llama.install(lock)
    if name == "project":
        return install_project
    return lambda title, lock: install_locked(stamps.LOCKS[name], title, lock)


def _make_venv(title: str, lock: int) -> None:
    # Of the Python beneath: ours may be the one in the .venv that was just removed.
    base = getattr(sys, "_base_executable", sys.executable)
    run([base, "-I", "-m", "venv", VENV], title, lock)


def _clear_away() -> None:
    """Stamps first: what is removed halfway must not look whole."""
    for name in stamps.STEPS:
        stamps.remove(name)
    VENV.mkdir(exist_ok=True)
    for inside in VENV.iterdir():  # not the folder: it may be a mount or a link to another disk
        if inside.is_dir() and not inside.is_symlink():
            shutil.rmtree(inside)
        else:
            inside.unlink()


def _check_python() -> None:
    if problem := problem_with(sys.version_info[:2]):
        raise SetupProblem(problem)
    if importlib.util.find_spec("venv") is None or importlib.util.find_spec("ensurepip") is None:
        raise SetupProblem(
            "Python's venv module is missing: install it "
            "(Debian and Ubuntu: sudo apt install python3-venv) and run this again"
        )


@contextlib.contextmanager
def _alone() -> Iterator[int]:
    """Hold the checkout's lock, waiting for it if need be.

    Programs that we run inherit it: one that outlives us, because we were killed, holds it to its end.
    """
    lock = os.open(ROOT, os.O_RDONLY)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"Another start or test is setting up {VENV.relative_to(ROOT)}; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock
    finally:
        os.close(lock)


@contextlib.contextmanager
def _signals_as_exceptions() -> Iterator[None]:
    """So that what we run is ended too when we are."""
    numbers = (signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, _leave) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _leave(number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + number)
