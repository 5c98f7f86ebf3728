"""Whatever happens to a command, a person reads one line, and a program an exit code."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from node.cli.errors import FAILED, NOT_FOUND, USAGE
from tests.support.node_process import PROGRAM, environment


def kith(home: Path, *words: str, shell: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command line; `shell` is what a shell would put behind it."""
    command = ["sh", "-c", f'"$@" {shell}', "sh", *PROGRAM, *words]
    return subprocess.run(
        command, env=environment(home), capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize(
    "words",
    [
        ["models"],
        ["models", "nonsense"],
        ["start", "--port", "many"],
        ["chat", "--max-tokens", "few"],
        ["config", "get"],
        ["help", "nonsense"],
        ["nonsense"],
    ],
)
def test_wrong_usage_is_one_line(tmp_path: Path, words: list[str]) -> None:
    done = kith(tmp_path / "home", *words)
    assert (done.returncode, done.stdout) == (USAGE, "")
    assert done.stderr.startswith("kith: ")
    assert done.stderr.count("\n") == 1


def test_a_setting_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    assert kith(tmp_path / "home", "config", "get", "api.prot").returncode == NOT_FOUND


@pytest.mark.skipif(sys.platform != "linux", reason="/dev/full is Linux's")
def test_output_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    done = kith(tmp_path / "home", "config", shell="> /dev/full")
    assert (done.returncode, done.stderr) == (FAILED, "kith: No space left on device\n")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "<&- >&-", "<&- >&- 2>&-"])
def test_closed_inputs_and_outputs_do_no_harm(tmp_path: Path, closed: str) -> None:
    done = kith(tmp_path / "home", "config", shell=closed)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_reader_that_leaves_is_no_error(tmp_path: Path) -> None:
    done = kith(tmp_path / "home", "config", shell="| head -n 1")
    assert done.stdout == "offline = false\n"
    assert done.stderr == ""
