"""The client without I/O: right calls, right answers, and an ApiProblem for everything else."""

from __future__ import annotations

import json

import msgspec
import pytest

from protocols.http import control, openai, requests
from protocols.http.requests import ApiProblem

KEY = control.Key("g1", "n", "device", "device", ("chat",), 0.0, None)


def test_names_are_quoted_in_paths() -> None:
    assert requests.model("a/b c?").path == "/node/v1/models/a%2Fb%20c%3F"


def test_queries_hold_what_was_given() -> None:
    assert (
        requests.events(after=3, kind="job.").path == "/node/v1/events?after=3&limit=100&kind=job."
    )
    assert requests.conversations(5, before=1.5).path == "/node/v1/conversations?limit=5&before=1.5"


def test_a_body_is_json_and_the_token_a_bearer() -> None:
    request = requests.new_grant(control.NewKey("laptop"))
    assert request.method == "POST"
    assert json.loads(request.body or b"")["name"] == "laptop"
    headers = request.headers("secret")
    assert headers["authorization"] == "Bearer secret"
    assert headers["content-type"] == "application/json"


def test_without_a_body_no_type_is_sent() -> None:
    assert "content-type" not in requests.status().headers()
    assert "authorization" not in requests.status().headers()


def test_an_answer_becomes_its_type() -> None:
    body = msgspec.json.encode(control.MadeKey(KEY, "s"))
    assert requests.new_grant(control.NewKey("n")).read(200, body) == control.MadeKey(KEY, "s")


def test_fields_of_a_newer_node_are_ignored() -> None:
    body = b'{"grants":[],"newer":1}'
    assert requests.grants().read(200, body) == control.KeyList(())


def test_an_error_is_raised_with_its_words() -> None:
    body = b'{"error":{"message":"no such model","type":"x","param":null,"code":"model_not_found","hint":"do y"}}'
    with pytest.raises(ApiProblem, match="no such model") as caught:
        requests.model("x").read(404, body)
    assert caught.value.status == 404
    assert caught.value.problem == control.Problem("model_not_found", "no such model", "do y")


@pytest.mark.parametrize("body", [b"", b"<html>", b"\xff", b'{"error":5}', b"[" * 100_000, b"null"])
def test_an_error_that_is_not_ours_can_still_be_shown(body: bytes) -> None:
    with pytest.raises(ApiProblem) as caught:
        requests.status().read(502, body)
    assert caught.value.problem.code == "http_502"
    assert caught.value.problem.message


@pytest.mark.parametrize("body", [b"", b"{}", b"[", b'{"version":1}', b"\xff"])
def test_a_strange_answer_is_a_problem_not_a_crash(body: bytes) -> None:
    with pytest.raises(ApiProblem, match="cannot be read"):
        requests.status().read(200, body)


def test_a_stream_gives_typed_events() -> None:
    request = requests.say("c1", control.Say("hello"))
    assert request.path == "/node/v1/conversations/c1/messages"
    reader = request.events()
    assert list(reader.feed(b'data: {"type":"text","te')) == []
    assert list(reader.feed(b'xt":"hi"}\n\n')) == [control.AnswerText("hi")]


def test_a_chat_stream_ends_with_done() -> None:
    request = requests.chat_stream(openai.ChatRequest(messages=(openai.ChatMessage(role="user"),)))
    assert json.loads(request.body or b"") == {"messages": [{"role": "user"}], "stream": True}
    reader = request.events()
    chunk = openai.ChatChunk("c", 1, "m", ())
    assert list(reader.feed(b"data: %s\n\n" % msgspec.json.encode(chunk))) == [chunk]
    assert not reader.done
    assert list(reader.feed(b"data: [DONE]\n\n")) == []
    assert reader.done


def test_an_error_inside_a_stream_is_raised() -> None:
    reader = requests.watch_transfer("t").events()
    body = msgspec.json.encode(
        openai.ErrorAnswer(openai.ErrorBody("gone", "t", code="worker_died"))
    )
    with pytest.raises(ApiProblem, match="gone") as caught:
        list(reader.feed(b"data: " + body + b"\n\n"))
    assert caught.value.problem.code == "worker_died"


@pytest.mark.parametrize("bad", [b"data: {\n\n", b"data: \xff\n\n", b"data: 5\n\n"])
def test_a_broken_stream_is_a_problem(bad: bytes) -> None:
    with pytest.raises(ApiProblem):
        list(requests.watch_transfer("t").events().feed(bad))


def test_an_export_is_text() -> None:
    request = requests.export_conversation("c", "json")
    assert request.path == "/node/v1/conversations/c/export?format=json"
    assert request.read(200, "ä".encode()) == "ä"


def test_what_answers_with_nothing_reads_as_none() -> None:
    assert requests.delete_conversation("c").read(204, b"") is None
    assert requests.stop().read(202, b"{}") is None


def test_openais_requests_ask_whole_or_streamed() -> None:
    chat = openai.ChatRequest(messages=(openai.ChatMessage(role="user", content="x"),), stream=True)
    assert "stream" not in json.loads(requests.chat(chat).body or b"")
    text = openai.CompletionRequest(prompt="x")
    assert json.loads(requests.complete(text).body or b"") == {"prompt": "x"}
    assert json.loads(requests.complete_stream(text).body or b"")["stream"] is True
    assert requests.embed(openai.EmbeddingRequest(input="x")).path == "/v1/embeddings"


def test_an_error_that_is_only_a_word_is_shown() -> None:
    assert requests.read_problem(500, b'{"error":"boom"}') == control.Problem("http_500", "boom")
    assert requests.health().read(200, b"ok\n") == "ok\n"


def test_a_stream_that_was_refused_is_a_problem() -> None:
    problem = requests.watch_transfer("t").problem(404, b'{"error":{"message":"no"}}')
    assert (problem.status, str(problem)) == (404, "no")
