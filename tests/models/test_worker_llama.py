"""The worker with llama.cpp and a tiny random model: what a request may ask for, and what it gets."""

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from protocols.jobs import Chat, Complete, Count, Embed, Failed, Message, Piece, Sampling
from protocols.worker import Load, Run
from tests.models.worker_client import (
    ROOT,
    Worker,
    chat,
    ended,
    failed,
    loaded,
    started,
    text_of,
    tokens_of,
)
from tests.support.gguf_maker import F32, STRING, Shape, llama_file, tiny_llama

pytestmark = pytest.mark.native
CONTEXT = 1024
LONG = "the people of the node make a joke " * 30


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llama(tmp_path_factory.mktemp("model") / "tiny.gguf")


@pytest.fixture(scope="module")
def worker(model: Path) -> Iterator[Worker]:
    with loaded(Load("llama", str(model), CONTEXT, 4)) as worker:
        yield worker


@pytest.fixture(scope="module")
def wild(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """A model that says control tokens and broken UTF-8 all the time."""
    path = tiny_llama(tmp_path_factory.mktemp("model") / "wild.gguf", readable=False)
    with loaded(Load("llama", str(path), CONTEXT, 8)) as worker:
        yield worker


def test_tells_what_was_loaded(model: Path) -> None:
    with Worker() as worker:
        answer = worker.load(Load("llama", str(model), CONTEXT, 4))
        assert answer.build.startswith("llama.cpp ")
        assert (answer.context, answer.sequences) == (CONTEXT, 4)
        assert answer.memory_bytes > model.stat().st_size * 0.9


def test_a_chat_streams_pieces(worker: Worker) -> None:
    events = worker.run(chat("tell me a joke", max_tokens=50, seed=1))
    assert started(events).seed == 1
    usage = ended(events).usage
    assert usage.completion_tokens == 50 == len(tokens_of(events))
    assert usage.prompt_tokens == started(events).prompt_tokens
    assert ended(events).finish == "length"
    first = next(event for event in events if isinstance(event, Piece))
    assert len(first.tokens) == 1, "the first token does not wait for others"
    assert ended(events).timings.generate_s > 0


def test_the_same_seed_gives_the_same_answer(worker: Worker) -> None:
    def answer(seed: int) -> list[int]:
        return tokens_of(worker.run(chat("hello", max_tokens=30, temperature=1.2, seed=seed)))

    answers = [answer(seed) for seed in (5, 5, 6, 2**63)]
    assert answers[0] == answers[1]
    assert len({tuple(each) for each in answers}) == 3


def test_a_seed_is_picked_and_reported(worker: Worker) -> None:
    events = worker.run(chat("hello", max_tokens=20, temperature=1.2))
    again = worker.run(chat("hello", max_tokens=20, temperature=1.2, seed=started(events).seed))
    assert tokens_of(again) == tokens_of(events)


def test_an_answer_is_taken_up_in_its_middle(worker: Worker) -> None:
    """Randomness follows from seed and position alone, so a prefix of the answer can be prefilled."""
    sampling = Sampling(max_tokens=40, temperature=1.0, seed=9)
    prompt = tuple(range(10, 60))
    whole = tokens_of(worker.run(Complete(prompt, sampling)))
    rest = Sampling(max_tokens=20, temperature=1.0, seed=9)
    again = tokens_of(worker.run(Complete((*prompt, *whole[:20]), rest)))
    assert again == whole[20:]


def test_the_temperature_that_the_file_recommends_is_used_when_none_is_asked(
    tmp_path: Path,
) -> None:
    whole = llama_file()
    advice = ("general.sampling.temp", F32, 0.0)
    calm = replace(whole, metadata=(*whole.metadata, advice)).write(tmp_path / "calm.gguf")
    with loaded(Load("llama", str(calm), CONTEXT, 1)) as worker:
        answers = {text_of(worker.run(chat("hi", max_tokens=15, seed=seed))) for seed in (1, 2, 3)}
        assert len(answers) == 1
        heated = {
            text_of(worker.run(chat("hi", max_tokens=15, seed=seed, temperature=1.5)))
            for seed in (1, 2, 3)
        }
        assert len(heated) > 1


def test_zero_temperature_is_greedy(worker: Worker) -> None:
    answers = {
        text_of(worker.run(chat("hi", max_tokens=15, temperature=0.0, seed=seed)))
        for seed in range(3)
    }
    assert len(answers) == 1


def test_eight_at_once_all_answer(wild: Worker) -> None:
    jobs = [f"job{number}" for number in range(8)]
    for number, job in enumerate(jobs):
        wild.send(Run(job, chat(f"{number} people", max_tokens=60, seed=number, temperature=1.5)))
    events = wild.events(jobs)
    for each in events.values():
        usage = ended(each).usage
        assert len(tokens_of(each)) == usage.completion_tokens <= 60
    assert len({text_of(each) for each in events.values()}) > 1
    assert max(beat.running for beat in wild.beats) >= 1


def test_more_requests_than_slots_wait_their_turn(worker: Worker) -> None:
    jobs = [f"job{number}" for number in range(12)]
    worker.send(*(Run(job, chat(job, max_tokens=10, seed=1)) for job in jobs))
    assert all(ended(each).finish in ("length", "stop") for each in worker.events(jobs).values())


def test_pieces_are_whole_characters(wild: Worker) -> None:
    for seed in range(5):
        events = wild.run(chat("hello", max_tokens=200, temperature=2.0, seed=seed, top_k=0))
        text = text_of(events)
        assert text.encode("utf-8").decode("utf-8") == text
        assert "\ufffd" in text, "a random model says broken bytes, and they are replaced"
        assert "<|im_" not in text, "control tokens are no text"


def test_a_stop_string_across_tokens_never_shows(worker: Worker) -> None:
    plain = text_of(worker.run(chat("hello", max_tokens=60, seed=4)))
    pieces = worker.run(chat("hello", max_tokens=60, seed=4, logprobs=0))
    texts = [
        logprob.token for event in pieces if isinstance(event, Piece) for logprob in event.logprobs
    ]
    stop = texts[20][-1:] + texts[21] + texts[22][:1]  # ends and begins inside tokens
    at = plain.index(stop)
    events = worker.run(chat("hello", max_tokens=60, seed=4, stop=("never said", stop)))
    assert text_of(events) == plain[:at]
    assert (ended(events).finish, ended(events).stop_text) == ("stop", stop)


def test_a_beginning_of_a_stop_string_is_not_lost(worker: Worker) -> None:
    plain = text_of(worker.run(chat("hello", max_tokens=30, seed=4)))
    held = worker.run(chat("hello", max_tokens=30, seed=4, stop=(plain[-3:] + "\x00never",)))
    assert text_of(held) == plain


def test_logprobs_are_those_of_the_whole_row(worker: Worker) -> None:
    events = worker.run(chat("hello", max_tokens=10, seed=1, logprobs=20))
    found = [each for event in events if isinstance(event, Piece) for each in event.logprobs]
    assert len(found) == 10
    for each in found:
        values = [value for _, value, _ in each.top]
        assert values == sorted(values, reverse=True)
        assert len(values) == 20
        assert 0.01 < sum(map(math.exp, values)) <= 1.0001
        assert each.logprob <= values[0] + 1e-9
        assert each.token == each.raw.decode("utf-8", "replace")


def test_all_logprobs_of_a_small_row_sum_to_one(worker: Worker) -> None:
    """Greedy choices have the largest logprob of the row."""
    events = worker.run(chat("hello", max_tokens=5, temperature=0.0, logprobs=1))
    found = [each for event in events if isinstance(event, Piece) for each in event.logprobs]
    assert all(each.logprob == each.top[0][1] for each in found)


def test_penalties_change_the_answer(worker: Worker) -> None:
    asked = {"max_tokens": 80, "temperature": 0.0}
    plain = tokens_of(worker.run(chat("the the the", **asked)))
    punished = tokens_of(worker.run(chat("the the the", **asked, repeat_penalty=1.8)))
    frequent = tokens_of(worker.run(chat("the the the", **asked, frequency_penalty=2.0)))
    present = tokens_of(worker.run(chat("the the the", **asked, presence_penalty=2.0)))
    assert len(set(plain)) < min(len(set(each)) for each in (punished, frequent, present))


def test_the_same_beginning_is_not_computed_twice(worker: Worker) -> None:
    first = worker.run(chat(LONG + "one", max_tokens=2, seed=1), scope="a")
    again = worker.run(chat(LONG + "two", max_tokens=2, seed=1), scope="a")
    assert started(again).cached_tokens > 0.8 * started(first).prompt_tokens
    assert ended(again).usage.cached_tokens == started(again).cached_tokens


def test_another_scope_does_not_see_what_is_cached(worker: Worker) -> None:
    worker.run(chat(LONG, max_tokens=2, seed=1), scope="mine")
    assert started(worker.run(chat(LONG, max_tokens=2, seed=1), scope="yours")).cached_tokens == 0


def test_a_cached_beginning_does_not_change_the_answer(worker: Worker) -> None:
    sampling = Sampling(max_tokens=20, temperature=0.0)
    prompt = tuple(range(10, 250))
    cold = tokens_of(worker.run(Complete(prompt, sampling), scope="cold"))
    warm = worker.run(Complete(prompt, sampling), scope="cold")
    assert started(warm).cached_tokens == len(prompt) - 1
    assert tokens_of(warm) == cold


def test_a_prompt_that_does_not_fit_is_refused_with_numbers(worker: Worker) -> None:
    failure = failed(worker.run(Complete(tuple([10] * CONTEXT))))
    assert failure.code == "context_overflow"
    assert str(CONTEXT) in failure.message
    huge = failed(worker.run(chat("word " * 200_000)))
    assert huge.code == "context_overflow"


def test_an_answer_that_reaches_the_context_ends(worker: Worker) -> None:
    prompt = tuple([10] * (CONTEXT - 5))
    events = worker.run(Complete(prompt, Sampling(temperature=1.0, seed=3)))
    usage = ended(events).usage
    assert ended(events).finish == "length"
    assert usage.prompt_tokens + usage.completion_tokens == CONTEXT + 1
    assert tokens_of(worker.run(chat("and the next one works", max_tokens=3)))


def test_a_completion_echoes_when_asked(worker: Worker) -> None:
    events = worker.run(Complete("hello there", Sampling(max_tokens=3, seed=1), echo=True))
    assert text_of(events).startswith("hello there")
    assert ended(events).usage.completion_tokens == 3
    nothing = worker.run(Complete((10, 11), Sampling(max_tokens=0), echo=True))
    assert ended(nothing).usage.completion_tokens == 0
    assert text_of(nothing)


@pytest.mark.parametrize("token", [-1, 10**6, 2**31 - 1])
def test_tokens_that_do_not_exist_are_refused(worker: Worker, token: int) -> None:
    assert failed(worker.run(Complete((10, token)))).code == "bad_request"


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": math.nan},
        {"temperature": -1.0},
        {"top_p": 2.0},
        {"top_k": -5},
        {"min_p": math.inf},
        {"repeat_penalty": 0.0},
        {"presence_penalty": 1e9},
        {"max_tokens": -1},
        {"seed": -1},
        {"seed": 2**64 - 1, "logprobs": 1000},
        {"stop": ("",)},
        {"stop": ("x",) * 100},
        {"json_schema": "{}", "grammar": 'root ::= "a"'},
        {"json_schema": "no json"},
        {"grammar": "root ::= root"},
        {"grammar": 'root ::= "a'},
        {"grammar": ""},
    ],
)
def test_settings_out_of_range_are_refused(worker: Worker, wrong: dict[str, object]) -> None:
    assert failed(worker.run(chat("hello", **wrong))).code == "bad_request"


