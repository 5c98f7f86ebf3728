"""How things are shown: tables, sizes, times, `--json`; hostile text never reaches the terminal raw."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from protocols.text import clean


def say(text: str) -> None:
    """Print for a person; what the terminal's encoding cannot show becomes '?'."""
    encoding = sys.stdout.encoding or "utf-8"
    print(clean(text).encode(encoding, "replace").decode(encoding))


def notice(text: str) -> None:
    """A remark beside an answer: on stderr, in brackets, wrapped at the terminal's width."""
    encoding = sys.stderr.encoding or "utf-8"
    shown = clean(f"({text})").encode(encoding, "replace").decode(encoding)
    if sys.stderr.isatty():
        shown = textwrap.fill(shown, shutil.get_terminal_size().columns - 1)
    print(shown, file=sys.stderr)


def show_json(value: Any) -> None:
    json.dump(msgspec.to_builtins(value), sys.stdout, indent=2, ensure_ascii=True)
    print()


def table(rows: Sequence[Sequence[str]], *, head: Sequence[str]) -> None:
    """Columns as wide as their widest cell; the last one is not padded."""
    cells = [list(map(str, head)), *[list(map(str, row)) for row in rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    for row in cells:
        say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def size(count: float) -> str:
    for unit in ("B", "KB", "MB", "GB", "TB"):
        if count < 1000 or unit == "TB":
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError


def when(at: float) -> str:
    return datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def duration(seconds: float) -> str:
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
