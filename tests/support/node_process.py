"""A real node in a process of its own, with a home of its own: what users run, as a fixture."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from node.cli.client import Client
from node.home import Home
from node.running import RunningNode, find_running, is_held

READY_S = 60.0
PROGRAM = [sys.executable, "-P", "-m", "node.cli.main"]


def environment(home: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """What a command of the tests sees: this home, any free port, and nothing of the tester's own."""
    kept = {
        name: os.environ[name]
        for name in ("PATH", "LANG", "COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG")
        if name in os.environ
    }
    return {
        **kept,
        "HOME": str(home.parent),
        "KITH_HOME": str(home),
        "KITH_API_PORT": "0",
        "PYTHONWARNINGS": "error",
        **(extra or {}),
    }


@dataclass
class NodeProcess:
    home: Home
    env: dict[str, str]
    flags: list[str] = field(default_factory=list)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> RunningNode:
        """Start it in the foreground and wait, bounded, until it is ready."""
        self.home.logs.mkdir(parents=True, exist_ok=True)
        with (self.home.logs / "test.out").open("ab") as output:
            self.process = subprocess.Popen(
                [*PROGRAM, "start", "--foreground", *self.flags],
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + READY_S
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise AssertionError(
                    f"the node ended with {self.process.returncode}:\n{self.output()}"
                )
            if (
                is_held(self.home)
                and (node := find_running(self.home))
                and node.pid == self.process.pid
            ):
                return node
            time.sleep(0.01)
        raise AssertionError(f"the node was not ready in {READY_S} s:\n{self.output()}")

    def output(self) -> str:
        return (self.home.logs / "test.out").read_text(encoding="utf-8", errors="replace")

    @property
    def node(self) -> RunningNode:
        node = find_running(self.home)
        assert node is not None, self.output()
        return node

    @property
    def token(self) -> str:
        return self.home.token_file.read_text(encoding="ascii").strip()

    def client(self) -> Client:
        return Client(self.node, timeout=120)

    def kith(
        self, *words: str, stdin: str | None = None, timeout: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """Run one command line against this home."""
        return subprocess.run(
            [*PROGRAM, *words],
            env=self.env,
            input=stdin if stdin is not None else "",
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def kill(self) -> None:
        """As a power cut would: nothing gets to clean up."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)

    def stop(self) -> int:
        """As Ctrl-C would; the exit status."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        return self.process.wait(15)


@contextmanager
def a_node(folder: Path, *flags: str, start: bool = True, **env: str) -> Iterator[NodeProcess]:
    """A node whose home is `folder/home`; whatever of it is left at the end is ended."""
    home = folder / "home"
    node = NodeProcess(Home(home), environment(home, env), list(flags))
    try:
        if start:
            node.start()
        yield node
    finally:
        if node.process is not None and node.process.poll() is None:
            try:
                node.stop()
            except subprocess.TimeoutExpired:
                node.kill()
        elif (other := find_running(node.home)) is not None:
            os.kill(other.pid, signal.SIGTERM)  # one that a command started in the background