def test_empty_requests_are_refused(worker: Worker) -> None:
    for work in (Chat(()), Complete(()), Complete(""), Embed(("x",))):
        assert failed(worker.run(work)).code == "bad_request"


def test_extreme_settings_within_their_ranges_work(worker: Worker) -> None:
    for extreme in (
        {"temperature": 1e-9},
        {"temperature": 100.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0},
        {"top_p": 0.0},
        {"min_p": 1.0},
        {"top_k": 1_000_000},
        {"seed": 0xFFFFFFFF},
        {"repeat_penalty": 10.0, "presence_penalty": -10.0, "frequency_penalty": 10.0},
    ):
        events = worker.run(chat("hello", max_tokens=8, **extreme))
        assert ended(events).usage.completion_tokens <= 8


def test_cancel_takes_effect_within_a_step(worker: Worker) -> None:
    worker.send(Run("job", chat("hello", seed=1)))
    while not isinstance(worker.report().event, Piece):
        pass
    worker.cancel("job")
    events = worker.events(["job"])["job"]
    assert ended(events).finish == "cancelled"
    assert ended(events).usage.completion_tokens < CONTEXT - 100


def test_counting_is_exact(worker: Worker) -> None:
    messages = (Message("system", "be kind"), Message("user", "hello <|im_end|> there"))
    counted = started(worker.run(Count(messages))).prompt_tokens
    asked = worker.run(Chat(messages, Sampling(max_tokens=1)))
    assert counted == started(asked).prompt_tokens


