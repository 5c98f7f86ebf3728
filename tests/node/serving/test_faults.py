"""What happens to jobs when the worker is killed, aborts, hangs or cannot be loaded."""

import os
import signal
import time
from pathlib import Path

import pytest
import trio

from node.serving import JobFailed
from node.serving.breaker import Breaker
from protocols.jobs import Ended, Failed, Piece, Started
from tests.node.serving.kit import (
    OWNER,
    Log,
    Shelf,
    ask,
    chat,
    last_of,
    served,
    text_of,
    until,
    worker_pids,
)

LONG = "one two three four five six seven eight nine ten " * 20


def died(last: Ended | Failed) -> Failed:
    assert isinstance(last, Failed)
    assert last.code == "worker_died"
    assert last.retry
    return last


async def test_a_worker_killed_in_the_middle_of_an_answer_fails_it_and_the_next_is_answered(
    shelf: Shelf,
) -> None:
    shelf.add("m", {"match": "long", "reply": LONG, "delay_s": 0.01}, {"reply": "fine"})
    log, job = Log(), chat("long")
    async with served(shelf, log) as serving:
        async with serving.submit(job, OWNER) as answer:
            events = []
            async for event in answer:
                events.append(event)
                if isinstance(event, Piece) and len(events) == 2:
                    os.kill(worker_pids()[0], signal.SIGKILL)
        assert text_of(events).startswith("one")
        assert "SIGKILL" in died(last_of(events)).message
        text, last = await ask(serving, chat("short"))
        assert text == "fine"
        assert isinstance(last, Ended)
        statistics = serving.statistics()
        assert statistics.worker_deaths == 1
        assert statistics.outcomes["failed.worker_died"] == 1
    assert log.kinds(job.id) == ["job.admitted", "job.routed", "job.failed"]
    (death,) = log.facts("worker.died")
    assert death["returncode"] == -signal.SIGKILL


async def test_a_job_without_an_answer_yet_is_run_again_on_a_fresh_worker(shelf: Shelf) -> None:
    shelf.add("m", {"reply": "never", "delay_s": 60})
    log, job = Log(), chat("hello", seed=11)
    async with served(shelf, log) as serving, serving.submit(job, OWNER) as answer:
        await until(serving.loaded)
        shelf.rewrite("m", {"reply": "second time lucky"})
        os.kill(worker_pids()[0], signal.SIGKILL)
        events = [event async for event in answer]
    assert [event.seed for event in events if isinstance(event, Started)] == [11]
    assert text_of(events) == "second time lucky"
    assert isinstance(last_of(events), Ended)
    assert log.kinds(job.id) == ["job.admitted", "job.routed", "job.retried", "job.ended"]


async def test_an_answer_that_is_wanted_whole_is_begun_again_in_its_middle(shelf: Shelf) -> None:
    shelf.add("m", {"reply": "one two three four", "delay_s": 0.05})
    log, job = Log(), chat("hello", seed=11)
    async with served(shelf, log) as serving, serving.submit(job, OWNER, whole=True) as answer:
        await until(lambda: answer.so_far.completion_tokens >= 2)
        with pytest.raises(trio.WouldBlock):
            answer.receive_nowait()
        os.kill(worker_pids()[0], signal.SIGKILL)
        events = [event async for event in answer]
    assert text_of(events) == "one two three four"
    last = last_of(events)
    assert isinstance(last, Ended)
    assert last.usage.completion_tokens == 4
    assert len(log.facts("job.retried", job.id)) == 1


@pytest.mark.parametrize("how", ["abort", "exit"])
async def test_a_job_that_always_kills_its_worker_fails_clearly_after_the_retries(
    shelf: Shelf, how: str
) -> None:
    shelf.add("m", {"match": "poison", "then": how}, {"reply": "fine"})
    log, job = Log(), chat("poison")
    async with served(shelf, log) as serving:
        text, last = await ask(serving, job)
        assert text == ""
        assert ("SIGABRT" if how == "abort" else "status 3") in died(last).message
        assert (await ask(serving, chat("hello")))[0] == "fine"
    assert len(log.facts("job.retried", job.id)) == 2
    assert len(log.facts("worker.died")) == 3


async def test_a_job_that_kills_its_worker_does_not_take_its_neighbours_with_it(
    shelf: Shelf,
) -> None:
    shelf.add(
        "m",
        {"match": "poison", "then": "abort"},
        {"match": "slow", "reply": "still here", "delay_s": 0.02},
    )
    ends: dict[str, tuple[str, Ended | Failed]] = {}
    async with served(shelf, parallel=4) as serving, trio.open_nursery() as nursery:

        async def one(text: str, name: str) -> None:
            ends[name] = await ask(serving, chat(text))

        nursery.start_soon(one, "poison", "poison")
        for number in range(6):
            nursery.start_soon(one, "slow", f"slow{number}")
    died(ends.pop("poison")[1])
    assert len(ends) == 6
    for name, (text, last) in ends.items():
        # Only one whose first words were already read cannot be run again.
        assert isinstance(last, Ended) or text, (name, last)


async def test_a_worker_that_hangs_is_ended_in_time(shelf: Shelf) -> None:
    shelf.add("m", {"match": "hang", "reply": "a b c", "then": "hang", "after": 1}, {"reply": "ok"})
    log = Log()
    async with served(shelf, log, hang_s=0.5) as serving:
        assert (await ask(serving, chat("hello")))[0] == "ok"
        began = trio.current_time()
        text, last = await ask(serving, chat("hang"))
        assert trio.current_time() - began < 5
        assert text == "a"
        assert "hung" in died(last).message
        assert (await ask(serving, chat("hello")))[0] == "ok"
        assert serving.statistics().worker_hangs == 1
    assert log.facts("worker.hung")[0]["silent_s"] >= 0.5


