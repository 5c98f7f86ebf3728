"""Connections: clients that stall, hurry, vanish or come in crowds never hold up the node."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing

from node.api import connection, server
from protocols.jobs import Ended, Piece, Started, Usage
from tests.node.api.house import LIMIT_S, Api, Script, an_api

CHAT = "/v1/chat/completions"
ASK = b'{"stream":true,"messages":[{"role":"user","content":"hi"}]}'


async def connect(api: Api) -> trio.SocketStream:
    host, port = api.url.removeprefix("http://").split(":")
    return await trio.open_tcp_stream(host, int(port))


def post(api: Api, body: bytes, *headers: str) -> bytes:
    lines = [
        f"POST {CHAT} HTTP/1.1",
        "Host: localhost",
        f"Authorization: Bearer {api.token}",
        "Content-Type: application/json",
        *headers,
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def with_length(api: Api, body: bytes) -> bytes:
    return post(api, body, f"Content-Length: {len(body)}")


async def read_until(stream: trio.SocketStream, end: bytes) -> bytes:
    found = b""
    with trio.fail_after(LIMIT_S):
        while end not in found:
            more = await stream.receive_some(65536)
            assert more, found
            found += more
    return found


async def flood(script: Script) -> None:
    await script.say(Started(1))
    while True:
        await script.say(Piece("x" * 100_000))


async def test_a_client_that_does_not_read_does_not_hold_up_the_stop(tmp_path: Path) -> None:
    with trio.fail_after(LIMIT_S):
        async with an_api(tmp_path / "home") as api:
            api.serving.play = flood
            stream = await connect(api)
            await stream.send_all(with_length(api, ASK))
            await read_until(stream, b"xxx")
            await trio.testing.wait_all_tasks_blocked(0.05)
            began = trio.current_time()
        assert trio.current_time() - began < 2
        await stream.aclose()


async def test_a_client_that_takes_nothing_for_long_is_dropped_and_its_job_ends(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "SEND_S", 0.2)
    api.serving.play = flood
    stream = await connect(api)
    async with stream:
        await stream.send_all(with_length(api, ASK))
        await read_until(stream, b"xxx")
        with trio.fail_after(LIMIT_S):
            await api.serving.left[api.serving.jobs[0].id].wait()


async def test_requests_that_come_together_are_answered_in_order(api: Api) -> None:
    stream = await connect(api)
    async with stream:
        get = (
            f"GET /v1/models/starter HTTP/1.1\r\nHost: localhost\r\n"
            f"Authorization: Bearer {api.token}\r\n\r\n"
        ).encode()
        await stream.send_all(get + get.replace(b"starter", b"vectors") + with_length(api, ASK))
        found = await read_until(stream, b"[DONE]")
    assert found.index(b'"id":"starter"') < found.index(b'"id":"vectors"') < found.index(b"Hello")


async def test_a_body_in_chunks_and_one_that_waits_to_be_asked_for(api: Api) -> None:
    stream = await connect(api)
    async with stream:
        head = post(api, b"", "Transfer-Encoding: chunked", "Expect: 100-continue")
        await stream.send_all(head)
        await read_until(stream, b"100 ")
        half = len(ASK) // 2
        for part in (ASK[:half], ASK[half:], b""):
            await stream.send_all(b"%x\r\n%s\r\n" % (len(part), part))
        assert b"Hello" in await read_until(stream, b"[DONE]")


async def test_a_connection_that_says_nothing_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "KEEP_ALIVE_S", 0.1)
    async with an_api(tmp_path / "home") as api:
        for said in (b"", b"GET /v1/models HT"):
            stream = await connect(api)
            async with stream:
                if said:
                    await stream.send_all(said)
                with trio.fail_after(LIMIT_S):
                    assert await stream.receive_some() == b""


async def test_a_crowd_that_asks_nothing_gives_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "CONNECTIONS", 3)
    async with an_api(tmp_path / "home") as api:
        streams = [await connect(api) for _ in range(3)]
        for stream in streams:
            await stream.send_all(b"GET /healthz HTTP/1.1\r\nHost: half of a head")
        assert (await api.get("/healthz")).text == "ok\n"
        with trio.fail_after(LIMIT_S), suppress(trio.BrokenResourceError):
            assert await streams[0].receive_some() == b""
        for stream in streams:
            await stream.aclose()


async def test_a_crowd_of_answers_is_bounded_and_none_is_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "CONNECTIONS", 3)
    gate = trio.Event()

    async def play(script: Script) -> None:
        await script.say(Started(1), Piece("begun"))
        await gate.wait()
        await script.say(Ended("stop", Usage(1, 1)))

    async with an_api(tmp_path / "home") as api:
        api.serving.play = play
        streams = [await connect(api) for _ in range(3)]
        for stream in streams:
            await stream.send_all(with_length(api, ASK))
            await read_until(stream, b"begun")
        extra = await connect(api)
        with trio.fail_after(LIMIT_S), suppress(trio.BrokenResourceError):
            assert await extra.receive_some() == b""
        gate.set()
        for stream in streams:
            await read_until(stream, b"[DONE]")
        for stream in (*streams, extra):
            await stream.aclose()


async def test_many_streams_run_side_by_side(api: Api) -> None:
    gate, waiting = trio.Event(), trio.open_memory_channel[None](20)

    async def play(script: Script) -> None:
        await script.say(Started(1))
        waiting[0].send_nowait(None)
        await gate.wait()
        await script.say(Piece("done"), Ended("stop", Usage(1, 1)))

    api.serving.play = play
    texts: list[str] = []

    async def ask() -> None:
        texts.append((await api.post(CHAT, ASK)).text)

    with trio.fail_after(LIMIT_S):
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(ask)
            for _ in range(20):
                await waiting[1].receive()
            gate.set()
    assert len(texts) == 20
    assert all("[DONE]" in text for text in texts)


async def test_a_quiet_stream_shows_that_it_lives(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.api.openai_api.QUIET_S", 0.05)
    gate = trio.Event()

    async def play(script: Script) -> None:
        await script.say(Started(1))
        await gate.wait()
        await script.say(Piece("late"), Ended("stop", Usage(1, 1)))

    api.serving.play = play
    stream = await connect(api)
    async with stream:
        await stream.send_all(with_length(api, ASK))
        await read_until(stream, b": still here")
        gate.set()
        assert b"late" in await read_until(stream, b"[DONE]")


async def test_stopping_closes_streams_and_frees_the_port(tmp_path: Path) -> None:
    async with an_api(tmp_path / "one") as api:
        api.serving.play = flood
        port = int(api.url.rsplit(":", 1)[1])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(api.post, CHAT, ASK))
            stream = await connect(api)
            await stream.send_all(with_length(api, ASK))
            await read_until(stream, b"xxx")
            nursery.cancel_scope.cancel()
        await stream.aclose()
    async with an_api(tmp_path / "two", port=port) as again:
        assert again.url.endswith(f":{port}")


async def test_who_offers_http2_is_answered_in_http1(api: Api) -> None:
    """Java's client and `curl --http2` offer it with every request."""
    offer = "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQ"
    lines = ["GET /healthz HTTP/1.1", "Host: localhost", *offer]
    stream = await connect(api)
    async with stream:
        await stream.send_all("\r\n".join(lines).encode() + b"\r\n\r\n")
        answer = await read_until(stream, b"ok\n")
    assert answer.startswith(b"HTTP/1.1 200")
