"""Embeddings with onnxruntime and with llama.cpp, through real workers."""

import json
import math
from collections.abc import Sequence
from pathlib import Path

import pytest

from models.runtime.embedding import MAX_TEXTS
from protocols.jobs import Embed, Event, Vectors
from protocols.worker import Load, Run
from tests.models.worker_client import Worker, chat, ended, failed, loaded, started
from tests.support.gguf_maker import tiny_llama
from tests.support.onnx_maker import POSITIONS, tiny_embedder

pytestmark = pytest.mark.native
TEXTS = ("hello world", "the people of the node", "a joke")


def vectors_of(events: Sequence[Event]) -> tuple[tuple[float, ...], ...]:
    (found,) = [event for event in events if isinstance(event, Vectors)]
    return found.vectors


def close(one: Sequence[float], other: Sequence[float], tolerance: float = 1e-4) -> bool:
    return all(abs(a - b) < tolerance for a, b in zip(one, other, strict=True))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_embedder(tmp_path_factory.mktemp("embedder"))


@pytest.fixture(scope="module", params=["onnx", "llama"])
def worker(request: pytest.FixtureRequest, folder: Path) -> object:
    if request.param == "onnx":
        load = Load("onnx", str(folder), 0)
    else:
        load = Load("llama", str(tiny_llama(folder / "tiny.gguf")), 128, embedding=True)
    with loaded(load) as worker:
        yield worker


def test_vectors_have_length_one(worker: Worker) -> None:
    events = worker.run(Embed(TEXTS))
    vectors = vectors_of(events)
    assert len(vectors) == 3
    assert all(math.isclose(math.hypot(*vector), 1, rel_tol=1e-4) for vector in vectors)
    assert ended(events).usage.prompt_tokens == started(events).prompt_tokens > 5
    assert not close(vectors[0], vectors[1])


def test_a_text_has_its_vector_whatever_stands_beside_it(worker: Worker) -> None:
    together = vectors_of(worker.run(Embed((*TEXTS, "the people " * 10))))
    for text, vector in zip(TEXTS, together, strict=False):
        (alone,) = vectors_of(worker.run(Embed((text,))))
        assert close(alone, vector, 2e-2), "Q8 rounding depends on the batch a little"


def test_dimensions_cut_and_normalise_again(worker: Worker) -> None:
    (whole,) = vectors_of(worker.run(Embed(TEXTS[:1])))
    (cut,) = vectors_of(worker.run(Embed(TEXTS[:1], 8)))
    length = math.hypot(*whole[:8])
    assert close(cut, [value / length for value in whole[:8]])


def test_long_texts_are_cut_and_said_so(worker: Worker) -> None:
    events = worker.run(Embed(("short", "the people " * 500)))
    (found,) = [event for event in events if isinstance(event, Vectors)]
    assert found.truncated == (1,)
    assert started(events).prompt_tokens <= POSITIONS + 10


@pytest.mark.parametrize(
    "work",
    [
        Embed(()),
        Embed(("",)),
        Embed(TEXTS, 0),
        Embed(TEXTS, 100_000),
        Embed(("a",) * (MAX_TEXTS + 1)),
    ],
    ids=["none", "empty", "zero", "too many dimensions", "too many texts"],
)
def test_bad_requests_are_refused(worker: Worker, work: Embed) -> None:
    assert failed(worker.run(work)).code == "bad_request"


def test_it_does_not_write_text(worker: Worker) -> None:
    assert failed(worker.run(chat("hello"))).code == "bad_request"


def test_many_jobs_share_batches_and_keep_their_order(worker: Worker) -> None:
    jobs = [f"job{number}" for number in range(20)]
    worker.send(*(Run(job, Embed((job, job + " too"))) for job in jobs))
    events = worker.events(jobs)
    assert all(len(vectors_of(events[job])) == 2 for job in jobs)


def test_cancel_ends_a_waiting_job(worker: Worker) -> None:
    worker.send(Run("big", Embed(("the people of the node",) * 2000)))
    worker.send(Run("small", Embed(("a",))))
    worker.cancel("small")
    worker.cancel("big")
    events = worker.events(["big", "small"])
    assert ended(events["small"]).finish in ("cancelled", "stop")
    assert ended(events["big"]).finish in ("cancelled", "stop")


def test_the_file_itself_or_a_nested_one_will_do(tmp_path: Path) -> None:
    nested = tiny_embedder(tmp_path / "nested", nested=True)
    for path in (nested, nested / "onnx" / "model.onnx"):
        with loaded(Load("onnx", str(path), 0)) as worker:
            assert vectors_of(worker.run(Embed(("hello",))))


def test_a_folder_that_happens_to_be_named_onnx_is_the_models_own(tmp_path: Path) -> None:
    folder = tiny_embedder(tmp_path / "onnx")
    for path in (folder, folder / "model.onnx"):
        with loaded(Load("onnx", str(path), 0)) as worker:
            assert vectors_of(worker.run(Embed(("hello",))))


def test_pooling_follows_the_folder(tmp_path: Path) -> None:
    found = {}
    for mode in ("mean_tokens", "cls_token", "max_tokens", "lasttoken"):
        folder = tiny_embedder(tmp_path / mode)
        (folder / "1_Pooling").mkdir(exist_ok=True)
        config = {"word_embedding_dimension": 32, f"pooling_mode_{mode}": True}
        (folder / "1_Pooling" / "config.json").write_text(json.dumps(config))
        with loaded(Load("onnx", str(folder), 0)) as worker:
            (found[mode],) = vectors_of(worker.run(Embed(("the people",))))
    assert len(set(found.values())) == 4


def broken(folder: Path, what: str) -> None:
    if what == "no tokenizer":
        (folder / "tokenizer.json").unlink()
    elif what == "bad tokenizer":
        (folder / "tokenizer.json").write_text("{}")
    elif what == "no network":
        (folder / "model.onnx").unlink()
    elif what == "bad network":
        (folder / "model.onnx").write_bytes(b"\x08\x07" * 500)
    elif what == "empty network":
        (folder / "model.onnx").write_bytes(b"")
    elif what == "strange pooling":
        (folder / "1_Pooling").mkdir(exist_ok=True)
        config = {"pooling_mode_weightedmean_tokens": True}
        (folder / "1_Pooling" / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("no tokenizer", "tokenizer.json"),
        ("bad tokenizer", "tokenizer.json"),
        ("no network", "model.onnx"),
        ("bad network", "could not be loaded"),
        ("empty network", "could not be loaded"),
        ("strange pooling", "pooling"),
    ],
)
def test_a_broken_folder_is_explained(tmp_path: Path, what: str, words: str) -> None:
    folder = tiny_embedder(tmp_path / "model")
    broken(folder, what)
    with Worker() as worker:
        assert words in worker.load_fails(Load("onnx", str(folder), 0)).message


def test_the_scripted_embedder_is_steady(tmp_path: Path) -> None:
    path = tmp_path / "script.json"
    path.write_text('{"dimensions": 5}')
    with loaded(Load("scripted", str(path), 0, embedding=True)) as worker:
        one, two, three = vectors_of(worker.run(Embed(("a", "b", "a"))))
        assert one == three != two
        assert len(one) == 5
