"""A network namespace that has loopback and nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

# Brings loopback up (SIOCSIFFLAGS with IFF_UP | IFF_RUNNING), says which interfaces there are, waits.
_HOLD = """
import fcntl, socket, struct, sys
with socket.socket() as s:
    fcntl.ioctl(s, 0x8914, struct.pack("16sh", b"lo", 0x1 | 0x40))
print(*(name for _, name in socket.if_nameindex()), flush=True)
sys.stdin.read()
"""


def missing() -> str:
    """Why a namespace cannot be made here, or ""."""
    if not sys.platform.startswith("linux"):
        return "network namespaces are Linux's"
    if os.geteuid() != 0:
        return "making a network namespace needs root"
    if not (shutil.which("unshare") and shutil.which("nsenter")):
        return "unshare and nsenter are not installed"
    made = subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False)
    return made.stderr.decode(errors="replace").strip()


@dataclass(frozen=True)
class Namespace:
    holder: int

    def run(
        self, words: Sequence[str], *, env: Mapping[str, str], cwd: Path, timeout: float
    ) -> subprocess.CompletedProcess[str]:
        """Run a program in it, without a terminal."""
        return subprocess.run(
            ["nsenter", f"--net=/proc/{self.holder}/ns/net", "--", *words],
            env=dict(env),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def living(self) -> dict[int, str]:
        """The processes that run in it."""
        ours = Path(f"/proc/{self.holder}/ns/net").readlink()
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if int(folder.name) != self.holder and (folder / "ns" / "net").readlink() == ours:
                    words = (folder / "cmdline").read_bytes().replace(b"\0", b" ")
                    found[int(folder.name)] = words.decode(errors="replace")
            except OSError:
                continue  # it ended meanwhile
        return found

    def empties_within(self, seconds: float) -> dict[int, str]:
        """Wait until nothing runs in it; what still does when the time is over."""
        deadline = time.monotonic() + seconds
        while (living := self.living()) and time.monotonic() < deadline:
            time.sleep(0.02)
        return living


@contextmanager
def no_network() -> Iterator[Namespace]:
    holder = subprocess.Popen(
        ["unshare", "--net", "--", sys.executable, "-c", _HOLD],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline().split() == [b"lo"]
        yield Namespace(holder.pid)
    finally:
        holder.communicate(timeout=10)
