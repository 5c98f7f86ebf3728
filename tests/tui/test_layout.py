"""The same screens on small and large terminals, without colour, and without UTF-8."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from textual.widget import Widget

from tests.support.fake_node import model
from tests.tui.driving import Driver, driven, in_asyncio, until
from tui.dialogs import Help
from tui.models.screen import ModelsScreen

SIZES = [(80, 24), (60, 15), (200, 60), (40, 12)]
sizes = pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")


def frame_is_whole(it: Driver) -> None:
    """Every part of the frame is on the screen, and no two parts overlap."""
    screen = it.app.screen
    parts: list[Widget] = [part for part in screen.children if part.display]
    regions = [part.region for part in parts if part.region.area]
    for one, region in enumerate(regions):
        assert screen.region.contains_region(region)
        for other in regions[one + 1 :]:
            assert not region.overlaps(other), (region, other)
    for name in ("navigation", "keys", "status"):
        assert screen.query_one(f"#{name}").region.area, name
    assert "nothing leaves this machine" in " ".join(row.strip() for row in it.grid()[-2:])


@sizes
@in_asyncio
async def test_chat_fits(tmp_path: Path, size: tuple[int, int]) -> None:
    async with driven(tmp_path, size) as it:
        it.node.conversation("before", ("a", "b"))
        await until(lambda: it.line("keys"))
        frame_is_whole(it)
        it.node.tokens = ["word " * 300]
        it.node.release(2)
        await it.ask("question " * 30)
        await it.answered()
        await until(lambda: "this machine |" in it.shown())
        frame_is_whole(it)
        it.chat.prompt.put("line\n" * 11)
        await until(lambda: it.chat.prompt.size.height > 2)
        frame_is_whole(it)


@sizes
@in_asyncio
async def test_models_fit(tmp_path: Path, size: tuple[int, int]) -> None:
    async with driven(tmp_path, size) as it:
        for n in range(80):
            it.node.models[f"m{n}"] = model(f"model-{n}-with-a-long-name", fit_reason="why " * 20)
        await it.to(ModelsScreen, "f3")
        await until(lambda: len(it.models._rows) == 81)
        frame_is_whole(it)
        it.models.note.complain("what happened " * 9, "what was kept", "what to do")
        await until(lambda: it.models.note.region.area)
        frame_is_whole(it)


@sizes
@in_asyncio
async def test_help_fits_and_scrolls(tmp_path: Path, size: tuple[int, int]) -> None:
    async with driven(tmp_path, size) as it:
        await it.press("f1")
        await until(lambda: isinstance(it.app.screen, Help))
        await until(lambda: "Anywhere" in it.shown())
        await it.press("end")
        await until(lambda: "Esc closes this page" in it.shown())


@in_asyncio
async def test_wide_terminals_show_past_conversations_beside_the_chat(tmp_path: Path) -> None:
    async with driven(tmp_path, (200, 60)) as it:
        made = it.node.conversation("about kites", ("how", "so"))
        await it.chat._list()
        await until(lambda: "about kites" in it.shown())
        it.chat._sidebar.focus()
        await it.press("enter")
        await until(lambda: it.chat.conversation and it.chat.conversation.id == made.id)
        frame_is_whole(it)


@in_asyncio
async def test_resizing_keeps_the_frame(tmp_path: Path) -> None:
    async with driven(tmp_path, (200, 60)) as it:
        for size in [*SIZES, (200, 60)]:
            await it.pilot.resize_terminal(*size)
            await until(partial(lambda size: it.app.screen.size == size, size))
            await it.pilot.pause()
            frame_is_whole(it)


@in_asyncio
async def test_without_utf8_everything_is_ascii(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LC_ALL", "LC_CTYPE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LANG", "C")
    async with driven(tmp_path) as it:
        it.node.tokens = ["• “naïve” 漢字 — café …"]
        it.node.release(2)
        await it.ask("go")
        await it.answered()
        await until(lambda: "cafe" in it.shown())
        assert it.shown().isascii()


@in_asyncio
async def test_without_colour_none_is_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with driven(tmp_path) as it:
        await it.to(ModelsScreen, "f3")
        await until(lambda: "starter" in it.shown())
        for strip in it.app.screen._compositor.render_strips(it.app.size):
            for _text, style, _control in strip:
                for colour in (style.color, style.bgcolor) if style else ():
                    assert colour is None or colour.is_default


@in_asyncio
async def test_light_colours_paint_their_own_background(tmp_path: Path) -> None:
    async with driven(tmp_path) as it:
        for theme in ("kith-light", "kith-dark"):
            it.app.theme = theme
            await it.pilot.pause()
            background = it.app.screen.styles.background
            assert background.a == 1
            assert (background.brightness > 0.5) is (theme == "kith-light")
