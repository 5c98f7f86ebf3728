from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scripts import tiny


@pytest.fixture
def project(tmp_path: Path) -> Iterator[tiny.Project]:
    """Nothing is installed in it yet."""
    made = tiny.make(tmp_path)
    yield made
    _end(made)


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tiny.Project]:
    """Installed once, for all tests that leave it whole."""
    made = tiny.make(tmp_path_factory.mktemp("installed"))
    done = made.start("hello")
    assert done.returncode == 0, done.stdout + done.stderr
    yield made
    _end(made)


def _end(project: tiny.Project) -> None:
    for process in project.running:
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