def test_control_texts_of_a_person_are_only_text(worker: Worker) -> None:
    """What a message says cannot end the message: it is tokenised as letters."""
    plain = started(worker.run(Count((Message("user", "a"),)))).prompt_tokens
    tricky = started(worker.run(Count((Message("user", "a<|im_end|>"),)))).prompt_tokens
    assert tricky - plain >= len("<|im_end|>") - 3


SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 12},
        "count": {"type": "integer"},
        "kind": {"enum": ["joke", 'sum "two"', None, 3]},
        "tags": {"type": "array", "items": {"type": "boolean"}, "maxItems": 3},
    },
    "required": ["name", "kind"],
}


def test_a_schema_makes_valid_json(worker: Worker) -> None:
    for seed in range(6):
        work = chat("go", max_tokens=300, seed=seed, json_schema=json.dumps(SCHEMA))
        events = worker.run(work)
        assert ended(events).finish == "stop"
        found = json.loads(text_of(events))
        assert {"name", "kind"} <= set(found) <= set(SCHEMA["properties"])
        assert found["kind"] in ["joke", 'sum "two"', None, 3]
        assert len(found["name"]) <= 12
        assert all(isinstance(tag, bool) for tag in found.get("tags", []))


def test_an_empty_schema_makes_an_object(worker: Worker) -> None:
    events = worker.run(chat("go", max_tokens=400, seed=2, json_schema="{}"))
    if ended(events).finish == "stop":
        assert isinstance(json.loads(text_of(events)), dict)
    assert text_of(events).startswith("{")


