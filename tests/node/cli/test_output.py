"""What reaches a person's terminal: aligned, readable, and never a command to it."""

from __future__ import annotations

import pytest

from node.cli.output import duration, size, table
from node.cli.progress import line_of
from protocols.http.control import Transfer
from protocols.text import clean


@pytest.mark.parametrize(
    "hostile", ["\x1b[2J", "\x9b2J", "\x1b]0;title\x07", "\u202e", "\x00", "\r", "\x7f"]
)
def test_characters_that_a_terminal_would_obey_are_left_out(hostile: str) -> None:
    assert set(clean(f"a{hostile}b")) <= set("ab[2J]0;title")


def test_ordinary_text_is_kept_whole() -> None:
    text = "Grüße, 世界 👩‍👩‍👧\n\tnext"
    assert clean(text) == text


def test_columns_are_as_wide_as_their_widest_cell(capsys: pytest.CaptureFixture[str]) -> None:
    table([["a", "1"], ["long", "2"]], head=["n", "v"])
    assert capsys.readouterr().out == "n     v\na     1\nlong  2\n"


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1500, "1.5 KB"), (2.6e9, "2.6 GB"), (5e15, "5000 TB")],
)
def test_sizes_are_said_in_the_unit_that_fits(count: float, text: str) -> None:
    assert size(count) == text


@pytest.mark.parametrize(("seconds", "text"), [(5, "5 s"), (65, "1 min 5 s"), (7260, "2 h 1 min")])
def test_durations_are_said_in_words(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_progress_says_share_size_rate_and_time_left() -> None:
    transfer = Transfer(
        "t",
        "pull",
        "r",
        "qwen",
        "running",
        done=1_100_000_000,
        total=2_600_000_000,
        rate=6.1e6,
        eta_s=242,
    )
    line = line_of(transfer, 100)
    assert line.startswith("qwen   42 % [#")
    assert line.endswith("1.1 GB of 2.6 GB  6.1 MB/s  4 min 2 s left")
    assert len(line) <= 100


def test_a_stalled_transfer_says_so_and_narrow_screens_drop_the_bar() -> None:
    transfer = Transfer("t", "pull", "r", "qwen", "running", done=1, total=2)
    line = line_of(transfer, 50)
    assert "stalled" in line
    assert "#" not in line
    assert len(line) <= 50
