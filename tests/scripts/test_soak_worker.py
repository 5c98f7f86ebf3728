"""The soak of one worker, with few requests."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "soak_worker.py"


@pytest.mark.native
def test_a_short_soak_of_the_worker_accounts_for_every_job() -> None:
    command = [sys.executable, str(SCRIPT), "--requests", "300", "--seed", "7"]
    done = subprocess.run(command, capture_output=True, timeout=120, check=False, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "300 passed, 0 failed" in done.stdout
    for how in ("ended stop", "ended length", "ended cancelled", "failed bad_request"):
        assert how in done.stdout, "all kinds of ends are among them"
