"""Cancels, deadlines, queues, slow readers, stops: every wait has a bound and every job one end."""

import os
import signal

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from node.owner import Caller
from node.serving import JobFailed, ModelBusy, Serving
from node.store import StoreFull
from protocols.jobs import (
    Embed,
    Ended,
    Event,
    Failed,
    Job,
    Message,
    Piece,
    Started,
    Usage,
    Vectors,
)
from protocols.worker import WORKER_FRAME_BYTES
from tests.node.serving.kit import (
    OWNER,
    Log,
    Shelf,
    ask,
    chat,
    last_of,
    read_all,
    served,
    text_of,
    until,
    worker_pids,
)

LONG = "one two three four five six seven eight nine ten " * 50


def failed(last: Ended | Failed, code: str) -> Failed:
    assert isinstance(last, Failed)
    assert last.code == code
    return last


async def first_piece(answer: trio.abc.ReceiveChannel[Event]) -> Piece:
    async for event in answer:
        if isinstance(event, Piece):
            return event
    raise AssertionError("no piece came")


async def test_leaving_in_the_middle_of_an_answer_frees_its_place_at_once(shelf: Shelf) -> None:
    shelf.add("m", {"match": "long", "reply": LONG, "delay_s": 0.02}, {"reply": "next"})
    log, job = Log(), chat("long")
    async with served(shelf, log, parallel=1) as serving:
        async with serving.submit(job, OWNER) as answer:
            await first_piece(answer)
        with trio.fail_after(2):  # the whole long answer takes ten seconds
            assert (await ask(serving, chat("short")))[0] == "next"
        await until(lambda: log.facts("job.ended", job.id))
        (ended,) = log.facts("job.ended", job.id)
        assert ended["finish"] == "cancelled"
        assert 0 < ended["completion_tokens"] < 100
        assert serving.statistics().worker_deaths == 0
        assert serving.statistics().outcomes["ended.cancelled"] == 1


async def test_leaving_before_anything_came_cancels_too(shelf: Shelf) -> None:
    shelf.add("m", {"reply": "x", "delay_s": 0.1}, load={"delay_s": 0.2})
    log = Log()
    async with served(shelf, log, parallel=1) as serving:
        for _ in range(20):
            async with serving.submit(chat("long"), OWNER):
                pass
        await until(lambda: serving.statistics().waiting == 0)
        assert (await ask(serving, chat("x")))[0] == "x"
    assert len(log.facts("job.ended")) == 21


async def test_a_cancelled_caller_is_not_held_up_and_its_error_stays_as_it_is(
    shelf: Shelf,
) -> None:
    shelf.add("m", {"reply": LONG, "delay_s": 0.02})
    async with served(shelf) as serving:
        with trio.move_on_after(0.5) as scope:
            await read_all(serving, chat("x"))
        assert scope.cancelled_caught
        with pytest.raises(ZeroDivisionError):
            async with serving.submit(chat("x"), OWNER):
                raise ZeroDivisionError
        await until(lambda: serving.statistics().waiting + serving.statistics().running == 0)


async def test_more_jobs_than_the_queue_holds_are_told_to_come_back(shelf: Shelf) -> None:
    shelf.add("m", {"reply": "a b c", "delay_s": 0.05}, load={"delay_s": 0.3})
    ends: list[Ended | Failed] = []
    async with served(shelf, parallel=1, queue=3) as serving, trio.open_nursery() as nursery:

        async def one() -> None:
            ends.append((await ask(serving, chat("x")))[1])

        for _ in range(10):
            nursery.start_soon(one)
    refused = [last for last in ends if isinstance(last, Failed)]
    assert len(ends) == 10
    assert len(refused) == 6
    assert {(last.code, last.retry) for last in refused} == {("overloaded", True)}


