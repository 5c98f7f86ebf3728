"""The scheduler over the scripted backend, in this process: turns, slots, stop strings, errors."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from models.backends.base import Choice, Part, StepError
from models.backends.scripted import ScriptedBackend
from models.runtime.pace import Pace
from models.runtime.slots import Slot, best_slot, common_prefix
from models.runtime.text import TextStream
from models.scheduler import Scheduler
from protocols.jobs import Complete, Count, Ended, Event, Failed, Message, Piece, Sampling, Started
from protocols.worker import Load
from tests.models.worker_client import chat, ended, failed, started, text_of


class Watched(ScriptedBackend):
    """Remembers its steps, and can be told to fail or to leave no token."""

    def __init__(self, load: Load) -> None:
        super().__init__(load)
        self.steps: list[list[Part]] = []
        self.fails = False
        self.dead_end = False

    def step(self, parts: Sequence[Part]) -> list[Choice]:
        self.steps.append(list(parts))
        if self.fails:
            raise StepError("told to fail")
        choices = super().step(parts)
        return [Choice(None) for _ in choices] if self.dead_end else choices


class Bench:
    """A scheduler, its backend, and the events of each job."""

    def __init__(self, folder: Path, *, slots: int = 2, queue: int = 64, **script: object) -> None:
        path = folder / "script.json"
        path.write_text(json.dumps(script))
        self.backend = Watched(Load("scripted", str(path), 0, slots))
        self.scheduler = Scheduler(self.backend, queue=queue)
        self.events: dict[str, list[Event]] = {}

    def collect(self) -> None:
        for job, event in self.scheduler.take():
            self.events.setdefault(job, []).append(event)

    def step(self) -> None:
        self.scheduler.step()
        self.collect()

    def finish(self) -> None:
        for _ in range(10_000):
            if not (self.scheduler.running or self.scheduler.waiting):
                break
            self.step()
        self.collect()

    def ask(self, job: str, text: str = "go", **sampling: object) -> None:
        self.scheduler.submit(job, chat(text, **sampling))
        self.collect()


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path, rules=[{"reply": "one two three four five"}])


def test_every_job_starts_once_and_ends_once(bench: Bench) -> None:
    for job in "abcdef":
        bench.ask(job)
    bench.finish()
    for events in bench.events.values():
        kinds = [type(event) for event in events]
        assert kinds[0] is Started
        assert kinds[-1] is Ended
        assert set(kinds[1:-1]) == {Piece}
        assert text_of(events) == "one two three four five"


def test_answers_run_side_by_side(bench: Bench) -> None:
    bench.ask("a")
    bench.step()
    bench.ask("b")
    bench.finish()
    both = [parts for parts in bench.backend.steps if len(parts) == 2]
    assert len(both) >= 4
    assert bench.backend.steps[1][0].tokens != bench.backend.steps[1][1].tokens


def test_running_answers_come_before_new_prompts(bench: Bench) -> None:
    bench.ask("a")
    bench.step()
    bench.ask("b", "a much longer prompt " * 50)
    bench.step()
    first, second = bench.backend.steps[-1]
    assert len(first.tokens) == 1 < len(second.tokens)


def test_a_long_prompt_is_read_in_chunks(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.ask("a", "word " * 1000)
    bench.finish()
    reads = [parts[0] for parts in bench.backend.steps if len(parts[0].tokens) > 1]
    assert len(reads) > 1
    assert [part.choose for part in reads] == [False] * (len(reads) - 1) + [True]
    assert [part.start for part in reads[1:]] == [
        part.start + len(part.tokens) for part in reads[:-1]
    ]


def test_max_tokens_ends_an_answer(bench: Bench) -> None:
    bench.ask("a", max_tokens=2)
    bench.finish()
    assert text_of(bench.events["a"]) == "one two"
    assert ended(bench.events["a"]).finish == "length"


def test_no_tokens_at_all_may_be_asked_for(bench: Bench) -> None:
    bench.ask("a", max_tokens=0)
    bench.finish()
    assert [type(event) for event in bench.events["a"]] == [Started, Ended]


def test_stop_strings_cut_and_are_named(bench: Bench) -> None:
    bench.ask("a", stop=("ee fo", "never"))
    bench.finish()
    assert text_of(bench.events["a"]) == "one two thr"
    assert ended(bench.events["a"]).stop_text == "ee fo"


def test_a_dead_end_of_the_grammar_ends_the_answer(bench: Bench) -> None:
    bench.backend.dead_end = True
    bench.ask("a")
    bench.finish()
    assert ended(bench.events["a"]).finish == "stop"


def test_the_queue_is_bounded_and_says_try_again(tmp_path: Path) -> None:
    bench = Bench(tmp_path, slots=1, queue=3)
    for job in "abcde":
        bench.ask(job)
    assert failed(bench.events["e"]).code == "overloaded"
    assert failed(bench.events["e"]).retry
    bench.finish()
    assert all(isinstance(bench.events[job][-1], Ended) for job in "abc")


def test_waiting_jobs_are_served_in_their_order(tmp_path: Path) -> None:
    bench = Bench(tmp_path, slots=1)
    for job in "abc":
        bench.ask(job)
    bench.finish()
    assert list(bench.events) == ["a", "b", "c"]


def test_the_same_id_twice_is_one_job(bench: Bench) -> None:
    bench.ask("a")
    bench.step()
    bench.ask("a")
    bench.finish()
    assert sum(isinstance(event, Ended) for event in bench.events["a"]) == 1


def test_cancel_frees_the_slot_for_the_next(tmp_path: Path) -> None:
    bench = Bench(tmp_path, slots=1, rules=[{"reply": "word " * 100}])
    bench.ask("a")
    bench.ask("b")
    bench.step()
    bench.scheduler.cancel("a")
    bench.step()
    assert ended(bench.events["a"]).finish == "cancelled"
    assert isinstance(bench.events["b"][0], Started)
    bench.scheduler.cancel("b")
    bench.scheduler.cancel("b")
    bench.collect()
    assert not bench.scheduler.running


def test_a_failed_step_fails_its_jobs_and_forgets_their_state(bench: Bench) -> None:
    bench.ask("a")
    bench.step()
    bench.backend.fails = True
    bench.step()
    assert (failed(bench.events["a"]).code, failed(bench.events["a"]).retry) == ("internal", True)
    bench.backend.fails = False
    bench.ask("b")
    bench.finish()
    assert started(bench.events["b"]).cached_tokens == 0
    assert text_of(bench.events["b"]) == "one two three four five"


def test_an_answer_ends_where_the_context_ends(tmp_path: Path) -> None:
    bench = Bench(tmp_path, context=20, rules=[{"reply": "word " * 100}])
    bench.ask("a")
    bench.finish()
    usage = ended(bench.events["a"]).usage
    assert ended(bench.events["a"]).finish == "length"
    assert usage.prompt_tokens + usage.completion_tokens == 21
    bench.ask("b", "word " * 30)
    assert failed(bench.events["b"]).code == "context_overflow"


def test_counting_computes_nothing(bench: Bench) -> None:
    bench.scheduler.submit("a", Count((Message("user", "one two"),)))
    bench.finish()
    assert [type(event) for event in bench.events["a"]] == [Started, Ended]
    assert not bench.backend.steps


def test_token_prompts_are_checked(bench: Bench) -> None:
    bench.scheduler.submit("a", Complete((0, 999_999), Sampling()))
    bench.collect()
    assert isinstance(bench.events["a"][0], Failed)


def test_prediction_follows_the_plan(bench: Bench) -> None:
    assert bench.scheduler.predict() == 0
    bench.ask("a")
    assert bench.scheduler.predict() > 0


@pytest.mark.parametrize(
    ("one", "other", "length"),
    [
        ([], [], 0),
        ([1], [], 0),
        ([1], [2], 0),
        ([1, 2, 3], [1, 2, 3], 3),
        ([1, 2, 3], [1, 2], 2),
        ([1, 2, 3, 9], [1, 2, 3, 8, 7], 3),
        ([9, 2, 3], [1, 2, 3], 0),
        (list(range(1000)), [*range(777), -1, *range(500)], 777),
    ],
)
def test_the_common_prefix_is_exact(one: list[int], other: list[int], length: int) -> None:
    assert common_prefix(one, other) == common_prefix(other, one) == length


def test_the_slot_that_shares_most_is_taken() -> None:
    slots = [Slot(0, [1, 2, 3], "a", used=9.0), Slot(1, [1, 2], "a"), Slot(2, [1, 2, 3, 4], "b")]
    assert best_slot(slots, [1, 2, 3, 4], "a") is slots[0]
    assert best_slot(slots, [1, 2, 3, 4], "b") is slots[2]
    assert best_slot(slots, [7], "a") is slots[1], "unused for longest"
    slots[0].busy = slots[1].busy = slots[2].busy = True
    assert best_slot(slots, [1], "a") is None


BYTES = {
    0: b"caf",
    1: b"\xc3",
    2: b"\xa9",
    3: b" st",
    4: b"op",
    5: b"",
    6: b"\xff",
    7: "日本".encode(),
}


def stream(*stop: str) -> TextStream:
    return TextStream(stop, BYTES.__getitem__)


def test_a_character_is_never_divided() -> None:
    text = stream()
    pieces = [text.add(token) for token in (0, 1, 2)]
    assert [piece and piece.text for piece in pieces] == ["caf", None, "é"]
    assert pieces[2] is not None
    assert pieces[2].tokens == (1, 2)


def test_what_is_unfinished_at_the_end_is_replaced() -> None:
    text = stream()
    assert text.add(1) is None
    last = text.finish()
    assert last == Piece("\ufffd", (1,))
    assert text.finish() is None


def test_broken_bytes_are_replaced_at_once() -> None:
    piece = stream().add(6)
    assert piece == Piece("\ufffd", (6,))


def test_a_possible_stop_is_held_and_released() -> None:
    text = stream(" stop")
    assert text.add(0) == Piece("caf", (0,))
    assert text.add(3) is None
    released = text.add(7)
    assert released == Piece(" st日本", (3, 7))
    text.add(3)
    assert text.add(4) is None
    assert text.stopped == " stop"
    assert text.finish() is None


def test_the_earliest_stop_wins() -> None:
    text = stream("op", " sto")
    text.add(0)
    text.add(3)
    assert text.add(4) is None
    assert text.stopped == " sto"


def test_tokens_without_text_come_with_the_next() -> None:
    text = stream()
    assert text.add(5) is None
    assert text.add(0) == Piece("caf", (5, 0))


def test_the_pace_is_learned() -> None:
    pace = Pace(1_000_000_000)
    assert pace.predict(0, 0) == 0
    for _ in range(20):
        pace.learn(0, 100, 1.0)
        pace.learn(1, 0, 0.05)
    assert pace.predict(1, 0) == pytest.approx(0.05, rel=0.1)
    assert pace.predict(0, 100) == pytest.approx(1.05, rel=0.1)
    assert pace.chunk(False, 2048) == 256, "slow, but smaller chunks would only be slower"
    assert pace.chunk(True, 2048) == 64, "short beside running answers"
    assert pace.chunk(True, 8) == 8
    for _ in range(20):
        pace.learn(0, 1000, 1.0)
    assert pace.chunk(False, 2048) == pytest.approx(1000, abs=50), "about a second"
