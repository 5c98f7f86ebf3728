"""Several models at once: within the budget, least recently used out first, never one in use."""

from dataclasses import replace

import pytest
import trio

from models.hardware import Hardware
from node.content import ModelChanged
from node.serving import JobFailed
from node.serving.residency import reserve
from protocols.jobs import Failed, Piece
from protocols.limits import GIB, MIB
from tests.node.serving.kit import (
    OWNER,
    Log,
    Shelf,
    ask,
    chat,
    machine,
    served,
    until,
    worker_pids,
)

LONG = "one two three four five six seven eight nine ten " * 50


async def test_several_models_answer_at_once(shelf: Shelf) -> None:
    for name in "abc":
        shelf.add(name, {"reply": f"i am {name}", "delay_s": 0.02})
    texts: dict[str, str] = {}
    async with served(shelf) as serving:
        async with trio.open_nursery() as nursery:

            async def one(name: str) -> None:
                texts[name] = (await ask(serving, chat("x", name)))[0]

            for name in "abc":
                nursery.start_soon(one, name)
        assert serving.loaded() == ["a", "b", "c"]
        assert len(worker_pids()) == 3
    assert texts == {name: f"i am {name}" for name in "abc"}


async def test_many_askers_share_one_load(shelf: Shelf) -> None:
    shelf.add("m", {"reply": "x"}, load={"delay_s": 0.2})
    log = Log()
    async with served(shelf, log) as serving, trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(serving.load, "m")
            nursery.start_soon(ask, serving, chat("x"))
        await until(lambda: serving.state("m") == "loading")
    assert len(log.facts("worker.started")) == 1


async def test_a_load_goes_on_for_others_when_one_asker_leaves(shelf: Shelf) -> None:
    shelf.add("m", {"reply": "x"}, load={"delay_s": 0.3})
    log = Log()
    async with served(shelf, log) as serving:
        with trio.move_on_after(0.1):
            await ask(serving, chat("x"))
        assert (await ask(serving, chat("x")))[0] == "x"
    assert len(log.facts("worker.started")) == 1


async def test_the_least_recently_used_model_leaves_for_a_new_one(shelf: Shelf) -> None:
    for name in "abcd":
        shelf.add(name, {"reply": name}, size=100 * MIB)
    async with served(shelf, memory_bytes=300 * MIB) as serving:
        for name in "abc":
            await ask(serving, chat("x", name))
        await ask(serving, chat("x", "a"))
        assert (await ask(serving, chat("x", "d")))[0] == "d"
        assert serving.loaded() == ["a", "c", "d"]
        assert (await ask(serving, chat("x", "b")))[0] == "b"
        assert serving.loaded() == ["a", "b", "d"]
        assert serving.statistics().memory_used == 300 * MIB
        assert len(worker_pids()) == 3


async def test_a_model_in_use_never_leaves_and_the_other_is_told_to_come_back(
    shelf: Shelf,
) -> None:
    shelf.add("busy", {"reply": LONG, "delay_s": 0.02}, size=200 * MIB)
    shelf.add("other", {"reply": "x"}, size=200 * MIB)
    async with served(shelf, memory_bytes=300 * MIB) as serving:
        async with serving.submit(chat("x", "busy"), OWNER) as answer:
            async for event in answer:
                if isinstance(event, Piece):
                    break
            _, last = await ask(serving, chat("x", "other"))
            assert isinstance(last, Failed)
            assert (last.code, last.retry) == ("out_of_memory", True)
            assert "200 MiB" in last.message
            assert serving.loaded() == ["busy"]
        await until(lambda: serving.statistics().running == 0)
        await until(lambda: serving.statistics().outcomes.get("ended.cancelled"))
        assert (await ask(serving, chat("x", "other")))[0] == "x"
        assert serving.loaded() == ["other"]


async def test_a_model_that_can_never_fit_is_refused_before_anything_is_unloaded(
    shelf: Shelf,
) -> None:
    shelf.add("small", {"reply": "x"}, size=100 * MIB)
    shelf.add("huge", {"reply": "x"}, size=10 * GIB)
    async with served(shelf) as serving:
        await ask(serving, chat("x", "small"))
        _, last = await ask(serving, chat("x", "huge"))
        assert isinstance(last, Failed)
        assert (last.code, last.retry) == ("out_of_memory", False)
        assert "10,240 MiB" in last.message
        assert "smaller" in last.message
        assert serving.loaded() == ["small"]
        with pytest.raises(JobFailed, match="10,240 MiB"):
            await serving.load("huge")


async def test_a_model_that_nobody_uses_is_unloaded_after_a_while(shelf: Shelf) -> None:
    shelf.add("m", {"reply": "x"})
    log = Log()
    async with served(shelf, log, idle_unload_s=0.3) as serving:
        assert (await ask(serving, chat("x")))[0] == "x"
        await until(lambda: worker_pids() == [])
        assert serving.loaded() == []
        assert (await ask(serving, chat("x")))[0] == "x"
    assert log.facts("worker.died") == []


async def test_a_model_in_use_is_not_unloaded_however_long_it_takes(shelf: Shelf) -> None:
    shelf.add("m", {"reply": "one two three four five", "delay_s": 0.2})
    async with served(shelf, idle_unload_s=0.1) as serving:
        assert (await ask(serving, chat("x")))[0] == "one two three four five"


async def test_a_machine_short_of_memory_unloads_idle_models(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.serving.workers.LOOK_EVERY_S", 0.02)
    shelf.add("idle", {"reply": "x"}, size=100 * MIB)
    shelf.add("busy", {"reply": LONG, "delay_s": 0.02}, size=100 * MIB)
    available = 8 * GIB

    def hardware() -> Hardware:
        return machine(8 * GIB, available)

    async with served(shelf, hardware=hardware) as serving:
        await serving.load("idle")
        async with serving.submit(chat("x", "busy"), OWNER) as answer:
            async for event in answer:
                if isinstance(event, Piece):
                    break
            available = reserve(8 * GIB) - 1
            await until(lambda: serving.loaded() == ["busy"])
            _, last = await ask(serving, chat("x", "idle"))
            assert isinstance(last, Failed)
            assert last.code == "out_of_memory"
            assert serving.statistics().running == 1


async def test_a_file_that_changed_is_not_served(shelf: Shelf) -> None:
    shelf.add("m", {"reply": "x"})
    shelf.broken = ModelChanged("the file of 'm' holds other bytes: add it again")
    async with served(shelf) as serving:
        _, last = await ask(serving, chat("x"))
        assert worker_pids() == []
    assert isinstance(last, Failed)
    assert last.code == "model_failed"
    assert "other bytes" in last.message


async def test_a_model_with_another_name_since_is_known_by_the_new_one(shelf: Shelf) -> None:
    model = shelf.add("old", {"reply": "x"})
    async with served(shelf) as serving:
        await serving.load("old")
        await serving.unload("old")
        del shelf.models["old"]
        shelf.models["new"] = replace(model, name="new")
        await serving.load("new")
        assert serving.loaded() == ["new"]
        assert await serving.unload(model.cid)


async def test_models_that_are_long_gone_are_forgotten(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.serving.workers.MODELS_KNOWN", 2)
    async with served(shelf) as serving:
        for name in "abcd":
            shelf.add(name, {"reply": "x"})
            await serving.load(name)
            if name in "ab":
                await serving.unload(name)
        assert serving.context_of("a") is None
        assert serving.context_of("d") == 512
        assert serving.loaded() == ["c", "d"]
