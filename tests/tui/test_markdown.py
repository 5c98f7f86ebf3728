"""Markdown in single widgets, and answers that grow."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.http.control import ChatMessage
from tests.tui.driving import Driver, driven, in_asyncio, until
from tui.chat.markdown import COLOURS, PART_LINES, rendered, settled
from tui.chat.pacing import Pacer
from tui.chat.turns import Live, Written
from tui.chat.view import ANSWER_CHARS

COLOURED = dict.fromkeys(COLOURS, "#808080")
BLOCKS = [
    "para one\nline two\n\n",
    "- a\n- b\n",
    "```\ncode\n\nmore\n```\n",
    "|x|\n|-|\n|1|\n\n",
    "# h\n",
]


def lines(text: str, width: int = 40) -> list[str]:
    return [line.plain for line in rendered(text, width, COLOURED, dark=True)]


def test_blocks_look_like_what_they_are() -> None:
    shown = lines("# Title\n\n- one\n- two\n\n> said\n\n`code` and **bold**\n\n---\n")
    text = "\n".join(shown)
    for part in ("Title", "• one", "said", "code and bold", "---"):
        assert part in text
    assert "#" not in text
    assert "**" not in text
    assert shown[0].strip()
    assert shown[-1].strip()


def test_html_and_links_stay_readable() -> None:
    assert lines("<script>x</script>") == ["<script>x</script>"]
    assert lines("[a](https://b.example)") == ["a (https://b.example)"]


@settings(max_examples=30, deadline=None)
@given(st.text(max_size=200), st.integers(4, 60))
def test_any_text_is_drawn_within_its_width(text: str, width: int) -> None:
    for line in rendered(text, width, COLOURED, dark=False):
        assert line.cell_length <= width


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from(BLOCKS), max_size=60))
def test_settled_text_and_the_rest_are_the_whole(blocks: list[str]) -> None:
    text = "".join(blocks)
    head, rest = settled(text)
    assert head + rest == text
    assert not head or head.count("\n") >= PART_LINES


def test_an_open_code_block_is_never_settled() -> None:
    text = "```\n" + "x\n" * 500
    assert settled(text) == ("", text)


def running() -> tuple[ChatMessage, ChatMessage]:
    answer = ChatMessage("a", "q", "assistant", "", 0.0, state="running", model="m")
    return ChatMessage("q", None, "user", "go", 0.0), answer


async def grow(it: Driver, text: str, step: int) -> Live:
    """An answer that comes in pieces of this many characters, and its end."""
    question, answer = running()
    live = await it.chat.transcript.begin(question, answer)
    for at in range(0, len(text), step):
        live.write(text[at : at + step])
        await asyncio.sleep(0)
    await live.finish(msgspec.structs.replace(answer, state="done", text=text))
    return live


@in_asyncio
async def test_a_long_answer_has_few_widgets_and_shows_everything(tmp_path: Path) -> None:
    async with driven(tmp_path) as it:
        text = "".join(f"- item {n}\n\npara {n}\n\n" for n in range(200))
        live = await grow(it, text, 500)
        parts = list(live.query(Written))
        assert 1 <= len(parts) <= 25
        shown = "\n".join(str(part.render()) for part in parts)
        for n in range(200):
            assert f"item {n}" in shown
            assert f"para {n}" in shown


@in_asyncio
async def test_what_grows_gets_the_height_that_it_needs(tmp_path: Path) -> None:
    async with driven(tmp_path) as it:
        live = await grow(it, "words that need more than one line " * 8, 7)
        end = live.query(Written).last()
        await until(lambda: end.size.height == str(end.render()).count("\n") + 1 > 2)


@in_asyncio
async def test_an_answer_beyond_all_bounds_is_kept_whole_and_shown_in_part(tmp_path: Path) -> None:
    async with driven(tmp_path, (200, 60)) as it:
        text = "word " * (ANSWER_CHARS // 5 + 1000)
        live = await grow(it, text, 50_000)
        assert live.text == text
        await until(lambda: "only its start is shown" in it.shown())


@in_asyncio
async def test_stopping_the_pacer_lets_a_drawing_end(tmp_path: Path) -> None:
    began, release, ended = asyncio.Event(), asyncio.Event(), []

    async def draw() -> None:
        began.set()
        await release.wait()
        ended.append(True)

    pacer = Pacer(draw)
    pacer.start()
    pacer.more()
    await began.wait()
    stopping = asyncio.create_task(pacer.stop())
    await asyncio.sleep(0)
    assert not ended
    release.set()
    await stopping
    assert ended == [True]
    await pacer.stop()


@in_asyncio
async def test_other_colours_draw_finished_answers_anew(tmp_path: Path) -> None:
    async with driven(tmp_path) as it:
        made = it.node.conversation("x", ("q", "# heading"))
        await it.chat._open(made.id)
        await until(lambda: "heading" in it.shown())
        done = it.chat.transcript.query(Written).last()
        before = done.render()
        it.app.theme = "kith-light"
        await until(lambda: done.render() != before or done.render() is not before)
        await until(lambda: "heading" in it.shown())