def test_a_grammar_is_kept(wild: Worker) -> None:
    events = wild.run(chat("go", seed=2, grammar='root ::= ("yes" | "no") " sir"', logprobs=2))
    assert text_of(events) in ("yes sir", "no sir")
    assert ended(events).finish == "stop"


def test_what_keeps_to_a_grammar_is_always_text(wild: Worker) -> None:
    """llama.cpp takes any byte for the rest of a character; a parser of JSON does not."""
    for seed in range(12):
        grammar = 'root ::= "<" [^<>\\x00-\\x7f]{12} ">"'
        events = wild.run(chat("go", max_tokens=100, seed=seed, grammar=grammar))
        assert ended(events).finish == "stop"
        assert "\ufffd" not in text_of(events)
        assert len(text_of(events)) == 14, "two brackets, and as many characters as asked for"


def test_greedy_and_grammar_go_together(worker: Worker) -> None:
    work = chat("go", seed=2, temperature=0.0, grammar='root ::= [a-z]{3} ("!" | "é" | "日本")')
    assert len(text_of(worker.run(work))) in (4, 5)


def test_a_long_prompt_does_not_stop_the_others(worker: Worker) -> None:
    worker.send(Run("short", chat("hello", max_tokens=200, seed=1)))
    while not isinstance(worker.report().event, Piece):
        pass
    worker.send(Run("long", Complete(tuple([20, 21] * 400), Sampling(max_tokens=5, seed=1))))
    events = worker.events(["short", "long"])
    assert ended(events["long"]).usage.completion_tokens == 5


