"""The interface's client: errors in words, and nothing that a terminal would obey."""

from __future__ import annotations

from pathlib import Path

import pytest

from protocols.http import requests
from protocols.http.control import Problem, Say
from protocols.http.requests import ApiProblem
from tests.support.fake_node import FakeNode, Wrong, a_fake_node, model
from tests.tui.driving import in_asyncio
from tui.api import Api, Unreachable, words_of


@in_asyncio
async def test_answers_lose_control_characters_at_any_depth(tmp_path: Path) -> None:
    async with a_fake_node(tmp_path) as node:
        node.models["x"] = model("a\x1b[2Jb\u202e", files=("c\x07d",))
        api = Api(node.address, tmp_path / "token")
        found = (await api.call(requests.models())).models[-1]
        assert found.name == "a[2Jb"
        assert found.files == ("cd",)
        await api.aclose()


@in_asyncio
async def test_a_refusal_is_a_problem_with_its_words(tmp_path: Path) -> None:
    async with a_fake_node(tmp_path) as node:
        api = Api(node.address, tmp_path / "token")
        with pytest.raises(ApiProblem) as caught:
            await api.call(requests.load_model("missing"))
        assert words_of(caught.value) == "there is no model missing"
        made = node.conversation("x")
        node.problem = Wrong(409, "conversation_busy", "busy\x1b[31m", "wait")
        with pytest.raises(ApiProblem) as caught:
            async with api.stream(requests.say(made.id, Say("hi"))):
                raise AssertionError("it was refused")
        assert words_of(caught.value) == "busy[31m: wait"
        await api.aclose()


@in_asyncio
async def test_nobody_at_the_address_is_said_with_what_to_do(tmp_path: Path) -> None:
    node = FakeNode()
    await node.start()
    await node.stop()
    api = Api(node.address, tmp_path / "no-token")
    with pytest.raises(Unreachable) as caught:
        await api.call(requests.status())
    assert "node start" in words_of(caught.value)
    with pytest.raises(Unreachable):
        async with api.stream(requests.say("c", Say("hi"))):
            raise AssertionError("nobody is there")
    await api.aclose()


@in_asyncio
async def test_after_closing_nobody_is_reached(tmp_path: Path) -> None:
    async with a_fake_node(tmp_path) as node:
        api = Api(node.address, tmp_path / "token")
        await api.call(requests.status())
        await api.aclose()
        with pytest.raises(Unreachable, match="leaving"):
            await api.call(requests.status())


def test_a_problem_without_a_hint_is_its_message() -> None:
    assert words_of(ApiProblem(500, Problem("x", "it broke"))) == "it broke"
