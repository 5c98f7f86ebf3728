"""The soak script, with few requests."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "scripts" / "soak.py"


@pytest.mark.native
@pytest.mark.parametrize("words", [["--scripted"], []])
def test_a_short_soak_accounts_for_every_request(words: list[str]) -> None:
    command = [sys.executable, str(SCRIPT), "--requests", "60", "--kill-every", "15", "--json"]
    done = subprocess.run([*command, *words], capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout)
    assert (result["passed"], result["failed"], result["problems"]) == (60, 0, [])
    assert result["kills"] >= 1
