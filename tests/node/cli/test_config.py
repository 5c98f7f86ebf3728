"""`node config set` changes one line and keeps the rest of the file."""

from __future__ import annotations

import argparse
import tomllib
from pathlib import Path

import pytest

from node.cli import config
from node.cli.errors import CliError


def run(home: Path, *words: str) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--home", type=Path)
    config.add_arguments(parser)
    return config.run(parser.parse_args(["--home", str(home), *words]))


def test_a_setting_is_written_into_a_new_file(tmp_path: Path) -> None:
    run(tmp_path, "set", "api.port", "8800")
    assert tomllib.loads((tmp_path / "config.toml").read_text()) == {"api": {"port": 8800}}


def test_comments_and_other_settings_stay(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(
        "# mine\noffline = true\n\n[api]\nport = 1 # was 8750\nhost = '127.0.0.1'\n[log]\nlevel = 'debug'\n"
    )
    run(tmp_path, "set", "api.port", "2")
    run(tmp_path, "set", "log.max_bytes", "9")
    run(tmp_path, "set", "serving.default_model", "qwen3-4b")
    text = file.read_text()
    assert "# mine" in text
    assert tomllib.loads(text) == {
        "offline": True,
        "api": {"port": 2, "host": "127.0.0.1"},
        "log": {"level": "debug", "max_bytes": 9},
        "serving": {"default_model": "qwen3-4b"},
    }


def test_a_top_level_setting_goes_before_the_sections(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("[api]\nport = 1\n")
    run(tmp_path, "set", "offline", "true")
    assert tomllib.loads((tmp_path / "config.toml").read_text()) == {
        "offline": True,
        "api": {"port": 1},
    }


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("api.prot", "1", "no setting 'api.prot'"),
        ("api.port", "many", "not changed"),
        ("api.port", "70000", "between 0 and 65535"),
    ],
)
def test_what_would_not_load_is_not_written(
    tmp_path: Path, name: str, value: str, reason: str
) -> None:
    file = tmp_path / "config.toml"
    file.write_text("[api]\nport = 1\n")
    with pytest.raises(CliError, match=reason):
        run(tmp_path, "set", name, value)
    assert file.read_text() == "[api]\nport = 1\n"
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == ["config.toml"]


def test_a_secret_is_only_said_to_be_set(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path, "set", "content.hub_token", "hf_secret")
    capsys.readouterr()
    run(tmp_path, "show")
    shown = capsys.readouterr().out
    assert "hf_secret" not in shown
    assert 'content.hub_token = "(set)"' in shown