async def test_one_model_s_full_queue_is_not_anothers(shelf: Shelf) -> None:
    shelf.add("slow", {"reply": LONG, "delay_s": 0.05})
    shelf.add("m", {"reply": "ok"})
    async with served(shelf, parallel=1, queue=1) as serving, trio.open_nursery() as nursery:
        for _ in range(2):
            nursery.start_soon(read_all, serving, chat("x", "slow"))
        await until(lambda: serving.statistics().running == 1)
        failed((await ask(serving, chat("x", "slow")))[1], "overloaded")
        assert (await ask(serving, chat("x")))[0] == "ok"
        nursery.cancel_scope.cancel()


async def test_a_job_past_its_deadline_ends_and_keeps_what_came(shelf: Shelf) -> None:
    shelf.add("m", {"reply": LONG, "delay_s": 0.02})
    async with served(shelf) as serving:
        await serving.load("m")
        job = chat("x")
        job = Job(job.id, job.work, job.model, deadline_s=0.5)
        began = trio.current_time()
        text, last = await ask(serving, job)
        assert 0.4 < trio.current_time() - began < 3
        assert text.startswith("one")
        failed(last, "deadline")
        assert serving.statistics().worker_deaths == 0


async def test_the_setting_bounds_every_deadline(shelf: Shelf) -> None:
    shelf.add("m", load={"then": "hang"})
    async with served(shelf, request_timeout_s=0.3) as serving:
        failed((await ask(serving, chat("x")))[1], "deadline")
        with pytest.raises(JobFailed, match="in time"):
            await serving.count("m", [Message("user", "x")])


async def test_a_slow_reader_gets_everything_and_holds_up_nobody(shelf: Shelf) -> None:
    long = {"match": "long", "reply": "word " * 3000}
    shelf.add("m", long, {"reply": "quick"}, context=8000)
    async with served(shelf) as serving, serving.submit(chat("long"), OWNER) as answer:
        await first_piece(answer)
        assert (await ask(serving, chat("short")))[0] == "quick"
        await until(lambda: serving.statistics().outcomes.get("ended.stop") == 2, 30)
        rest = [event async for event in answer]
    last = last_of(rest)
    assert isinstance(last, Ended)
    assert len(rest) < 300  # many pieces were joined
    assert len(text_of(rest).split()) == 2999
    assert last.usage.completion_tokens >= 3000


