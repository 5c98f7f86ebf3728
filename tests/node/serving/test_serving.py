"""The whole room with a real worker process that follows a script: answers, cancels, loads, stops."""

from protocols.jobs import Ended, Failed, Started
from tests.node.serving.kit import Log, Shelf, ask, chat, last_of, read_all, served, text_of


async def test_a_job_is_answered_and_its_way_is_recorded(shelf: Shelf) -> None:
    model = shelf.add("m", {"match": "hello", "reply": "good day to you"})
    log, job = Log(), chat("hello there", seed=7)
    async with served(shelf, log) as serving:
        events = await read_all(serving, job)
        assert isinstance(events[0], Started)
        assert events[0].seed == 7
        assert text_of(events) == "good day to you"
        last = last_of(events)
        assert isinstance(last, Ended)
        assert last.finish == "stop"
        assert serving.loaded() == ["m"]
        assert serving.state("m") == serving.state(model.cid) == "loaded"
        assert serving.context_of("m") == 512
        assert (
            serving.build_of("m")
            == serving.build_of(model.cid)
            == log.facts("worker.started")[0]["build"]
        )
        assert serving.build_of("another") == ""
    assert log.kinds(job.id) == ["job.admitted", "job.routed", "job.ended"]
    (admitted,) = log.facts("job.admitted")
    assert admitted["rule"] == "owner-all"
    assert admitted["model"] == model.cid
    assert admitted["label"] == "device"
    assert "hello" not in str(log.entries)
    assert "good day" not in str(log.entries)


async def test_an_unknown_model_is_told_with_the_nearest_names(shelf: Shelf) -> None:
    shelf.add("mistral")
    async with served(shelf) as serving:
        _, last = await ask(serving, chat("hi", "mistrel"))
    assert isinstance(last, Failed)
    assert last.code == "model_not_found"
    assert "mistral" in last.message
