"""Starting at login: the files that systemd and launchd read."""

from __future__ import annotations

import configparser
import plistlib
from pathlib import Path

from node.cli.boot import unit
from node.home import Home


def test_the_systemd_unit_runs_this_program_with_this_home(tmp_path: Path) -> None:
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    home = Home(tmp_path / 'my "100%" home')
    parser.read_string(unit("linux", home).decode())
    command = parser["Service"]["ExecStart"]
    assert '"start" "--foreground" "--home"' in command
    assert '100%%\\" home"' in command
    assert parser["Service"]["Restart"] == "on-failure"
    assert parser["Install"]["WantedBy"] == "default.target"


def test_the_launchd_agent_runs_this_program_with_this_home(tmp_path: Path) -> None:
    agent = plistlib.loads(unit("darwin", Home(tmp_path)))
    assert agent["ProgramArguments"][-4:] == ["start", "--foreground", "--home", str(tmp_path)]
    assert agent["RunAtLoad"] is True
