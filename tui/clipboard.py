"""Copying, and saying the way it went: the terminal's own, and this machine's tool where one is."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Mapping
from typing import Final

from textual.app import App

TOOLS: Final = (
    ("WAYLAND_DISPLAY", ("wl-copy",)),
    ("DISPLAY", ("xclip", "-selection", "clipboard")),
    ("", ("pbcopy",)),
)
TOOL_S: Final = 2.0


def tool(environ: Mapping[str, str]) -> tuple[str, ...] | None:
    """The program that fills this desktop's clipboard; none over SSH, where it is the wrong one."""
    if environ.get("SSH_CONNECTION"):
        return None
    for needs, words in TOOLS:
        if (not needs or environ.get(needs)) and shutil.which(words[0]):
            return words
    return None


async def copy(app: App[None], text: str) -> str:
    """Copy, and tell how. Never raises for a tool that fails: the terminal's way was tried too."""
    app.copy_to_clipboard(text)
    how = "through the terminal"
    words = tool(os.environ)
    if words and await _ran(words, text.encode()):
        how += f" and {words[0]}"
    return f"copied {len(text):,} characters {how}"


async def _ran(words: tuple[str, ...], data: bytes) -> bool:
    try:
        process = await asyncio.create_subprocess_exec(
            *words,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except OSError:
        return False
    try:
        async with asyncio.timeout(TOOL_S):
            await process.communicate(data)
    except TimeoutError:
        process.kill()
        await process.wait()
        return False
    return process.returncode == 0
