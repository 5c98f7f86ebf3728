"""docs/settings.md lists every setting with its real default, and nothing else."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from node.cli.config import toml_text, value_of
from node.config import Settings, setting_names

DOCS = Path(__file__).resolve().parents[2] / "docs"
ROW = re.compile(r"^\| `([a-z_.]+)` \| `(.*?)` \| (.+) \|$", re.MULTILINE)


def test_every_setting_is_documented_with_its_default() -> None:
    documented = {
        name: tomllib.loads(f"v = {default}")["v"]
        for name, default, _ in ROW.findall((DOCS / "settings.md").read_text())
    }
    shipped = {
        name: tomllib.loads(f"v = {toml_text(value_of(Settings(), name))}")["v"]
        for name in setting_names()
    }
    assert documented == shipped
