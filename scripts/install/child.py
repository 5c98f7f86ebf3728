"""Running the programs that install: their words go to a log, a moving line to the screen."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from install.paths import BIN, LOG, ROOT, TEMPORARY, VENV, SetupProblem

LOOK_EVERY_S = 0.05
TELL_EVERY_S = 30.0
TELL_TERMINAL_EVERY_S = 0.25
END_S = 5.0  # from the polite signal to the other one
FULL_BYTES = 16 * 1024 * 1024
REASON_CHARS = 300
TAIL_BYTES = 64 * 1024
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# Settings of the person's own pip that would put packages elsewhere than in .venv.
_ELSEWHERE = ("PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_USER", "PYTHONPATH", "PYTHONHOME")
_UNREACHABLE = ("connection broken", "name resolution", "NewConnectionError", "ConnectTimeout")


def say(line: str) -> None:
    print(line, flush=True)


def clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def run(command: Sequence[str | Path], title: str, lock: int) -> None:
    """Run one program to its end. Raises `SetupProblem` when it fails, OSError when it cannot start.

    However this is left, the program and all that it started are ended first. If we are killed it
    goes on, and holds `lock` as long as it does.
    """
    words = [str(word) for word in command]
    with LOG.open("ab") as output, _signals_noted() as noted:
        output.write(f"$ {shlex.join(words)}\n".encode("utf-8", "surrogateescape"))
        output.flush()
        begin = output.tell()
        child = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            env=_environment(),
            pass_fds=(lock,),
            process_group=0,
        )
        try:
            _watch(child, title, noted)
        finally:
            if child.returncode != 0:
                _end_group(child)
    for number in noted:
        signal.raise_signal(number)
    if child.returncode:
        raise SetupProblem(f"{title} failed: {_reason(begin)} (all of it is in {shown(LOG)})")


@contextlib.contextmanager
def _signals_noted() -> Iterator[list[int]]:
    """Note the signals that would end us: one that raises inside `Popen` can leave it locked for good."""
    noted: list[int] = []
    before = {number: signal.getsignal(number) for number in _ENDING}
    try:
        for number, handler in before.items():
            if handler != signal.SIG_IGN:  # as in a script's background, or under nohup
                signal.signal(number, lambda number, _frame: noted.append(number))
        yield noted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def shown(path: Path) -> Path:
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path


def _environment() -> dict[str, str]:
    """Ours, with the locked cmake and ninja found first, and nothing that leads out of `.venv`."""
    kept = {name: value for name, value in os.environ.items() if name not in _ELSEWHERE}
    path = f"{BIN}{os.pathsep}{kept.get('PATH', os.defpath)}"
    return {**kept, "PATH": path, "PYTHONNOUSERSITE": "1", "TMPDIR": str(TEMPORARY)}


def _watch(child: subprocess.Popen[bytes], title: str, noted: list[int]) -> None:
    """Tell how long it takes until it ends, or until a signal is noted."""
    terminal = sys.stdout.isatty()
    every = TELL_TERMINAL_EVERY_S if terminal else TELL_EVERY_S
    started = told = time.monotonic()
    while child.poll() is None and not noted:
        time.sleep(LOOK_EVERY_S)
        now = time.monotonic()
        if now - told < every:
            continue
        told = now
        line = f"  {title}: {clock(now - started)}{_portion()}"
        print(f"\r\x1b[K{line}" if terminal else line, end="" if terminal else "\n", flush=True)
    if terminal:
        print("\r\x1b[K", end="", flush=True)


def _end_group(child: subprocess.Popen[bytes]) -> None:
    """Ask like Ctrl-C first: pip clears away its temporary files, ninja its half-written ones."""
    try:
        _signal_group(child.pid, signal.SIGINT)
        deadline = time.monotonic() + END_S
        while time.monotonic() < deadline and _signal_group(child.pid, 0):
            child.poll()
            time.sleep(0.02)
    finally:
        _signal_group(child.pid, signal.SIGKILL)
        child.wait()


def _signal_group(group: int, number: int) -> bool:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)
        return True
    return False


def _reason(begin: int) -> str:
    """Why it failed, from what it printed since `begin`."""
    with LOG.open("rb") as log:
        log.seek(begin)
        text = log.read().decode("utf-8", "replace")
    if "No space left on device" in text or shutil.disk_usage(VENV).free < FULL_BYTES:
        return f"the disk of {VENV} is full; make room and run the same command again"
    if any(word in text for word in _UNREACHABLE):
        return "the package index cannot be reached; run the same command again when it can"
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower()]
    return (errors or lines or ["it said nothing"])[-1][:REASON_CHARS]


def _portion() -> str:
    """How far the compiler is: ninja prints [done/total]."""
    with LOG.open("rb") as log:
        log.seek(max(0, LOG.stat().st_size - TAIL_BYTES))
        tail = log.read().decode("utf-8", "replace")
    for line in reversed(tail.splitlines()):
        done, _, total = line.strip().removeprefix("[").partition("]")[0].partition("/")
        if done.isdigit() and total.isdigit() and int(total):
            return f", {100 * int(done) // int(total)} % compiled"
    return ""
