"""The models screen against a fake node."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from textual.command import CommandPalette
from textual.widgets import Input, OptionList

from tests.support.fake_node import Wrong, model
from tests.tui.driving import Driver, driven, in_asyncio, until
from tui.chat.screen import ChatScreen
from tui.dialogs import AskLine, Confirm
from tui.frame import Frame
from tui.models.screen import ModelsScreen


async def on_models(it: Driver) -> None:
    await it.to(ModelsScreen, "f3")
    await until(lambda: "starter" in it.shown())


async def answer(it: Driver, key: str, text: str) -> None:
    """Press a key that asks for one line, and give it."""
    await it.press(key)
    await until(lambda: isinstance(it.app.screen, AskLine))
    it.app.screen.query_one(Input).value = text
    await it.press("enter")
    await until(lambda: isinstance(it.app.screen, Frame))


def change(it: Driver, id: str, **facts: object) -> None:
    it.node.transfers[id] = msgspec.structs.replace(it.node.transfers[id], **facts)


@in_asyncio
async def test_models_are_listed_with_their_state_in_words(tmp_path: Path) -> None:
    async with driven(tmp_path) as it:
        it.node.models["qwen"] = model("qwen", fits="tight", quantisation="Q4_K_M")
        await on_models(it)
        await until(lambda: "qwen" in it.shown())
        row = next(row for row in it.grid() if "qwen" in row)
        for words in ("1.2M", "Q4_K_M", "tight", "unloaded"):
            assert words in row
        assert "loaded, default, starter" in it.shown()
        assert it.line("navigation").endswith("2 models")
        assert "memory 8.0GB, free 4.0GB" in it.shown()


@in_asyncio
async def test_enter_loads_and_unloads(tmp_path: Path) -> None:
    async with driven(tmp_path) as it:
        await on_models(it)
        await it.press("enter")
        await until(lambda: it.node.models["starter"].state == "unloaded")
        await until(lambda: "unloaded, default" in it.shown())
        await it.press("enter")
        await until(lambda: it.node.models["starter"].state == "loaded")
        await until(lambda: "starter is loaded" in it.shown())


@in_asyncio
async def test_a_file_is_added_by_its_absolute_path(tmp_path: Path) -> None:
    async with driven(tmp_path) as it:
        await on_models(it)
        await answer(it, "a", "some/model.gguf")
        await until(lambda: it.node.transfers)
        assert it.node.transfers["t1"].ref == str(Path.cwd() / "some/model.gguf")


@in_asyncio
async def test_a_pull_shows_its_progress_until_the_model_is_there(tmp_path: Path) -> None:
    async with driven(tmp_path) as it:
        await on_models(it)
        await answer(it, "p", "hf:owner/repo/big.gguf")
        await until(lambda: "big.gguf" in it.shown())
        change(it, "t1", done=41, total=100, rate=6.1e6, eta_s=420.0)
        await until(lambda: "41 %, 6.1M/s, 7 min left" in it.shown())
        change(it, "t1", done=80, rate=0.0, eta_s=None)
        await until(lambda: "80 %, stalled" in it.shown())
        change(it, "t1", state="done")
        it.node.models["big"] = model("big")
        await until(lambda: "stalled" not in it.shown())
        await until(lambda: "unloaded" in it.shown())


@in_asyncio
async def test_the_dialog_before_a_pull_says_that_a_server_is_asked(tmp_path: Path) -> None:
    async with driven(tmp_path) as it:
        await on_models(it)
        await it.press("p")
        await until(lambda: isinstance(it.app.screen, AskLine))
        await until(lambda: "leaves this machine" in it.shown())
        await it.press("escape")
        await until(lambda: isinstance(it.app.screen, ModelsScreen))
        assert not it.node.transfers


@in_asyncio
async def test_s_stops_a_transfer_and_enter_goes_on_with_it(tmp_path: Path) -> None:
    async with driven(tmp_path) as it:
        it.node.transfer("pull", "hf:a/b/c.gguf", "c")
        await on_models(it)
        await until(lambda: it.models.selected and it.models.selected.transfer)
        await it.press("s")
        await until(lambda: it.node.transfers["t1"].state == "stopped")
        await until(lambda: "what came is kept" in it.shown())
        await it.press("enter")
        await until(lambda: "t2" in it.node.transfers)
        assert it.node.transfers["t2"].ref == "hf:a/b/c.gguf"
        await until(lambda: len([row for row in it.grid() if row.startswith("  c ")]) <= 1)


@in_asyncio
async def test_a_failed_transfer_says_why_and_is_hidden_on_request(tmp_path: Path) -> None:
    async with driven(tmp_path) as it:
        it.node.transfer("pull", "x", "broken", state="failed", message="the disk is full")
        await on_models(it)
        await until(lambda: "the disk is full" in it.shown())
        await it.press("x")
        await until(lambda: "broken" not in it.shown())


@in_asyncio
async def test_removing_asks_first_and_says_what_was_freed(tmp_path: Path) -> None:
    async with driven(tmp_path) as it:
        it.node.models = {"old": model("old", default=True)}
        await it.to(ModelsScreen, "f3")
        await until(lambda: it.models.selected)
        await it.press("x")
        await until(lambda: isinstance(it.app.screen, Confirm))
        await until(lambda: "1.2MB are freed" in it.shown())
        await it.press("enter")
        await until(lambda: isinstance(it.app.screen, ModelsScreen))
        assert "old" in it.node.models
        await it.press("x")
        await until(lambda: isinstance(it.app.screen, Confirm))
        await it.press("y")
        await until(lambda: not it.node.models)
        await until(lambda: "1.2MB freed" in it.shown())
        await until(lambda: "No models yet: press p" in it.shown())


@in_asyncio
async def test_d_makes_the_default_which_the_chat_then_asks(tmp_path: Path) -> None:
    async with driven(tmp_path) as it:
        it.node.models["qwen"] = model("qwen")
        await on_models(it)
        await until(lambda: len(it.models._rows) == 2)
        await it.press("j", "d")
        await until(lambda: it.node.models["qwen"].default)
        await it.to(ChatScreen, "f2")
        await until(lambda: "to: qwen" in it.shown())


@in_asyncio
async def test_a_refusal_stays_on_the_screen_until_esc(tmp_path: Path) -> None:
    async with driven(tmp_path) as it:
        await on_models(it)
        it.node.problem = Wrong(507, "store_full", "the disk is full", "free 2 GB")
        await it.press("enter")
        await until(lambda: "the disk is full: free 2 GB" in it.shown())
        await it.press("escape")
        await until(lambda: "the disk is full" not in it.shown())


@in_asyncio
async def test_the_filter_narrows_the_list_and_esc_shows_all(tmp_path: Path) -> None:
    async with driven(tmp_path) as it:
        it.node.models["qwen"] = model("qwen")
        await on_models(it)
        await until(lambda: len(it.models._rows) == 2)
        await it.press("slash")
        await it.write("qw")
        await until(lambda: [row.cells[0] for row in it.models._rows] == ["qwen"])
        await it.write("zz")
        await until(lambda: "Nothing fits" in it.shown())
        await it.press("escape")
        await until(lambda: len(it.models._rows) == 2)


@in_asyncio
async def test_the_cursor_stays_on_its_model_when_others_come(tmp_path: Path) -> None:
    async with driven(tmp_path) as it:
        it.node.models["qwen"] = model("qwen")
        await on_models(it)
        await until(lambda: len(it.models._rows) == 2)
        await it.press("j")
        it.node.transfer("pull", "x", "new", state="waiting")
        await until(lambda: len(it.models._rows) == 3)
        assert it.models.selected is not None
        assert it.models.selected.key == "model:qwen"


@in_asyncio
async def test_a_node_that_comes_back_fills_the_list_again(tmp_path: Path) -> None:
    async with driven(tmp_path) as it:
        await on_models(it)
        await it.node.stop()
        await until(lambda: "reconnecting" in it.line("status"))
        it.node.models["fresh"] = model("fresh")
        await it.node.start()
        await until(lambda: "fresh" in it.shown())
        await until(lambda: not it.models.note.display)


@in_asyncio
@pytest.mark.parametrize(
    ("words", "seen"),
    [
        ("Pull", "Pull which model?"),
        ("Add", "Add which file or folder?"),
        ("Models", "loaded, default, starter"),
        ("Past", "Past conversations"),
        ("New", "You ask starter"),
        ("Keys", "Anywhere"),
    ],
)
async def test_the_palette_reaches_everything(tmp_path: Path, words: str, seen: str) -> None:
    async with driven(tmp_path) as it:
        await it.press("ctrl+p")
        await until(lambda: isinstance(it.app.screen, CommandPalette))
        await it.write(words)
        await until(lambda: words in it.shown())
        await until(lambda: it.app.screen.query_one(OptionList).option_count == 1)
        await it.press("enter")
        await until(lambda: not isinstance(it.app.screen, CommandPalette))
        await until(lambda: seen in it.shown(), seen)


@in_asyncio
async def test_the_palette_changes_the_colours(tmp_path: Path) -> None:
    async with driven(tmp_path) as it:
        assert it.app.theme == "kith-dark"
        await it.press("ctrl+p")
        await until(lambda: isinstance(it.app.screen, CommandPalette))
        await it.write("Light")
        await until(lambda: it.app.screen.query_one(OptionList).option_count == 1)
        await it.press("enter")
        await until(lambda: it.app.theme == "kith-light")


@in_asyncio
async def test_stopping_without_a_transfer_says_so(tmp_path: Path) -> None:
    async with driven(tmp_path) as it:
        await on_models(it)
        await it.press("s")
        await until(lambda: "Nothing is under way" in it.shown())
        for name in "bc":
            it.node.transfer("pull", name, f"model-{name}")
        await until(lambda: len(it.models._rows) == 3)
        await it.press("G", "s")
        await until(lambda: "Select the transfer" in it.shown())
        it.models.table.move_cursor(row=0)
        await it.press("x")
        await until(lambda: "s stops it first" in it.shown())
