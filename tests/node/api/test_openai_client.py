"""The real `openai` client against a real node: every endpoint, streamed and not, right and wrong."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
from openai import OpenAI
from openai.types.chat import ChatCompletionUserMessageParam

from protocols.http import control, requests
from tests.support.node_process import NodeProcess, a_node
from tests.support.onnx_maker import tiny_embedder

STARTER = Path(__file__).parents[3] / "models" / "starter" / "starter.gguf"

pytestmark = [
    pytest.mark.native,
    pytest.mark.skipif(not STARTER.exists(), reason="the starter model is not trained yet"),
]


def ask(text: str) -> list[ChatCompletionUserMessageParam]:
    return [{"role": "user", "content": text}]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    """One node for all, with the starter and a tiny embedding model."""
    folder = tmp_path_factory.mktemp("openai")
    embedder = tiny_embedder(folder / "tiny-embedder")
    with a_node(folder) as found:
        client = found.client()
        transfer = client.call(requests.add_model(control.AddModel(str(embedder), "vectors")))
        deadline = time.monotonic() + 60
        while transfer.state not in ("done", "failed", "stopped"):
            assert time.monotonic() < deadline
            time.sleep(0.05)
            transfer = client.call(requests.transfer(transfer.id))
        assert transfer.state == "done", transfer.message
        yield found


@pytest.fixture(scope="module")
def client(node: NodeProcess) -> Iterator[OpenAI]:
    url = node.node.address + "/v1"
    with OpenAI(base_url=url, api_key=node.token, max_retries=0, timeout=60) as found:
        yield found


def test_models_are_listed_and_shown(client: OpenAI) -> None:
    names = [model.id for model in client.models.list()]
    assert {"starter", "vectors"} <= set(names)
    assert client.models.retrieve("starter").id == "starter"
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("startr")
    assert caught.value.code == "model_not_found"
    assert "starter" in str(caught.value)


def test_a_chat_is_answered(client: OpenAI) -> None:
    answer = client.chat.completions.create(
        model="starter", messages=ask("tell me a joke"), temperature=0, max_completion_tokens=60
    )
    assert answer.choices[0].message.content
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].finish_reason in ("stop", "length")
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert answer.system_fingerprint


def test_the_same_seed_gives_the_same_answer(client: OpenAI) -> None:
    def once(seed: int) -> str:
        answer = client.chat.completions.create(
            model="starter", messages=ask("tell me a joke"), temperature=1, top_p=0.9, seed=seed
        )
        return answer.choices[0].message.content or ""

    assert once(5) == once(5)
    assert len({once(seed) for seed in range(6)}) > 1


def test_a_streamed_chat_says_the_same_and_counts_its_tokens(client: OpenAI) -> None:
    whole = client.chat.completions.create(
        model="starter", messages=ask("hello"), temperature=0, seed=1
    )
    stream = client.chat.completions.create(
        model="starter",
        messages=ask("hello"),
        temperature=0,
        seed=1,
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == whole.choices[0].message.content
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    assert chunks[-1].usage is not None
    assert whole.usage is not None
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens


def test_stop_ends_the_answer_before_the_text(client: OpenAI) -> None:
    whole = client.chat.completions.create(model="starter", messages=ask("hello"), temperature=0)
    text = whole.choices[0].message.content or ""
    word = text.split()[1]
    cut = client.chat.completions.create(
        model="starter", messages=ask("hello"), temperature=0, stop=[word]
    )
    assert cut.choices[0].message.content == text[: text.index(word)]
    assert cut.choices[0].finish_reason == "stop"


def test_max_tokens_are_the_most(client: OpenAI) -> None:
    answer = client.chat.completions.create(
        model="starter", messages=ask("tell me a joke"), max_tokens=3
    )
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 3
    assert answer.choices[0].finish_reason == "length"


def test_logprobs_are_those_of_the_tokens(client: OpenAI) -> None:
    answer = client.chat.completions.create(
        model="starter", messages=ask("hello"), temperature=0, logprobs=True, top_logprobs=3
    )
    told = answer.choices[0].logprobs
    assert told is not None
    assert told.content
    for token in told.content:
        assert token.logprob <= 0
        assert len(token.top_logprobs) == 3
        assert max(each.logprob for each in token.top_logprobs) <= token.logprob + 1e-6
    joined = b"".join(bytes(token.bytes or ()) for token in told.content)
    assert joined.decode() == answer.choices[0].message.content


def test_an_answer_has_the_form_of_a_schema(client: OpenAI) -> None:
    schema = {
        "type": "object",
        "properties": {"n": {"type": "integer"}, "ok": {"type": "boolean"}},
        "required": ["n", "ok"],
        "additionalProperties": False,
    }
    answer = client.chat.completions.create(
        model="starter",
        messages=ask("a number"),
        max_tokens=100,
        response_format={
            "type": "json_schema",
            "json_schema": {"name": "x", "schema": schema, "strict": True},
        },
    )
    if answer.choices[0].finish_reason == "stop":  # a starter may count digits without end
        found = json.loads(answer.choices[0].message.content or "")
        assert set(found) == {"n", "ok"}
    assert (answer.choices[0].message.content or "").lstrip().startswith("{")


def test_completions_go_on_with_a_text(client: OpenAI) -> None:
    answer = client.completions.create(
        model="starter", prompt="Why did the", max_tokens=5, temperature=0, logprobs=2
    )
    assert answer.usage is not None
    assert answer.usage.completion_tokens <= 5
    assert answer.choices[0].logprobs is not None
    stream = client.completions.create(
        model="starter", prompt="Why did the", max_tokens=5, temperature=0, stream=True
    )
    assert "".join(chunk.choices[0].text for chunk in stream) == answer.choices[0].text


def test_embeddings_come_as_the_client_likes_them(client: OpenAI) -> None:
    one = client.embeddings.create(model="vectors", input="a cat")  # asks for base64 by itself
    plain = client.embeddings.create(model="vectors", input="a cat", encoding_format="float")
    many = client.embeddings.create(model="vectors", input=["a cat", "a dog"])
    assert len(many.data) == 2
    assert many.data[0].embedding == pytest.approx(one.data[0].embedding, abs=1e-4)
    assert plain.data[0].embedding == pytest.approx(one.data[0].embedding, abs=1e-6)
    assert math.isclose(sum(x * x for x in one.data[0].embedding), 1.0, abs_tol=1e-3)
    assert one.usage.prompt_tokens > 0


def test_a_prompt_longer_than_the_context_is_a_bad_request(client: OpenAI) -> None:
    for stream in (False, True):
        with pytest.raises(openai.BadRequestError) as caught:
            client.chat.completions.create(
                model="starter", messages=ask("word " * 20_000), stream=stream
            )
        assert caught.value.code == "context_length_exceeded"


def test_errors_are_the_clients_own_kinds(client: OpenAI, node: NodeProcess) -> None:
    with pytest.raises(openai.NotFoundError, match="starter"):
        client.chat.completions.create(model="startr", messages=ask("hi"))
    with pytest.raises(openai.BadRequestError, match="n can only be 1"):
        client.chat.completions.create(model="starter", messages=ask("hi"), n=2)
    with pytest.raises(openai.BadRequestError, match="nonsense"):
        client.chat.completions.create(
            model="starter", messages=ask("hi"), extra_body={"nonsense": 1}
        )
    with pytest.raises(openai.BadRequestError, match="vectors"):
        client.chat.completions.create(model="vectors", messages=ask("hi"))
    with pytest.raises(openai.BadRequestError):
        client.embeddings.create(model="starter", input="hi")
    stranger = client.with_options(api_key="sk-wrong")
    with pytest.raises(openai.AuthenticationError, match="api-token"):
        stranger.models.list()


def test_a_key_of_the_owners_making_may_chat_but_not_manage(
    client: OpenAI, node: NodeProcess
) -> None:
    made = node.client().call(requests.new_grant(control.NewKey("openai-test")))
    friend = client.with_options(api_key=made.secret)
    assert friend.chat.completions.create(model="starter", messages=ask("hello")).choices
    with pytest.raises(openai.PermissionDeniedError):
        friend.get("/../node/v1/status", cast_to=object)


def test_closing_a_stream_ends_its_job(client: OpenAI, node: NodeProcess) -> None:
    with client.chat.completions.create(
        model="starter", messages=ask("tell me a joke"), stream=True, extra_body={"min_p": 0.0}
    ) as stream:
        next(iter(stream))
    deadline = time.monotonic() + 10
    while (status := node.client().call(requests.status())).jobs_running:
        assert time.monotonic() < deadline, status
        time.sleep(0.02)


def test_many_threads_are_answered_at_once(client: OpenAI) -> None:
    answers: list[str] = []

    def once(number: int) -> None:
        answer = client.chat.completions.create(
            model="starter", messages=ask("tell me a joke"), seed=number, max_tokens=30
        )
        answers.append(answer.choices[0].message.content or "")

    threads = [threading.Thread(target=once, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(answers) == 8
    assert all(answers)
