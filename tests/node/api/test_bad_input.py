"""Whatever is sent: a clear error in OpenAI's shape, no job, and a node that goes on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.node.api.house import Api, an_api

CHAT = "/v1/chat/completions"
COMPLETE = "/v1/completions"
EMBED = "/v1/embeddings"
USER = {"role": "user", "content": "hi"}
DEEP = b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"

CHAT_CASES: list[tuple[dict[str, Any], str, str]] = [
    ({}, "messages", "missing"),
    ({"messages": []}, "messages", ">= 1"),
    ({"messages": "hi"}, "messages", "array"),
    ({"messages": [USER], "nonsense": 1}, "nonsense", "unknown field"),
    ({"messages": [{**USER, "extra": 1}]}, "messages[0].extra", "unknown field"),
    ({"messages": [{"role": "king", "content": "x"}]}, "messages[0].role", "king"),
    ({"messages": [{"role": "user"}]}, "messages[0].content", "missing"),
    ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content", "str"),
    ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role", "tool"),
    (
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
        "messages[0].content[0]",
        "images",
    ),
    (
        {"messages": [{"role": "user", "content": [{"type": "hologram"}]}]},
        "messages[0].content[0].type",
        "hologram",
    ),
    ({"messages": [{"role": "assistant", "tool_calls": [{}]}]}, "messages[0].tool_calls", "tools"),
    ({"messages": [USER], "function_call": {"name": "f"}}, "function_call", "tools"),
    (
        {"messages": [{"role": "user", "content": [{"type": "file"}]}]},
        "messages[0].content[0]",
        "files",
    ),
    ({"messages": [USER], "temperature": -1}, "temperature", ">= 0"),
    ({"messages": [USER], "temperature": 1e300}, "temperature", "<= 2"),
    ({"messages": [USER], "temperature": "hot"}, "temperature", "str"),
    ({"messages": [USER], "top_p": 1.5}, "top_p", "<= 1"),
    ({"messages": [USER], "max_tokens": 0}, "max_tokens", ">= 1"),
    ({"messages": [USER], "max_tokens": -5}, "max_tokens", ">= 1"),
    ({"messages": [USER], "max_completion_tokens": 10**15}, "max_completion_tokens", "<= "),
    ({"messages": [USER], "max_tokens": 1.5}, "max_tokens", "int"),
    ({"messages": [USER], "seed": 2**64}, "seed", ""),
    ({"messages": [USER], "n": 2}, "n", "only be 1"),
    ({"messages": [USER], "n": 0}, "n", ">= 1"),
    ({"messages": [USER], "logprobs": 5}, "logprobs", "bool"),
    ({"messages": [USER], "logprobs": True, "top_logprobs": 21}, "top_logprobs", "<= 20"),
    ({"messages": [USER], "top_logprobs": 3}, "top_logprobs", "logprobs"),
    ({"messages": [USER], "stop": ["a"] * 17}, "stop", "<= 16"),
    ({"messages": [USER], "stop": "x" * 257}, "stop", "256"),
    ({"messages": [USER], "presence_penalty": 3}, "presence_penalty", "<= 2"),
    ({"messages": [USER], "tools": [{"type": "function"}]}, "tools", "not served yet"),
    ({"messages": [USER], "tool_choice": "required"}, "tool_choice", "tools"),
    ({"messages": [USER], "logit_bias": {"5": 1}}, "logit_bias", "not served"),
    ({"messages": [USER], "modalities": ["audio"]}, "modalities", "text"),
    ({"messages": [USER], "store": True}, "store", "not stored"),
    ({"messages": [USER], "response_format": {"type": "yaml"}}, "response_format.type", "yaml"),
    (
        {"messages": [USER], "response_format": {"type": "json_schema"}},
        "response_format",
        "json_schema",
    ),
    ({"messages": [USER], "stream_options": {"x": 1}}, "stream_options.x", "unknown field"),
    ({"messages": [USER], "stream": "yes"}, "stream", "bool"),
    ({"messages": [USER], "model": 5}, "model", "str"),
    ({"messages": [USER], "model": "m" * 300}, "model", "<= 256"),
]
OTHER_CASES: list[tuple[str, dict[str, Any], str, str]] = [
    (COMPLETE, {"prompt": ["a", "b"]}, "prompt", "one prompt"),
    (COMPLETE, {"prompt": []}, "prompt", "one prompt"),
    (COMPLETE, {"prompt": [-1]}, "prompt", ">= 0"),
    (COMPLETE, {"prompt": {"a": 1}}, "prompt", "object"),
    (COMPLETE, {"prompt": "x", "suffix": "y"}, "suffix", "not served"),
    (COMPLETE, {"prompt": "x", "best_of": 3}, "best_of", "only be 1"),
    (COMPLETE, {"prompt": "x", "logprobs": -1}, "logprobs", ">= 0"),
    (EMBED, {}, "input", "missing"),
    (EMBED, {"input": []}, "input", ">= 1"),
    (EMBED, {"input": ""}, "input", "empty"),
    (EMBED, {"input": [1, 2]}, "input", "token ids"),
    (EMBED, {"input": [[1, 2]]}, "input", "token ids"),
    (EMBED, {"input": ["a"] * 2049}, "input", "2048"),
    (EMBED, {"input": "a", "dimensions": 0}, "dimensions", ">= 1"),
    (EMBED, {"input": "a", "encoding_format": "hex"}, "encoding_format", "hex"),
]
BODIES: list[bytes] = [
    b"",
    b"{",
    b"null",
    b"[]",
    b'"text"',
    b"\xff\xfe",
    b'{"messages": [NaN]}',
    b'{"messages": [{"role":"user","content":"\\ud800"}]}',
    b"\x00",
    DEEP,
    b'{"messages":' + b"[" * 100_000,
    b'{"temperature":1e999,"messages":[]}',
    b'{"seed":' + b"9" * 10_000 + b"}",
]


def check(answer: Any, param: str | None, words: str) -> None:
    assert answer.status_code == 400, answer.text
    assert answer.headers["content-type"] == "application/json"
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"
    assert words in error["message"]
    if param is not None:
        assert (error["param"] or "").startswith(param)


async def test_a_wrong_chat_names_the_field_and_the_reason(api: Api) -> None:
    for body, param, words in CHAT_CASES:
        check(await api.post(CHAT, body), param, words)
    assert api.serving.jobs == []


async def test_wrong_completions_and_embeddings_too(api: Api) -> None:
    for path, body, param, words in OTHER_CASES:
        check(await api.post(path, body), param, words)
    assert api.serving.jobs == []


@pytest.mark.parametrize("path", [CHAT, EMBED])
async def test_what_is_no_such_json_is_told_so(api: Api, path: str) -> None:
    for body in BODIES:
        check(await api.post(path, body), None, "")
    assert api.serving.jobs == []


async def test_a_schema_that_is_too_deep_or_too_large_is_refused(api: Api) -> None:
    deep: dict[str, Any] = {}
    for _ in range(60):
        deep = {"a": deep}
    for schema, words in ((deep, "deeper"), ({"a": "x" * 70_000}, "larger")):
        wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
        answer = await api.post(CHAT, {"messages": [USER], "response_format": wanted})
        check(answer, "response_format.json_schema.schema", words)


async def test_nul_bytes_in_a_text_go_through_as_text(api: Api) -> None:
    ask = {"messages": [{"role": "user", "content": "a\x00b"}]}
    assert (await api.post(CHAT, ask)).status_code == 200
    made = (await api.post("/node/v1/conversations", {"title": "a\x00b"})).json()
    assert (await api.get(f"/node/v1/conversations/{made['id']}")).json()["title"] == "a\x00b"


@pytest.mark.parametrize("name", ["../../etc/passwd", "a\x00b", "x" * 5000, "%", "<b>", "\n"])
async def test_strange_model_names_are_only_unknown(api: Api, name: str) -> None:
    answer = await api.http.get("/v1/models/" + name.encode().hex("%", 1), headers=api.auth)
    assert answer.status_code == 404
    answer = await api.post(CHAT, {"messages": [USER], "model": name})
    assert answer.status_code in (400, 404)


@pytest.mark.parametrize(
    "query",
    [
        "after=x",
        "after=-2",
        "limit=0",
        "limit=100000",
        "nonsense=1",
        "limit=%ff",
        "&" * 100 + "limit=",
    ],
)
async def test_a_wrong_query_is_told(api: Api, query: str) -> None:
    answer = await api.get(f"/node/v1/events?{query}")
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "bad_request"


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)
known = st.sampled_from(
    [
        "messages",
        "model",
        "prompt",
        "input",
        "stop",
        "n",
        "stream",
        "seed",
        "max_tokens",
        "temperature",
        "response_format",
        "tools",
        "logprobs",
        "stream_options",
        "text",
        "name",
    ]
)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    path=st.sampled_from(
        [CHAT, COMPLETE, EMBED, "/node/v1/conversations", "/node/v1/grants", "/node/v1/models/pull"]
    ),
    body=st.binary(max_size=60) | st.dictionaries(known, values, max_size=5).map(json.dumps),
)
def test_no_body_makes_the_node_stumble(tmp_path_factory: Any, path: str, body: Any) -> None:
    """Every answer is below 500 and in shape."""
    data = body if isinstance(body, bytes) else body.encode()
    root: Path = tmp_path_factory.mktemp("fuzz") / "home"

    async def ask() -> None:
        async with an_api(root) as api:
            answer = await api.post(path, data)
            assert answer.status_code < 500, answer.text
            if answer.status_code >= 400:
                assert answer.json()["error"]["message"]

    trio.run(ask)
