"""What the node, a model or a paste says never commands the terminal or the program."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.segment import Segment
from textual.color import Color

from tests.support.fake_node import model
from tests.tui.driving import Driver, driven, in_asyncio, until
from tui.host import failure_report
from tui.models.screen import ModelsScreen
from tui.terminal import PlainText, in_ascii, speaks_utf8

ESC = "\x1b"
HOSTILE = (
    f"{ESC}]0;owned\x07{ESC}[2J{ESC}[31mred\x9b1;1H\u202egnp.exe[@click=app.quit]click[/][bold]x"
)
BLACK = Color(0, 0, 0)


def nothing_hostile(it: Driver) -> None:
    strips = it.app.screen._compositor.render_strips(it.app.size)
    for strip in strips:
        for text, _style, control in strip:
            assert not control
            assert all(character not in text for character in (ESC, "\x07", "\x9b", "\u202e"))


async def click_everywhere(it: Driver, words: str) -> None:
    """On each cell that shows these words."""
    for y, row in enumerate(it.grid()):
        if (x := row.find(words)) >= 0:
            await it.pilot.click(offset=(x + 1, y))


@in_asyncio
async def test_an_answer_cannot_reach_the_terminal_or_run_an_action(tmp_path: Path) -> None:
    async with driven(tmp_path) as it:
        it.node.tokens = [HOSTILE, " &#27;[2J &#8238; <b>html</b> ", "[a](javascript:x) end"]
        it.node.release(4)
        await it.ask(HOSTILE)
        await it.answered()
        await until(lambda: "end" in it.shown())
        nothing_hostile(it)
        assert "[@click=app.quit]click" in it.shown()
        assert "<b>html</b>" in it.shown()
        await click_everywhere(it, "click[/]")
        it.node.release(4)
        await it.ask("again")  # the first answer becomes a single widget
        await it.answered()
        nothing_hostile(it)
        assert it.app.is_running


@in_asyncio
async def test_a_link_shows_where_it_leads_and_is_not_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with driven(tmp_path) as it:
        opened: list[str] = []
        monkeypatch.setattr(it.app, "open_url", lambda url, **_: opened.append(url))
        it.node.tokens = ["[good.example](https://evil.example)"]
        it.node.release(2)
        await it.ask("go")
        await it.answered()
        await until(lambda: "good.example (https://evil.example)" in it.shown())
        await click_everywhere(it, "good.example")
        for strip in it.app.screen._compositor.render_strips(it.app.size):
            for _text, style, _control in strip:
                assert style is None or not (style.link or "@click" in style.meta)
        assert not opened


@in_asyncio
async def test_names_of_models_and_conversations_are_text(tmp_path: Path) -> None:
    async with driven(tmp_path, (120, 40)) as it:
        it.node.conversation(HOSTILE, (HOSTILE, HOSTILE))
        it.node.models["x"] = model(HOSTILE, source=HOSTILE, licence=HOSTILE, default=True)
        it.node.models["starter"] = model("starter")
        it.node.transfer("pull", HOSTILE, HOSTILE, state="failed", message=HOSTILE)
        it.node.network = HOSTILE
        await it.press("ctrl+o")
        await until(lambda: "gnp.exe" in it.shown())
        nothing_hostile(it)
        await it.press("enter")
        await until(lambda: "[@click=app.quit]click" in it.shown())
        nothing_hostile(it)
        await it.to(ModelsScreen, "f3")
        await until(lambda: "[@click=app.quit]" in it.shown())
        nothing_hostile(it)
        await click_everywhere(it, "click")
        assert it.app.is_running


@in_asyncio
async def test_a_paste_with_escapes_is_text(tmp_path: Path) -> None:
    async with driven(tmp_path) as it:
        it.chat.prompt._take(f"a{HOSTILE}\r\nb")
        await it.pilot.pause()
        nothing_hostile(it)
        await it.press("enter")
        await until(lambda: it.node.said)
        assert ESC not in it.node.said[0].text
        assert it.node.said[0].text.endswith("\nb")


def test_a_failure_is_reported_without_any_value() -> None:
    secret = "my prompt and my key"
    try:
        try:
            {}[secret]  # type: ignore[index]
        except KeyError as error:
            raise ValueError(secret) from error
    except ValueError as error:
        report = "\n".join(failure_report(error))
    assert "ValueError at:" in report
    assert "KeyError at:" in report
    assert "test_hostile.py" in report
    assert secret not in report


@given(st.text(max_size=60), st.booleans())
def test_no_control_character_passes_the_last_gate(text: str, ascii_only: bool) -> None:
    gate = PlainText(ascii_only=ascii_only)
    [segment] = gate.apply([Segment(text)], BLACK)
    kinds = {unicodedata.category(c) for c in segment.text if c != "\u200d"}
    assert not kinds & {"Cc", "Cf", "Cs", "Co"}
    assert segment.text.isascii() or not ascii_only


@given(st.text(st.characters(exclude_categories=["C", "M"]), max_size=40))
def test_ascii_takes_as_many_cells(text: str) -> None:
    assert in_ascii(text).isascii()
    assert cell_len(in_ascii(text)) == sum(cell_len(character) for character in text)


@pytest.mark.parametrize(
    ("environ", "answer"),
    [
        ({"LANG": "en_US.UTF-8"}, True),
        ({"LANG": "de_DE.utf8"}, True),
        ({"LANG": "en_US.UTF-8", "LC_ALL": "C"}, False),
        ({"LANG": "C"}, False),
        ({}, False),
    ],
)
def test_the_locale_says_whether_utf8_can_be_shown(environ: dict[str, str], answer: bool) -> None:
    assert speaks_utf8(environ) is answer