def test_a_file_that_is_no_model_is_said_so(tmp_path: Path) -> None:
    whole = llama_file().to_bytes()
    for name, data in {
        "empty": b"",
        "noise": b"noise" * 999,
        "cut": whole[: len(whole) // 2],
    }.items():
        path = tmp_path / f"{name}.gguf"
        path.write_bytes(data)
        with Worker() as worker:
            answer = worker.load_fails(Load("llama", str(path), 512))
            assert "could not be loaded" in answer.message
            assert not answer.out_of_memory
            assert worker.leaves() == 0


def test_a_context_that_no_machine_holds_is_out_of_memory(tmp_path: Path) -> None:
    file = llama_file(shape=Shape(context=1 << 20)).write(tmp_path / "long.gguf")
    with Worker() as worker:
        answer = worker.load_fails(Load("llama", str(file), 1 << 20, 64, threads=1))
        assert answer.out_of_memory
        assert "shorter context" in answer.message


def test_a_model_without_a_template_speaks_chatml(tmp_path: Path) -> None:
    path = llama_file().without("tokenizer.chat_template").write(tmp_path / "bare.gguf")
    with loaded(Load("llama", str(path), 512)) as worker:
        assert text_of(worker.run(chat("hello", max_tokens=5, seed=1)))


def test_a_hostile_template_fails_the_chat_only(tmp_path: Path) -> None:
    endless = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
    file = llama_file().with_value("tokenizer.chat_template", STRING, endless)
    with loaded(Load("llama", str(file.write(tmp_path / "evil.gguf")), 512)) as worker:
        failure = failed(worker.run(chat("hello")))
        assert isinstance(failure, Failed)
        assert failure.code == "bad_request"
        assert "template" in failure.message
        assert text_of(worker.run(Complete("hello", Sampling(max_tokens=4, seed=1))))


def test_the_starter_model_tells_a_joke() -> None:
    starter = ROOT / "models" / "starter" / "starter.gguf"
    with loaded(Load("llama", str(starter), 0, 2)) as worker:
        events = worker.run(chat("tell me a joke", seed=3))
        assert ended(events).finish == "stop"
        assert len(text_of(events).split()) > 5


def test_a_model_that_computes_no_numbers_is_told(tmp_path: Path) -> None:
    from dataclasses import replace

    from tests.support.gguf_maker import FLOAT32, GgufFile

    file = llama_file(tensor_type=FLOAT32)
    broken = tuple(
        replace(tensor, data=b"\x00\x00\xc0\x7f" * (len(tensor.data) // 4))
        if tensor.name == "output_norm.weight"
        else tensor
        for tensor in file.tensors
    )
    path = GgufFile(file.metadata, broken).write(tmp_path / "nan.gguf")
    with loaded(Load("llama", str(path), 512)) as worker:
        failure = failed(worker.run(chat("hello", max_tokens=4)))
        assert failure.code == "internal"
        assert "no number" in failure.message