async def test_a_frozen_worker_counts_as_hanging(shelf: Shelf) -> None:
    shelf.add("m", {"match": "long", "reply": LONG, "delay_s": 0.01})
    async with served(shelf, hang_s=0.5) as serving, serving.submit(chat("long"), OWNER) as answer:
        await answer.receive()
        await answer.receive()
        os.kill(worker_pids()[0], signal.SIGSTOP)
        with trio.fail_after(10):
            events = [event async for event in answer]
    assert "hung" in died(last_of(events)).message


async def test_a_node_that_stood_still_itself_does_not_blame_the_worker(shelf: Shelf) -> None:
    shelf.add("m", {"reply": "one two three four five six", "delay_s": 0.6})
    async with served(shelf, hang_s=1.0) as serving, serving.submit(chat("x"), OWNER) as answer:
        await answer.receive()
        time.sleep(2.5)  # noqa: ASYNC251 - the node's event loop is stopped, the worker is not
        events = [event async for event in answer]
        assert isinstance(last_of(events), Ended)
        assert serving.statistics().worker_deaths == 0


async def test_an_idle_worker_is_silent_and_lives(shelf: Shelf) -> None:
    shelf.add("m", {"reply": "ok"})
    async with served(shelf, hang_s=1.0) as serving:
        await ask(serving, chat("hello"))
        pids = worker_pids()
        await trio.sleep(1.2)
        assert (await ask(serving, chat("hello")))[0] == "ok"
        assert worker_pids() == pids


async def test_a_step_that_fails_is_tried_again_and_the_worker_lives(shelf: Shelf) -> None:
    shelf.add("m", {"match": "bad", "then": "error"}, {"reply": "ok"})
    log, job = Log(), chat("bad")
    async with served(shelf, log) as serving:
        _, last = await ask(serving, job)
        assert isinstance(last, Failed)
        assert last.code == "internal"
        assert (await ask(serving, chat("good")))[0] == "ok"
        assert serving.statistics().worker_deaths == 0
    assert len(log.facts("job.retried", job.id)) == 2


async def test_a_worker_that_dies_again_and_again_is_refused_for_a_while(shelf: Shelf) -> None:
    shelf.add("m", {"then": "abort"})
    async with served(shelf) as serving:
        for _ in range(2):
            died((await ask(serving, chat("x")))[1])
        _, last = await ask(serving, chat("x"))
        assert isinstance(last, Failed)
        assert last.code == "model_failed"
        assert last.retry
        assert "in a row" in last.message
        assert worker_pids() == []


async def test_a_model_that_cannot_be_loaded_says_why(shelf: Shelf) -> None:
    shelf.add("m", load={"error": "the tensors are all wrong"})
    async with served(shelf) as serving:
        _, last = await ask(serving, chat("x"))
        assert isinstance(last, Failed)
        assert last.code == "model_failed"
        assert "the tensors are all wrong" in last.message
        with pytest.raises(JobFailed, match="all wrong"):
            await serving.load("m")
        assert serving.state("m") == "unloaded"
        await until(lambda: serving.statistics().memory_used == 0)
        shelf.rewrite("m", {"reply": "mended"})
        assert (await ask(serving, chat("x")))[0] == "mended"


async def test_a_model_that_runs_out_of_memory_while_loading_says_so(shelf: Shelf) -> None:
    shelf.add("m", load={"error": "no room for the cache", "out_of_memory": True})
    async with served(shelf) as serving:
        _, last = await ask(serving, chat("x"))
    assert isinstance(last, Failed)
    assert last.code == "out_of_memory"


async def test_a_worker_that_dies_while_it_loads_fails_the_job_after_the_retries(
    shelf: Shelf,
) -> None:
    shelf.add("m", load={"then": "abort"})
    async with served(shelf) as serving:
        last = died((await ask(serving, chat("x")))[1])
    assert "while it loaded" in last.message


async def test_a_load_that_takes_too_long_is_ended(shelf: Shelf) -> None:
    shelf.add("m", load={"then": "hang"})
    async with served(shelf, load_timeout_s=0.3) as serving:
        with trio.fail_after(5):
            _, last = await ask(serving, chat("x"))
        assert isinstance(last, Failed)
        assert last.code == "model_failed"
        assert "load_timeout_s" in last.message
        await until(lambda: worker_pids() == [])


async def test_a_worker_that_cannot_be_started_is_a_clear_failure(
    shelf: Shelf, tmp_path: Path
) -> None:
    from node.serving import Launcher

    shelf.add("m")
    async with served(shelf, launcher=Launcher((str(tmp_path / "nothing"),))) as serving:
        _, last = await ask(serving, chat("x"))
    assert isinstance(last, Failed)
    assert last.code == "model_failed"
    assert "cannot be started" in last.message


async def test_a_mistake_of_ours_fails_the_job_and_not_the_node(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf.add("m", {"reply": "ok"})
    async with served(shelf) as serving:
        with monkeypatch.context() as broken:
            broken.setattr(Breaker, "delay_s", lambda self, now: 1 / 0)
            died((await ask(serving, chat("x")))[1])
        shelf.broken = ZeroDivisionError("ours")
        _, last = await ask(serving, chat("x"))
        assert isinstance(last, Failed)
        assert last.code == "internal"
        assert "ours" not in last.message
        shelf.broken = None
        assert (await ask(serving, chat("x")))[0] == "ok"
