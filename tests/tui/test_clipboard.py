"""Copying: the terminal's way always, this desktop's tool where there is one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tui.driving import driven, in_asyncio
from tui.clipboard import copy, tool

NAMES = ("wl-copy", "xclip", "pbcopy")
VARIABLES = ("WAYLAND_DISPLAY", "DISPLAY", "SSH_CONNECTION")


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH of nothing but these programs, which write what they get into a file."""
    for name in NAMES:
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\n/bin/cat > {tmp_path}/got\n", encoding="ascii")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_the_tool_is_the_one_of_the_desktop(tools: Path) -> None:
    assert tool({"WAYLAND_DISPLAY": "0"}) == ("wl-copy",)
    assert tool({"DISPLAY": ":0"}) == ("xclip", "-selection", "clipboard")
    assert tool({}) == ("pbcopy",)
    assert tool({"DISPLAY": ":0", "SSH_CONNECTION": "x"}) is None
    for name in NAMES:
        (tools / name).unlink()
    assert tool({"DISPLAY": ":0"}) is None


@in_asyncio
async def test_copying_says_how_it_went(tools: Path, tmp_path: Path) -> None:
    async with driven(tmp_path) as it:
        assert await copy(it.app, "héllo") == "copied 5 characters through the terminal and pbcopy"
        assert (tools / "got").read_text(encoding="utf-8") == "héllo"
        (tools / "pbcopy").write_text("#!/bin/sh\nexit 1\n", encoding="ascii")
        assert await copy(it.app, "x") == "copied 1 characters through the terminal"
        (tools / "pbcopy").write_text("not a program", encoding="ascii")
        assert "pbcopy" not in await copy(it.app, "x")
        assert it.app.clipboard == "x"
