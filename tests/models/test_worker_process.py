"""The worker as a process: how it starts, loads, leaves, and what a broken node or model does to it."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from protocols.jobs import Complete, Count, Embed, Failed, Message, Piece, Sampling
from protocols.worker import Load, Run
from tests.models.worker_client import (
    ROOT,
    Worker,
    WorkerGone,
    chat,
    ended,
    failed,
    loaded,
    started,
    text_of,
)


def script(folder: Path, **content: object) -> Load:
    path = folder / "script.json"
    path.write_text(json.dumps(content))
    return Load("scripted", str(path), 0, 2)


def test_answers_by_the_script(tmp_path: Path) -> None:
    load = script(tmp_path, rules=[{"match": "joke", "reply": "A node walks into {prompt}."}])
    with loaded(load) as worker:
        events = worker.run(chat("a joke"))
        assert text_of(events) == "A node walks into a joke."
        assert ended(events).finish == "stop"
        assert ended(events).usage.completion_tokens == 6
        assert text_of(worker.run(chat("what?"))) == "The script has no rule for this."


def test_says_why_a_model_does_not_load(tmp_path: Path) -> None:
    load = script(tmp_path, load={"error": "no such layer", "out_of_memory": True})
    with Worker() as worker:
        answer = worker.load_fails(load)
        assert (answer.message, answer.out_of_memory) == ("no such layer", True)
        assert worker.leaves() == 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"path": "/nowhere/model.json"}, "there is no file"),
        ({"context": -1}, "context"),
        ({"sequences": 0}, "sequences"),
        ({"sequences": 100_000}, "sequences"),
        ({"threads": 100_000}, "threads"),
    ],
)
def test_refuses_absurd_wishes(tmp_path: Path, change: dict[str, object], words: str) -> None:
    load = script(tmp_path)
    wishes = {name: getattr(load, name) for name in load.__struct_fields__} | change
    with Worker() as worker:
        assert words in worker.load_fails(Load(**wishes)).message


def test_leaves_when_told_to_stop(tmp_path: Path) -> None:
    with loaded(script(tmp_path)) as worker:
        assert worker.stop() == 0


def test_leaves_at_once_when_the_node_is_gone(tmp_path: Path) -> None:
    with loaded(script(tmp_path)) as worker:
        assert worker.cut() < 2


def test_leaves_even_out_of_a_step_that_never_ends(tmp_path: Path) -> None:
    load = script(tmp_path, rules=[{"reply": "one two three", "then": "hang", "after": 1}])
    with loaded(load) as worker:
        worker.send(Run("job", chat("go")))
        while not isinstance(worker.report().event, Piece):
            pass
        assert worker.cut() < 3


def test_leaves_when_a_load_never_ends(tmp_path: Path) -> None:
    with Worker() as worker:
        worker.send(script(tmp_path, load={"then": "hang"}))
        assert worker.cut() < 3


@pytest.mark.parametrize(
    ("then", "status"), [("abort", -signal.SIGABRT), ("exit", 3)], ids=["abort", "exit"]
)
def test_a_crash_is_the_end_of_the_socket(tmp_path: Path, then: str, status: int) -> None:
    load = script(tmp_path, rules=[{"reply": "one two three", "then": then, "after": 2}])
    with loaded(load) as worker:
        worker.send(Run("job", chat("go")))
        assert worker.leaves() == status


def test_kill_9_is_the_end_of_the_socket(tmp_path: Path) -> None:
    with loaded(script(tmp_path)) as worker:
        worker.process.kill()
        with pytest.raises(WorkerGone):
            worker.receive()


def test_a_step_that_fails_takes_only_its_requests_along(tmp_path: Path) -> None:
    rules = [{"match": "bad", "reply": "one two", "then": "error", "after": 1}, {"reply": "fine"}]
    with loaded(script(tmp_path, rules=rules)) as worker:
        failure = failed(worker.run(chat("bad")))
        assert (failure.code, failure.retry) == ("internal", True)
        assert text_of(worker.run(chat("good"))) == "fine"


def test_what_is_no_message_ends_the_worker() -> None:
    with Worker() as worker:
        worker.send_bytes(b"\x00\x00\x00\x02{}")
        assert worker.leaves() == 0
    with Worker() as worker:
        worker.send_bytes(b"\xff\xff\xff\xff")
        assert worker.leaves() == 0


def test_a_job_before_a_model_ends_the_worker() -> None:
    with Worker() as worker:
        worker.send(Run("job", chat("go")))
        assert worker.leaves() == 0


def test_is_started_by_the_node_only() -> None:
    command = [sys.executable, "-P", "-m", "models.worker"]
    result = subprocess.run(command, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, capture_output=True)
    assert result.returncode == 2
    assert b"usage" in result.stderr


def test_ctrl_c_is_left_to_the_node(tmp_path: Path) -> None:
    with loaded(script(tmp_path)) as worker:
        worker.process.send_signal(signal.SIGINT)
        assert text_of(worker.run(chat("still there?")))


def test_counts_without_running(tmp_path: Path) -> None:
    with loaded(script(tmp_path)) as worker:
        events = worker.run(Count((Message("user", "one two three"),)))
        counted = started(events).prompt_tokens
        assert [type(event).__name__ for event in events] == ["Started", "Ended"]
        assert counted == ended(worker.run(chat("one two three"))).usage.prompt_tokens


def test_the_queue_is_bounded(tmp_path: Path) -> None:
    load = script(tmp_path, rules=[{"reply": "slow", "delay_s": 0.2}])
    jobs = [f"job{number}" for number in range(2 + 64 + 5)]
    with loaded(load) as worker:
        worker.send(*(Run(job, chat("go")) for job in jobs))
        refused: list[Failed] = []
        while len(refused) < 5:
            event = worker.report().event
            if isinstance(event, Failed):
                refused.append(event)
        assert {(each.code, each.retry) for each in refused} == {("overloaded", True)}


def test_beats_tell_how_busy_it_is(tmp_path: Path) -> None:
    load = script(tmp_path, rules=[{"reply": "one two three four", "delay_s": 0.3}])
    with loaded(load) as worker:
        worker.send(*(Run(job, chat("go")) for job in "abc"))
        worker.events("abc")
        assert worker.beats[0].waiting + worker.beats[0].running >= 1
        assert max(beat.running for beat in worker.beats) == 2
        assert max(beat.predicted_s for beat in worker.beats) > 0.25, (
            "it learns how long steps take"
        )


def test_cancel_ends_running_and_waiting_jobs(tmp_path: Path) -> None:
    load = script(tmp_path, rules=[{"reply": "word " * 500, "delay_s": 0.02}])
    with loaded(load) as worker:
        worker.send(*(Run(job, chat("go")) for job in "abc"))
        while not isinstance(worker.report().event, Piece):
            pass
        for job in "cba":
            worker.cancel(job)
        worker.cancel("unknown")
        events = worker.events("abc")
        assert {ended(each).finish for each in events.values()} == {"cancelled"}
        assert ended(events["c"]).usage.completion_tokens == 0


def test_a_beat_comes_before_a_long_text_is_read(tmp_path: Path) -> None:
    with loaded(script(tmp_path)) as worker:
        worker.run(chat("x" * 900_000, max_tokens=1))
        assert worker.beats[0].predicted_s > 2


def test_what_would_not_fit_into_a_frame_is_refused(tmp_path: Path) -> None:
    load = script(tmp_path, dimensions=100_000)
    with loaded(Load("scripted", load.path, 0, embedding=True)) as worker:
        failure = failed(worker.run(Embed(("a",) * 100)))
        assert (failure.code, "at most 60 texts" in failure.message) == ("bad_request", True)
    with loaded(Load("scripted", load.path, 0)) as worker:
        long = Complete("a" * 1_040_000 + " " * 10_000, Sampling(max_tokens=0), echo=True)
        assert failed(worker.run(long)).code == "bad_request"


def test_imports_nothing_heavy_before_it_is_told_what_to_load() -> None:
    code = "import models.worker, sys; print(' '.join(sys.modules))"
    command = [sys.executable, "-P", "-c", code]
    env = {"PYTHONPATH": str(ROOT)}
    found = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    heavy = {"numpy", "jinja2", "llama_cpp", "onnxruntime", "trio", "tokenizers"}
    assert not heavy & set(found.stdout.split())
