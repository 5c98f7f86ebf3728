"""docs/api.md: its commands and its program are run as they stand, against a real node."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.node_process import a_node

PAGE = Path(__file__).parents[3] / "docs" / "api.md"


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with a_node(tmp_path_factory.mktemp("docs")) as node:
        yield {**node.env, "URL": node.node.address, "KEY": node.token}


def run(command: list[str], env: dict[str, str]) -> str:
    done = subprocess.run(
        command, env=env, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, f"{command[-1]}\n{done.stdout}{done.stderr}"
    return done.stdout


def blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.native
def test_every_command_shows_what_the_page_says(env: dict[str, str]) -> None:
    checked = 0
    for block in blocks("console"):
        output = ""
        for line in block.splitlines():
            if line.startswith("$ "):
                output = run(["bash", "-c", line[2:]], env)
            else:
                assert line in output, f"{line!r} is not in\n{output}"
                checked += 1
    assert checked > 6


@pytest.mark.native
def test_the_program_prints_an_answer(env: dict[str, str]) -> None:
    (program,) = blocks("python")
    assert len(run([sys.executable, "-c", program], env)) > 5
