"""What `node doctor` finds in a home."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from node.doctor import check_clock, check_home, check_leftovers
from node.home import Home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    home.prepare()
    return home


def test_a_fresh_home_is_fine(home: Home) -> None:
    assert check_home(home).state == "ok"
    assert check_leftovers(home, time.time()).state == "ok"


def test_keys_that_others_can_read_are_a_problem(home: Home) -> None:
    (home.keys / "owner.key").write_bytes(b"")
    (home.keys / "owner.key").chmod(0o644)
    found = check_home(home)
    assert (found.state, "owner.key" in found.message) == ("problem", True)


def test_a_download_is_left_over_when_nothing_came_for_a_day(home: Home) -> None:
    file = home.partial / "pull-1" / "files" / "m.gguf"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"GGUF")
    now = time.time()
    assert check_leftovers(home, now).state == "ok"
    os.utime(file, (now - 2 * 86400, now - 2 * 86400))
    found = check_leftovers(home, now)
    assert found.state == "warning"
    assert "--forget" in found.fix


def test_a_clock_that_was_set_back_is_a_problem() -> None:
    assert check_clock(0.0).state == "problem"
    assert check_clock(1_800_000_000.0).state == "ok"
