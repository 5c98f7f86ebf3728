"""Conversations with the starter model, in a real node: outgrowing the context, and kill -9."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from protocols.http import control, requests
from tests.support.node_process import NodeProcess, a_node

STARTER = Path(__file__).parents[3] / "models" / "starter" / "starter.gguf"

pytestmark = [
    pytest.mark.native,
    pytest.mark.skipif(not STARTER.exists(), reason="the starter model is not trained yet"),
]


@pytest.fixture
def node(tmp_path: Path) -> Iterator[NodeProcess]:
    with a_node(tmp_path) as found:
        yield found


def say(node: NodeProcess, id: str, text: str) -> list[Any]:
    request = requests.say(id, control.Say(text, seed=1))
    with (
        httpx.Client(base_url=node.node.address, timeout=60, trust_env=False) as client,
        client.stream(
            "POST", request.path, content=request.body, headers=request.headers(node.token)
        ) as answer,
    ):
        if answer.status_code != 200:
            raise request.problem(answer.status_code, answer.read())
        reader = request.events()
        return [event for chunk in answer.iter_raw() for event in reader.feed(chunk)]


def test_a_chat_that_outgrows_the_context_goes_on_and_says_so(node: NodeProcess) -> None:
    client = node.client()
    made = client.call(requests.new_conversation(control.NewConversation(system="be brief")))
    dropped = 0
    for number in range(12):
        events = say(node, made.id, f"question {number}: " + "tell me a joke about cats " * 25)
        assert isinstance(events[0], control.Said)
        assert isinstance(events[-1], control.AnswerDone), events[-1]
        dropped = events[0].dropped
        if dropped:
            assert str(dropped) in events[0].notice
            break
    assert dropped > 0
    kept = client.call(requests.conversation(made.id)).messages
    assert len(kept) == 1 + 2 * (number + 1)
    why = client.call(requests.job(kept[-1].job))
    assert [event.kind for event in why.events][-1] == "job.ended"


def test_a_question_longer_than_the_context_fails_clearly_and_the_chat_goes_on(
    node: NodeProcess,
) -> None:
    client = node.client()
    made = client.call(requests.new_conversation(control.NewConversation()))
    last = say(node, made.id, "word " * 20_000)[-1]
    assert isinstance(last, control.AnswerFailed)
    assert last.error.code == "context_overflow"
    said, *_, done = say(node, made.id, "tell me a joke")
    assert isinstance(done, control.AnswerDone), done
    assert said.dropped == 1


def test_what_was_said_is_there_after_the_node_was_killed(node: NodeProcess) -> None:
    made = node.client().call(requests.new_conversation(control.NewConversation()))
    request = requests.say(made.id, control.Say("tell me a joke"))
    with httpx.Client(base_url=node.node.address, timeout=60, trust_env=False) as client:
        try:
            with client.stream(
                "POST", request.path, content=request.body, headers=request.headers(node.token)
            ) as answer:
                next(answer.iter_raw())
                node.kill()
                for _ in answer.iter_raw():
                    pass
        except httpx.HTTPError:
            pass
        except httpx.StreamConsumed:
            pass
    began = time.monotonic()
    node.start()
    kept = node.client().call(requests.conversation(made.id)).messages
    assert kept[0].text == "tell me a joke"
    assert kept[1].state in ("done", "unfinished")
    assert time.monotonic() - began < 30