async def test_a_reader_that_does_not_read_fails_its_own_job_only(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.serving.job_run.ANSWER_BYTES", 20_000)
    long = {"match": "long", "reply": "word " * 7000}
    shelf.add("m", long, {"reply": "quick"}, context=8000)
    async with served(shelf) as serving, serving.submit(chat("long"), OWNER) as answer:
        await until(lambda: serving.statistics().outcomes.get("failed.overloaded"), 30)
        assert (await ask(serving, chat("short")))[0] == "quick"
        events = [event async for event in answer]
    assert "not being read" in failed(last_of(events), "overloaded").message


async def test_stopping_in_the_middle_of_an_answer_ends_it_clearly_and_soon(shelf: Shelf) -> None:
    shelf.add("m", {"reply": LONG, "delay_s": 0.02})
    events: list[Event] = []
    async with trio.open_nursery() as nursery:
        async with served(shelf) as serving:

            async def read() -> None:
                events.extend(await read_all(serving, chat("x")))

            nursery.start_soon(read)
            await until(lambda: serving.statistics().running)
            began = trio.current_time()
        assert trio.current_time() - began < 4
    assert failed(last_of(events), "cancelled").retry
    assert text_of(events).startswith("one")


async def test_jobs_are_stopped_before_the_part_is_left_and_no_new_ones_taken(
    shelf: Shelf,
) -> None:
    shelf.add("m", {"reply": LONG, "delay_s": 0.02})
    log = Log()
    async with served(shelf, log) as serving, serving.submit(chat("x"), OWNER) as answer:
        await first_piece(answer)
        serving.stop_jobs()
        events = [event async for event in answer]
        failed(last_of(events), "cancelled")
        failed((await ask(serving, chat("y")))[1], "cancelled")
        with pytest.raises(JobFailed, match="stopping"):
            await serving.load("m")
        assert len(log.facts("job.failed")) == 1


async def test_stopping_ends_a_stuck_worker_within_five_seconds(shelf: Shelf) -> None:
    shelf.add("m", {"then": "hang"})
    async with served(shelf) as serving, serving.submit(chat("x"), OWNER) as answer:
        await until(serving.loaded)
        os.kill(worker_pids()[0], signal.SIGSTOP)
        began = trio.current_time()
        serving.stop_jobs()
        failed(last_of([event async for event in answer]), "cancelled")
    assert trio.current_time() - began < 5


async def test_a_cancelled_part_clears_away_as_well(shelf: Shelf) -> None:
    shelf.add("m", {"reply": LONG, "delay_s": 0.02})
    events: list[Event] = []

    async def read(serving: Serving) -> None:
        async with serving.submit(chat("x"), OWNER) as answer:
            events.extend([event async for event in answer])

    async def serve(nursery: trio.Nursery, scope: trio.CancelScope) -> None:
        async with served(shelf) as serving:
            nursery.start_soon(read, serving)
            await until(lambda: serving.statistics().running)
            scope.cancel()
            await trio.sleep_forever()

    async with trio.open_nursery() as outer:
        with trio.CancelScope() as scope:
            await serve(outer, scope)
    assert worker_pids() == []
    failed(last_of(events), "cancelled")


async def test_a_stranger_is_refused_by_a_named_rule(shelf: Shelf) -> None:
    shelf.add("m", {"reply": "x"})
    log, job = Log(), chat("x", "no-such-model")
    nobody = Caller("anonymous", "anonymous", "device", "device", frozenset())
    async with served(shelf, log) as serving:
        async with serving.submit(job, nobody) as answer:
            events = [event async for event in answer]
        assert worker_pids() == []
    assert "deny-anonymous" in failed(last_of(events), "refused").message
    assert log.kinds(job.id) == ["job.failed"]


async def test_what_cannot_be_recorded_is_not_answered(shelf: Shelf) -> None:
    shelf.add("m", {"reply": "x"})
    log = Log(refuses=lambda kind: StoreFull("no space") if kind == "job.admitted" else None)
    async with served(shelf, log) as serving:
        text, last = await ask(serving, chat("x"))
    assert text == ""
    assert "no space" in failed(last, "internal").message


async def test_an_answer_is_given_even_when_its_end_cannot_be_recorded(shelf: Shelf) -> None:
    shelf.add("m", {"reply": "x"})
    log = Log(refuses=lambda kind: StoreFull("no space") if kind == "job.ended" else None)
    async with served(shelf, log) as serving:
        text, last = await ask(serving, chat("x"))
    assert text == "x"
    assert isinstance(last, Ended)


async def test_an_id_that_is_running_is_not_run_twice(shelf: Shelf) -> None:
    shelf.add("m", {"reply": LONG, "delay_s": 0.02})
    async with served(shelf) as serving, serving.submit(chat("x"), OWNER) as answer:
        await first_piece(answer)
        (run,) = serving._runs.values()
        failed((await ask(serving, run.job))[1], "bad_request")
        assert isinstance(await first_piece(answer), Piece)


async def test_texts_become_vectors_and_the_wrong_kind_of_model_is_refused(shelf: Shelf) -> None:
    shelf.add("m", {"reply": "x"})
    shelf.add("e", embedding=True, dimensions=4)
    async with served(shelf) as serving:
        events = await read_all(serving, Job("embed", Embed(("a", "b")), "e"))
        (vectors,) = [event for event in events if isinstance(event, Vectors)]
        assert [len(vector) for vector in vectors.vectors] == [4, 4]
        last = last_of(await read_all(serving, Job("wrong", Embed(("a",)), "m")))
        assert "embedding model" in failed(last, "bad_request").message
        assert (
            "embedding model"
            in failed((await ask(serving, chat("x", "e")))[1], "bad_request").message
        )


async def test_tokens_are_counted_while_every_place_is_taken(shelf: Shelf) -> None:
    shelf.add("m", {"match": "long", "reply": LONG, "delay_s": 0.02})
    async with served(shelf, parallel=1) as serving, trio.open_nursery() as nursery:
        alone = await serving.count("m", [Message("user", "one two three")])
        for _ in range(5):
            nursery.start_soon(read_all, serving, chat("long"))
        await until(lambda: serving.statistics().running)
        with trio.fail_after(3):
            assert await serving.count("m", [Message("user", "one two three")]) == alone > 3
        nursery.cancel_scope.cancel()


async def test_a_prompt_longer_than_the_context_is_refused_by_its_model(shelf: Shelf) -> None:
    shelf.add("m", {"reply": "x"})
    async with served(shelf, context=32) as serving:
        assert serving.context_of("m") is None
        failed((await ask(serving, chat("word " * 100)))[1], "context_overflow")
        assert serving.context_of("m") == 32


async def test_the_seed_is_chosen_by_the_node_when_the_asker_has_none(shelf: Shelf) -> None:
    shelf.add("m", {"reply": "x"})
    seeds = set()
    async with served(shelf) as serving:
        for _ in range(3):
            events = await read_all(serving, chat("x"))
            seeds |= {event.seed for event in events if isinstance(event, Started)}
    assert len(seeds) == 3


async def test_a_model_in_use_is_not_unloaded(shelf: Shelf) -> None:
    shelf.add("m", {"reply": LONG, "delay_s": 0.02})
    async with served(shelf) as serving:
        assert not await serving.unload("m")
        async with serving.submit(chat("x"), OWNER) as answer:
            await first_piece(answer)
            with pytest.raises(ModelBusy):
                await serving.unload("m")
            assert isinstance(await first_piece(answer), Piece)
        await until(lambda: serving.statistics().running == 0)
        await wait_all_tasks_blocked()
        assert await serving.unload("m")
        assert worker_pids() == []
        assert serving.statistics().memory_used == 0
        assert serving.state("m") == "unloaded"


async def test_totals_add_up(shelf: Shelf) -> None:
    shelf.add("m", {"reply": "one two three"})
    async with served(shelf) as serving:
        usages = []
        for _ in range(3):
            _, last = await ask(serving, chat("hello"))
            assert isinstance(last, Ended)
            usages.append(last.usage)
        statistics = serving.statistics()
    assert statistics.outcomes == {"ended.stop": 3}
    total = Usage(
        sum(usage.prompt_tokens for usage in usages),
        sum(usage.completion_tokens for usage in usages),
        sum(usage.cached_tokens for usage in usages),
    )
    told = Usage(statistics.prompt_tokens, statistics.completion_tokens, statistics.cached_tokens)
    assert told == total
    assert total.completion_tokens == 9
    assert statistics.loads == 1


async def test_a_request_too_large_for_a_frame_is_refused(shelf: Shelf) -> None:
    shelf.add("m", {"reply": "ok"})
    async with served(shelf) as serving:
        last = (await ask(serving, chat("x" * (WORKER_FRAME_BYTES + 1))))[1]
        assert "too large" in failed(last, "bad_request").message
        assert (await ask(serving, chat("x")))[0] == "ok"


async def test_who_asked_is_the_caller_whatever_the_job_says(shelf: Shelf) -> None:
    shelf.add("m", {"reply": "ok"})
    log, job = Log(), chat("x")
    guest = Caller("grant-1", "grant", "device", "device", frozenset({"chat"}))
    async with served(shelf, log) as serving:
        await read_all(serving, Job(job.id, job.work, job.model, asked_by="owner"), guest)
    assert log.facts("job.admitted")[0]["asked_by"] == "grant-1"
