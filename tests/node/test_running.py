"""Who runs a home: the lock, and the note that is believed only while it is held."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from node.home import Home
from node.running import AlreadyRunning, RunningNode, announced, find_running, hold_home, is_held

NODE = RunningNode(1, "0", "http://127.0.0.1:1", "", "", 0.0)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    home.prepare()
    return home


def test_a_running_node_is_found_while_it_runs_and_not_after(home: Home) -> None:
    with hold_home(home), announced(home, NODE):
        assert find_running(home) == NODE
    assert find_running(home) is None
    assert not is_held(home)


def test_what_a_killed_node_left_is_not_taken_for_the_one_that_starts_now(home: Home) -> None:
    home.node_file.write_bytes(msgspec.json.encode(NODE))
    with hold_home(home):
        assert is_held(home)
        assert find_running(home) is None


def test_a_home_has_one_node(home: Home) -> None:
    with hold_home(home), pytest.raises(AlreadyRunning, match="already runs"), hold_home(home):
        pass
