"""docs/commands.md is what the commands say of themselves."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from node.cli.main import COMMANDS

ROOT = Path(__file__).resolve().parents[2]


def test_the_page_is_made_from_the_commands_own_help() -> None:
    """Made again with `python scripts/commands_page.py`. argparse words its help differently in each Python."""
    if sys.version_info[:2] != (3, 11):
        pytest.skip("the page is made with Python 3.11's argparse; run this test with that")
    made = subprocess.run(
        [sys.executable, "-c", "import commands_page; print(commands_page.page(), end='')"],
        cwd=ROOT / "scripts",
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert (ROOT / "docs" / "commands.md").read_text(encoding="utf-8") == made


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "help"])
def test_every_command_has_help_with_examples(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "node.cli.main", name, "--help"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0
    assert "examples:" in done.stdout
