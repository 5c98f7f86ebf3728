"""The tutorial's commands are run as they stand; what it shows below a command must be in its output."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.node_process import a_node

ROOT = Path(__file__).resolve().parents[2]


def console(page: Path) -> Iterator[tuple[str, list[str]]]:
    """Each `$ command` of the page's console blocks with the lines shown below it."""
    for block in re.findall(r"```console\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        command, shown = "", list[str]()
        for line in block.splitlines():
            if line.startswith("$ "):
                if command:
                    yield command, shown
                command, shown = line[2:], []
            else:
                shown.append(line)
        yield command, shown


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """`node` and `kith` as an installation puts them on PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, function in (("node", "run"), ("kith", "run_kith")):
        file = folder / name
        file.write_text(
            f"#!{sys.executable} -P\nimport sys\nfrom node.cli.main import {function}\nsys.exit({function}())\n"
        )
        file.chmod(0o755)
    return folder


@pytest.mark.native
@pytest.mark.parametrize("page", ["docs/tutorial.md"])
def test_every_command_of_the_page_works(page: str, programs: Path, tmp_path: Path) -> None:
    with a_node(tmp_path, start=False) as node:
        env = {**node.env, "PATH": f"{programs}{os.pathsep}{node.env['PATH']}"}
        commands = list(console(ROOT / page))
        assert commands
        for command, shown in commands:
            done = subprocess.run(
                command,
                shell=True,
                env=env,
                cwd=tmp_path,
                capture_output=True,
                text=True,
                timeout=120,
                stdin=subprocess.DEVNULL,
                check=False,
            )
            assert done.returncode == 0, f"$ {command}\n{done.stdout}{done.stderr}"
            for line in shown:
                assert line in done.stdout, f"$ {command} did not show {line!r}:\n{done.stdout}"
