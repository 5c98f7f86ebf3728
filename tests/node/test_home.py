"""The home folder: where it is, who can read it, and when it cannot be used."""

import os
import stat
import subprocess
from pathlib import Path

import pytest

from node.home import Home, HomeError, default_root


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize(
    ("env", "platform", "root"),
    [
        ({"HOME": "/h"}, "linux", "/h/.local/share/kith"),
        ({"HOME": "/h", "XDG_DATA_HOME": "/data"}, "linux", "/data/kith"),
        ({"HOME": "/h", "XDG_DATA_HOME": ""}, "linux", "/h/.local/share/kith"),
        ({"HOME": "/h", "XDG_DATA_HOME": "relative"}, "linux", "/h/.local/share/kith"),
        ({"HOME": "/h"}, "darwin", "/h/Library/Application Support/kith"),
        ({"HOME": "/h", "KITH_HOME": "/mine"}, "darwin", "/mine"),
        ({"HOME": "/h", "KITH_HOME": ""}, "linux", "/h/.local/share/kith"),
    ],
)
def test_where_the_home_is(env: dict[str, str], platform: str, root: str) -> None:
    assert default_root(env, platform) == Path(root)


def test_a_relative_home_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert default_root({"KITH_HOME": "mine"}) == tmp_path / "mine"


def test_every_folder_is_private(tmp_path: Path) -> None:
    home = Home(tmp_path / "deep" / "home")
    home.prepare()
    assert mode(home.root) == 0o700
    assert {mode(path) for path in home.root.iterdir()} == {0o700}
    assert list(home.run.iterdir()) == []
    home.prepare()


def test_modes_that_became_too_open_are_tightened(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.prepare()
    home.version_file.write_text("1\n")
    for path in (home.root, home.keys, home.data):
        path.chmod(0o755)
    home.prepare()
    assert {mode(path) for path in (home.root, home.keys, home.data)} == {0o700}


def test_a_folder_with_other_peoples_things_keeps_its_mode(tmp_path: Path) -> None:
    (tmp_path / "letter").touch()
    tmp_path.chmod(0o755)
    home = Home(tmp_path)
    home.prepare()
    assert mode(tmp_path) == 0o755
    assert mode(home.keys) == 0o700


def test_a_file_in_place_of_the_home_is_told(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file")
    with pytest.raises(HomeError, match="choose another with --home DIR"):
        Home(tmp_path / "home").prepare()


@pytest.mark.namespace
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
def test_a_read_only_home_is_told(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.prepare()
    subprocess.run(["mount", "--bind", home.root, home.root], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", home.root], check=True)
        with pytest.raises(HomeError, match="Read-only file system"):
            home.prepare()
    finally:
        subprocess.run(["umount", home.root], check=True)


@pytest.mark.skipif(os.geteuid() == 0, reason="root ignores mode bits")
def test_a_home_without_write_permission_is_told(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(HomeError, match="cannot be written"):
        Home(tmp_path / "home").prepare()
