"""POST /v1/chat/completions, exactly as OpenAI's clients expect it."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio

from protocols.jobs import Chat, Ended, Failed, Piece, Started, TokenLogprob, Usage
from tests.node.api.house import LIMIT_S, Api, Script

PATH = "/v1/chat/completions"
ASK: dict[str, Any] = {"model": "starter", "messages": [{"role": "user", "content": "hi"}]}


def events_of(body: bytes) -> list[Any]:
    lines = [line[6:] for line in body.decode().split("\n") if line.startswith("data: ")]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


async def test_a_whole_answer(api: Api) -> None:
    answer = await api.post(PATH, ASK)
    assert answer.status_code == 200
    body = answer.json()
    job = api.serving.jobs[0]
    assert answer.headers["x-kith-job"] == job.id
    assert body["id"] == "chatcmpl-" + job.id.removeprefix("job_")
    assert body["object"] == "chat.completion"
    assert body["model"] == "starter"
    assert body["system_fingerprint"].startswith("fp_")
    assert body["choices"] == [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Hello world", "refusal": None},
            "finish_reason": "stop",
            "logprobs": None,
        }
    ]
    assert body["usage"] == {
        "prompt_tokens": 3,
        "completion_tokens": 2,
        "total_tokens": 5,
        "prompt_tokens_details": {"cached_tokens": 1},
    }


async def test_the_fingerprint_names_the_code_that_computes(api: Api) -> None:
    found = []
    for build in ("llama.cpp one", "llama.cpp one", "llama.cpp two"):
        api.serving.build = build
        found.append((await api.post(PATH, ASK)).json()["system_fingerprint"])
    assert found[0] == found[1] != found[2]


async def test_a_streamed_answer_begins_with_the_role_and_ends_with_done(api: Api) -> None:
    answer = await api.post(PATH, {**ASK, "stream": True})
    assert answer.headers["content-type"] == "text/event-stream"
    assert answer.headers["x-kith-job"] == api.serving.jobs[0].id
    chunks = events_of(answer.content)
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert len({chunk["id"] for chunk in chunks}) == 1
    choices = [chunk["choices"][0] for chunk in chunks]
    assert [choice["delta"] for choice in choices] == [
        {"role": "assistant", "content": ""},
        {"content": "Hello"},
        {"content": " world"},
        {},
    ]
    assert [choice["finish_reason"] for choice in choices] == [None, None, None, "stop"]


async def test_usage_comes_last_when_it_is_asked_for(api: Api) -> None:
    answer = await api.post(
        PATH, {**ASK, "stream": True, "stream_options": {"include_usage": True}}
    )
    *chunks, last = events_of(answer.content)
    assert all(chunk["usage"] is None for chunk in chunks)
    assert last["choices"] == []
    assert last["usage"]["total_tokens"] == 5


async def test_what_was_asked_reaches_the_job(api: Api) -> None:
    await api.post(
        PATH,
        {
            "model": "default",
            "messages": [
                {"role": "developer", "content": "be brief"},
                {
                    "role": "user",
                    "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
                },
                {"role": "assistant", "content": None, "refusal": None, "tool_calls": None},
            ],
            "temperature": 0,
            "top_p": 0.5,
            "max_tokens": 5,
            "max_completion_tokens": 7,
            "seed": -1,
            "stop": ["a", ""],
            "presence_penalty": 1,
            "frequency_penalty": -1,
            "top_k": 3,
            "logprobs": True,
            "top_logprobs": 4,
            "response_format": {"type": "json_object"},
            "n": 1,
            "user": "me",
            "tools": [],
            "metadata": {"a": "b"},
        },
    )
    job = api.serving.jobs[0]
    assert (job.model, job.label, job.asked_by) == ("starter", "device", "owner")
    assert isinstance(job.work, Chat)
    assert [(each.role, each.content) for each in job.work.messages] == [
        ("system", "be brief"),
        ("user", "ab"),
        ("assistant", ""),
    ]
    asked = job.work.sampling
    assert (asked.temperature, asked.top_p, asked.max_tokens, asked.top_k) == (0, 0.5, 7, 3)
    assert asked.seed == 2**32 - 2
    assert asked.stop == ("a",)
    assert (asked.presence_penalty, asked.frequency_penalty) == (1, -1)
    assert asked.logprobs == 4
    assert asked.json_schema == "{}"


async def test_a_schema_reaches_the_job_as_text(api: Api) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema, "strict": True}}
    await api.post(PATH, {**ASK, "response_format": wanted})
    work = api.serving.jobs[0].work
    assert isinstance(work, Chat)
    assert json.loads(work.sampling.json_schema or "") == schema


async def test_logprobs_have_their_bytes(api: Api) -> None:
    async def play(script: Script) -> None:
        told = TokenLogprob("é", -0.5, "é".encode(), (("e", -1.0, b"e"),))
        await script.say(Started(1), Piece("é", (1,), (told,)), Ended("length", Usage(1, 1)))

    api.serving.play = play
    ask = {**ASK, "logprobs": True, "top_logprobs": 1}
    wanted = {
        "token": "é",
        "logprob": -0.5,
        "bytes": [195, 169],
        "top_logprobs": [{"token": "e", "logprob": -1.0, "bytes": [101]}],
    }
    whole = (await api.post(PATH, ask)).json()
    assert whole["choices"][0]["logprobs"] == {"content": [wanted], "refusal": None}
    assert whole["choices"][0]["finish_reason"] == "length"
    chunks = events_of((await api.post(PATH, {**ask, "stream": True})).content)
    assert chunks[1]["choices"][0]["logprobs"]["content"] == [wanted]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("code", "status", "told"),
    [
        ("context_overflow", 400, "context_length_exceeded"),
        ("overloaded", 429, "overloaded"),
        ("worker_died", 503, "worker_died"),
        ("model_failed", 500, "model_failed"),
        ("out_of_memory", 503, "out_of_memory"),
        ("refused", 403, "refused"),
        ("deadline", 504, "deadline"),
        ("internal", 500, "internal"),
    ],
)
async def test_a_failure_before_the_answer_has_its_own_status(
    api: Api, stream: bool, code: Any, status: int, told: str
) -> None:
    async def play(script: Script) -> None:
        await script.say(Failed(code, "because"))

    api.serving.play = play
    answer = await api.post(PATH, {**ASK, "stream": stream})
    assert answer.status_code == status
    assert answer.json()["error"]["code"] == told
    assert "because" in answer.json()["error"]["message"]
    assert ("retry-after" in answer.headers) == (status == 429)
    assert answer.headers["x-kith-job"] == api.serving.jobs[0].id


async def test_a_failure_in_the_middle_is_the_streams_last_event(api: Api) -> None:
    async def play(script: Script) -> None:
        await script.say(Started(1), Piece("so far"), Failed("worker_died", "it was killed"))

    api.serving.play = play
    answer = await api.post(PATH, {**ASK, "stream": True})
    assert answer.status_code == 200
    last = json.loads(answer.text.strip().split("\n\n")[-1].removeprefix("data: "))
    assert last["error"]["code"] == "worker_died"
    assert last["error"]["message"] == "it was killed"
    assert "[DONE]" not in answer.text


async def test_a_failure_in_the_middle_of_a_whole_answer_is_an_error(api: Api) -> None:
    async def play(script: Script) -> None:
        await script.say(Started(1), Piece("so far"), Failed("worker_died", "it was killed"))

    api.serving.play = play
    assert (await api.post(PATH, ASK)).status_code == 503


async def test_an_answer_that_the_node_stopped_is_no_whole_answer(api: Api) -> None:
    async def play(script: Script) -> None:
        await script.say(Started(1), Piece("so"), Ended("cancelled", Usage(1, 1)))

    api.serving.play = play
    answer = await api.post(PATH, ASK)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "cancelled")


async def test_a_job_that_ends_without_a_word_is_an_error(api: Api) -> None:
    async def play(script: Script) -> None:
        await script.say(Started(1))

    api.serving.play = play
    assert (await api.post(PATH, ASK)).status_code == 500


@pytest.mark.parametrize("after_first", [False, True])
@pytest.mark.parametrize("stream", [False, True])
async def test_closing_the_connection_cancels_the_job_at_once(
    api: Api, stream: bool, after_first: bool
) -> None:
    reached = trio.Event()

    async def play(script: Script) -> None:
        if after_first:
            await script.say(Started(1), Piece("x"))
        reached.set()
        await trio.sleep_forever()

    api.serving.play = play
    with trio.fail_after(LIMIT_S):
        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                await api.post(PATH, {**ASK, "stream": stream})

            nursery.start_soon(ask)
            await reached.wait()
            nursery.cancel_scope.cancel()
        await api.serving.left[api.serving.jobs[0].id].wait()


async def test_an_unknown_model_is_not_found_and_the_nearest_is_named(api: Api) -> None:
    answer = await api.post(PATH, {**ASK, "model": "startr"})
    assert answer.status_code == 404
    error = answer.json()["error"]
    assert (error["code"], error["param"]) == ("model_not_found", "model")
    assert "startr" in error["message"]
    assert "starter" in error["message"]


async def test_a_label_may_be_asked_for_up_to_the_ceiling(api: Api) -> None:
    assert (await api.post(PATH, ASK, x_kith_label="fleet")).status_code == 200
    assert api.serving.jobs[0].label == "fleet"
    assert (await api.post(PATH, ASK, x_kith_label="nonsense")).status_code == 400
