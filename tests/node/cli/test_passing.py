"""`node` hands what is not its own to the next `node` on PATH, and never goes round in circles."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from node.cli.passing import MARKER, next_node, passed_environment


def program(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "node"
    file.write_text(text)
    file.chmod(0o755)
    return file


def our_node(folder: Path) -> Path:
    """An installation of ours: what the package's script does, under the name `node`."""
    return program(
        folder,
        f"#!{sys.executable} -P\nimport sys\nfrom node.cli.main import run\nsys.exit(run())\n",
    )


@pytest.fixture
def node_js(tmp_path: Path) -> Path:
    """Stands for Node.js: says what it was given."""
    return program(tmp_path / "js", '#!/bin/sh\necho "js: $*"\n')


def run(own: Path, *words: str, path: list[Path]) -> subprocess.CompletedProcess[str]:
    env = {"PATH": os.pathsep.join(map(str, path)), "HOME": str(own.parent)}
    return subprocess.run(
        [str(own), *words], env=env, capture_output=True, text=True, timeout=30, check=False
    )


@pytest.mark.parametrize(
    "words", [(), ("--version",), ("-e", "1+1"), ("script.js",), ("--inspect", "start")]
)
def test_what_is_not_ours_goes_to_the_next_node(
    tmp_path: Path, node_js: Path, words: tuple[str, ...]
) -> None:
    own = our_node(tmp_path / "ours")
    done = run(own, *words, path=[own.parent, node_js.parent])
    assert done.stdout == f"js: {' '.join(words)}\n"


def test_our_own_commands_stay_with_us(tmp_path: Path, node_js: Path) -> None:
    own = our_node(tmp_path / "ours")
    done = run(own, "help", path=[own.parent, node_js.parent])
    assert "a node for AI that you own" in done.stdout


def test_two_installations_do_not_bounce_a_command_between_them(tmp_path: Path) -> None:
    first, second = our_node(tmp_path / "first"), our_node(tmp_path / "second")
    done = run(first, "--inspect", path=[first.parent, second.parent])
    # Both passed; with nobody left, the last one answers for itself.
    assert done.returncode == 2
    assert "there is no command" in done.stderr


def test_a_child_of_the_next_node_begins_afresh(tmp_path: Path) -> None:
    own = our_node(tmp_path / "ours")
    js = program(
        tmp_path / "js",
        '#!/bin/sh\nif [ "$1" = parent ]; then node child; else echo "js: $*"; fi\n',
    )
    done = run(own, "parent", path=[own.parent, js.parent])
    assert done.stdout == "js: child\n"


def test_a_link_to_ourselves_is_not_another_node(tmp_path: Path) -> None:
    own = our_node(tmp_path / "ours")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "node").symlink_to(own)
    assert next_node(own, {"PATH": str(tmp_path / "bin")}, 1) is None


def test_files_that_cannot_be_run_are_passed_over(tmp_path: Path, node_js: Path) -> None:
    own = our_node(tmp_path / "ours")
    dull = program(tmp_path / "dull", "no program")
    dull.chmod(0o644)
    path = os.pathsep.join([str(dull.parent), str(tmp_path / "absent"), str(node_js.parent)])
    assert next_node(own, {"PATH": path}, 1) == node_js


def test_the_marker_counts_only_for_the_same_process(tmp_path: Path, node_js: Path) -> None:
    own = our_node(tmp_path / "ours")
    env = {"PATH": str(node_js.parent), MARKER: os.pathsep.join(["7", str(node_js)])}
    assert next_node(own, env, pid=7) is None
    assert next_node(own, env, pid=8) == node_js
    assert passed_environment(own, env, 7)[MARKER].split(os.pathsep)[0] == "7"
