"""The same with llama.cpp inside the worker, the library and the event log of a real home."""

import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trio

from node import content, events, store
from node.config import ContentSettings, Settings
from node.home import Home
from node.serving import Serving, open_serving
from protocols.jobs import Chat, Ended, Event, Failed, Job, Message, Piece, Sampling, Started
from tests.node.serving.kit import (
    OWNER,
    ask,
    last_of,
    read_all,
    settings,
    text_of,
    until,
    worker_pids,
)
from tests.support.gguf_maker import tiny_llama

pytestmark = pytest.mark.native


@dataclass(frozen=True)
class Node:
    serving: Serving
    library: content.Library
    log: events.EventLog


@asynccontextmanager
async def node(root: Path, **serving: Any) -> AsyncIterator[Node]:
    """The lower rooms and serving, over a random model named 'tiny'."""
    home, wishes = Home(root), settings(**serving)
    home.prepare()
    state = (*events.MIGRATIONS, *content.MIGRATIONS)
    with trio.fail_after(120), store.open_store(home, state, content.INDEX_MIGRATIONS) as opened:
        log = events.EventLog(opened.state)
        library = await content.open_library(
            home, ContentSettings(), opened, log, default="starter"
        )
        await library.add(tiny_llama(root / "tiny.gguf"), name="tiny")
        async with open_serving(Settings(serving=wishes.serving), library, log) as part:
            yield Node(part, library, log)
    assert worker_pids() == []


_number = iter(range(10_000))


def tell(text: str, tokens: int, model: str = "tiny", seed: int = 1) -> Job:
    """Something a random model answers with so many tokens, unless it ends by itself."""
    work = Chat((Message("user", text),), Sampling(max_tokens=tokens, seed=seed))
    return Job(f"real-{next(_number)}", work, model)


async def pieces(answer: trio.abc.ReceiveChannel[Event], count: int) -> list[Event]:
    got: list[Event] = []
    async for event in answer:
        got.append(event)
        if sum(isinstance(each, Piece) for each in got) >= count:
            break
    return got


async def test_a_real_model_answers_the_same_with_the_same_seed(tmp_path: Path) -> None:
    async with node(tmp_path) as here:
        first, second, other = [
            await ask(here.serving, tell("hello", 24, seed=seed)) for seed in (5, 5, 6)
        ]
        assert isinstance(first[1], Ended)
        assert first[0] == second[0]
        assert first[0] != other[0]
        assert first[1].usage.completion_tokens <= 24
        count = await here.serving.count("tiny", (Message("user", "hello"),))
        assert count == first[1].usage.prompt_tokens
        (started,) = await here.log.read(kind="worker.started")
        assert "llama.cpp" in started.facts["build"]
        assert started.facts["memory"] > 0
        assert await here.log.verify() is None


async def test_the_starter_tells_a_joke(tmp_path: Path) -> None:
    async with node(tmp_path) as here:
        job = Job("joke", Chat((Message("user", "tell me a joke"),), Sampling(seed=3)), "starter")
        text, last = await ask(here.serving, job)
        assert isinstance(last, Ended), last
        assert last.finish == "stop"
        assert len(text) > 20


async def test_a_killed_llama_worker_is_replaced_by_a_fresh_one(tmp_path: Path) -> None:
    async with node(tmp_path) as here:
        async with here.serving.submit(tell("go on", 4000), OWNER) as answer:
            before = await pieces(answer, 2)
            os.kill(worker_pids()[0], signal.SIGKILL)
            rest = [event async for event in answer]
        last = last_of([*before, *rest])
        assert isinstance(last, Failed)
        assert (last.code, last.retry) == ("worker_died", True)
        _, after = await ask(here.serving, tell("hello", 8))
        assert isinstance(after, Ended)


async def test_a_llama_worker_killed_before_the_answer_is_not_noticed_by_the_reader(
    tmp_path: Path,
) -> None:
    async with node(tmp_path, parallel=1) as here:
        wanted, _ = await ask(here.serving, tell("hello", 8, seed=9))
        async with here.serving.submit(tell("go on", 4000), OWNER) as busy:
            await pieces(busy, 1)  # now the next job waits inside the worker
            job = tell("hello", 8, seed=9)
            async with here.serving.submit(job, OWNER) as answer:
                await until(lambda: here.serving.statistics().waiting == 1)
                os.kill(worker_pids()[0], signal.SIGKILL)
                events = [event async for event in answer]
        assert text_of(events) == wanted
        assert isinstance(last_of(events), Ended)
        assert sum(isinstance(event, Started) for event in events) == 1


async def test_a_frozen_llama_worker_is_ended(tmp_path: Path) -> None:
    async with node(tmp_path, hang_s=1.0) as here:
        async with here.serving.submit(tell("go on", 8000), OWNER) as answer:
            await pieces(answer, 1)
            os.kill(worker_pids()[0], signal.SIGSTOP)
            began = trio.current_time()
            last = last_of([event async for event in answer])
        assert isinstance(last, Failed)
        assert "hung" in last.message
        assert trio.current_time() - began < 10
        assert isinstance((await ask(here.serving, tell("hello", 4)))[1], Ended)


async def test_cancelling_a_real_answer_frees_its_place(tmp_path: Path) -> None:
    async with node(tmp_path, parallel=1) as here:
        async with here.serving.submit(tell("go on", 8000), OWNER) as answer:
            await pieces(answer, 2)
        began = trio.current_time()
        assert isinstance((await ask(here.serving, tell("hello", 4)))[1], Ended)
        assert trio.current_time() - began < 2
        assert here.serving.statistics().worker_deaths == 0


async def test_a_bad_file_is_a_clear_failure_and_the_node_lives(tmp_path: Path) -> None:
    async with node(tmp_path) as here:
        path = (await here.library.find("tiny")).path
        path.write_bytes(b"GGUF" + bytes(100))
        _, last = await ask(here.serving, tell("hello", 4))
        assert isinstance(last, Failed)
        assert last.code == "model_failed"
        _, last = await ask(here.serving, tell("tell me a joke", 40, "starter"))
        assert isinstance(last, Ended)


async def test_two_models_answer_side_by_side(tmp_path: Path) -> None:
    async with node(tmp_path) as here, trio.open_nursery() as nursery:
        ends: list[Ended | Failed] = []

        async def one(model: str) -> None:
            ends.append(last_of(await read_all(here.serving, tell("hello", 30, model))))

        for model in ("tiny", "starter") * 4:
            nursery.start_soon(one, model)
        await until(lambda: len(ends) == 8, 60)
        assert all(isinstance(last, Ended) for last in ends)
        assert here.serving.loaded() == ["starter", "tiny"]
