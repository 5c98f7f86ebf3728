"""Who runs a home: the lock that only one node holds, and the note that says how to reach it.

The lock is an flock: the system lets go of it when the process ends, however it ends, so a crash
cannot leave it behind. The note (`run/node.json`) is only believed while the lock is held.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from node.files import write_atomically
from node.home import Home, HomeError


class RunningNode(msgspec.Struct, frozen=True):
    """What `run/node.json` says."""

    pid: int
    version: str
    address: str  # http://127.0.0.1:8750
    socket: str
    token_file: str
    started_at: float


class AlreadyRunning(HomeError):
    """Another node has this home."""


@contextmanager
def hold_home(home: Home) -> Iterator[None]:
    """Hold the home's lock; `AlreadyRunning` when another process does."""
    try:
        handle = os.open(home.lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise HomeError(f"the lock {home.lock_file} cannot be made: {error.strerror}") from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRunning(
                f"a node already runs with the home {home.root}: use it, stop it with `node stop`, "
                "or choose another home with --home DIR"
            ) from None
        home.node_file.unlink(missing_ok=True)  # of a node that was killed: it leads nowhere
        yield
    finally:
        os.close(handle)


def is_held(home: Home) -> bool:
    """Whether a node holds this home now."""
    try:
        handle = os.open(home.lock_file, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


@contextmanager
def announced(home: Home, node: RunningNode) -> Iterator[None]:
    """The note exists inside this block."""
    write_atomically(home.node_file, msgspec.json.encode(node))
    try:
        yield
    finally:
        home.node_file.unlink(missing_ok=True)


def find_running(home: Home) -> RunningNode | None:
    """The node that runs this home, once it is ready; None when there is none."""
    if not is_held(home):
        return None
    try:
        return msgspec.json.decode(home.node_file.read_bytes(), type=RunningNode)
    except (OSError, msgspec.MsgspecError):
        return None
