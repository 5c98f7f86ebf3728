"""The other endpoints under /v1: models, completions, embeddings."""

from __future__ import annotations

import base64
import json
import struct

import pytest

from protocols.jobs import Complete, Embed, Ended, Piece, Started, TokenLogprob, Usage
from tests.node.api.house import Api, FakeLibrary, FakeModel, Script
from tests.node.api.test_chat import events_of

COMPLETE = "/v1/completions"
EMBED = "/v1/embeddings"


async def test_the_models_are_listed(api: Api) -> None:
    body = (await api.get("/v1/models")).json()
    assert body["object"] == "list"
    assert body["data"][0] == {
        "id": "starter",
        "created": 1,
        "owned_by": "kith",
        "object": "model",
    }


async def test_a_model_whose_file_is_gone_is_not_offered(api: Api) -> None:
    assert isinstance(api.parts.library, FakeLibrary)
    api.parts.library.models.append(FakeModel("gone", missing=True))
    names = [each["id"] for each in (await api.get("/v1/models")).json()["data"]]
    assert names == ["starter", "vectors"]


async def test_one_model_and_an_unknown_one(api: Api) -> None:
    assert (await api.get("/v1/models/starter")).json()["id"] == "starter"
    missing = await api.get("/v1/models/nope")
    assert missing.status_code == 404
    assert missing.json()["error"]["code"] == "model_not_found"


async def test_a_whole_completion(api: Api) -> None:
    body = (await api.post(COMPLETE, {"prompt": "Once", "echo": True})).json()
    assert body["object"] == "text_completion"
    assert body["id"].startswith("cmpl-")
    assert body["choices"] == [
        {"index": 0, "text": "Hello world", "finish_reason": "stop", "logprobs": None}
    ]
    assert body["usage"]["completion_tokens"] == 2
    work = api.serving.jobs[0].work
    assert isinstance(work, Complete)
    assert (work.prompt, work.echo, work.sampling.max_tokens) == ("Once", True, 16)


async def test_a_streamed_completion(api: Api) -> None:
    ask = {"prompt": ["Once"], "stream": True, "stream_options": {"include_usage": True}}
    chunks = events_of((await api.post(COMPLETE, ask)).content)
    assert [chunk["choices"][0]["text"] for chunk in chunks[:-1]] == ["Hello", " world", ""]
    assert chunks[-2]["choices"][0]["finish_reason"] == "stop"
    assert (chunks[-1]["choices"], chunks[-1]["usage"]["total_tokens"]) == ([], 5)


async def test_token_ids_are_a_prompt(api: Api) -> None:
    for prompt in ([5, 6], [[5, 6]]):
        assert (await api.post(COMPLETE, {"prompt": prompt})).status_code == 200
    works = [job.work for job in api.serving.jobs]
    assert [work.prompt for work in works if isinstance(work, Complete)] == [(5, 6), (5, 6)]


async def test_logprobs_of_completions_have_their_offsets(api: Api) -> None:
    async def play(script: Script) -> None:
        for text in ("ab", "c"):
            told = TokenLogprob(text, -0.5, text.encode(), (("x", -1.0, b"x"),))
            await script.say(Piece(text, (1,), (told,)))
        await script.say(Ended("stop", Usage(1, 2)))

    async def started(script: Script) -> None:
        await script.say(Started(1))
        await play(script)

    api.serving.play = started
    ask = {"prompt": "x", "logprobs": 1}
    wanted = {
        "tokens": ["ab", "c"],
        "token_logprobs": [-0.5, -0.5],
        "top_logprobs": [{"x": -1.0}, {"x": -1.0}],
        "text_offset": [0, 2],
    }
    whole = (await api.post(COMPLETE, ask)).json()
    assert whole["choices"][0]["logprobs"] == wanted
    chunks = events_of((await api.post(COMPLETE, {**ask, "stream": True})).content)
    assert chunks[1]["choices"][0]["logprobs"]["text_offset"] == [2]


@pytest.mark.parametrize(("given", "inputs"), [("abc", ("abc",)), (["a", "bcd"], ("a", "bcd"))])
async def test_embeddings_as_numbers_and_as_base64(
    api: Api, given: object, inputs: tuple[str, ...]
) -> None:
    plain = (await api.post(EMBED, {"input": given, "model": "vectors"})).json()
    assert plain["model"] == "vectors"
    assert [each["embedding"] for each in plain["data"]] == [
        [float(len(text)), 0.5, -1.0] for text in inputs
    ]
    assert [each["index"] for each in plain["data"]] == list(range(len(inputs)))
    assert plain["usage"]["prompt_tokens"] == 4
    packed = (await api.post(EMBED, {"input": given, "encoding_format": "base64"})).json()
    first = base64.b64decode(packed["data"][0]["embedding"])
    assert struct.unpack("<3f", first) == (float(len(inputs[0])), 0.5, -1.0)


async def test_dimensions_reach_the_job(api: Api) -> None:
    await api.post(EMBED, {"input": "a", "dimensions": 64})
    assert api.serving.jobs[0].work == Embed(("a",), 64)


async def test_the_fingerprint_changes_with_the_model_only(api: Api) -> None:
    async def of(model: str) -> str:
        body = json.loads((await api.post(COMPLETE, {"prompt": "x", "model": model})).content)
        return str(body["system_fingerprint"])

    assert await of("starter") == await of("default") == await of("")
    assert await of("starter") != await of("vectors")
