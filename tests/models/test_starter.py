"""The starter model that ships with the node, and the corpus that it comes from."""

from __future__ import annotations

import argparse
import importlib
import random
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.cli.main import COMMANDS

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from eval_starter import MODEL, open_model
from starter.corpus import SPLITS, Corpus, CorpusError, load_corpus, read_blocks
from starter.dialogues import NUMBERS, Asker
from starter.scoring import Answer, Case, held_out, judge, tell_me_a_joke

# Commands of later versions. An answer that names one must say that it comes later.
LATER = {
    "share": {"add", "get", "ls", "pin", "unpin", "gc", "export", "import"},
    "mesh": {"create", "invite", "join", "list", "members", "peers", "leave", "revoke"},
    "plugins": {"search", "install", "remove", "list", "new", "test", "publish"},
    "feeds": {"follow", "unfollow", "list", "log", "verify"},
    "receipts": {"list", "show", "verify"},
    "policy": {"show", "edit", "explain", "test", "replay"},
    "bundle": {"create", "import", "inspect"},
    "backup": {"create", "restore", "list"},
    **{name: {""} for name in ("persona", "docs", "memory", "bench")},
}

# What may stand in a frame's places.
SLOTS = {"x": ".+", "a": r"\d+", "b": r"\d+", "op": "[-+*/]", "word": r"\D+"}


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return load_corpus()


@pytest.fixture(scope="module")
def answer() -> Iterator[Answer]:
    with open_model(MODEL) as answer:
        yield answer


# The file.


def test_the_model_is_at_most_eight_megabytes() -> None:
    assert 100_000 < MODEL.stat().st_size <= 8 * 1024 * 1024


@pytest.mark.native
def test_the_file_says_what_it_is() -> None:
    from llama_cpp import Llama

    model = Llama(str(MODEL), vocab_only=True, verbose=False)
    facts = dict(model.metadata)
    model.close()
    assert facts["general.name"] == "Kith starter"
    assert facts["general.license"] == "apache-2.0"
    assert facts["general.architecture"] == "llama"
    assert "starter" in facts["general.description"].lower()
    assert int(facts["llama.context_length"]) >= 1024
    assert facts["tokenizer.ggml.model"] == "gpt2"
    assert "<|im_start|>" in facts["tokenizer.chat_template"]


# The corpus.


def test_there_are_at_least_sixty_jokes_and_none_twice(corpus: Corpus) -> None:
    assert len(corpus.jokes) >= 60
    assert len({joke.lower() for joke in corpus.jokes}) == len(corpus.jokes)


def test_there_are_a_few_hundred_questions_about_the_node(corpus: Corpus) -> None:
    assert len(corpus.node) >= 150
    assert sum(len(block.wordings()) for block in corpus.node) >= 1000


def test_no_answer_is_long_and_no_two_intents_share_one(corpus: Corpus) -> None:
    answers = [answer for block in corpus.node + corpus.talk for answer in block.answers]
    assert max(map(len, answers)) <= 200
    assert len(set(answers)) == len(answers)
    assert not set(answers) & set(corpus.decline)


def test_every_intent_has_an_answer_and_held_out_questions(corpus: Corpus) -> None:
    for block in corpus.node + corpus.talk:
        assert block.answers, block.name
        assert block.wordings(), block.name
        assert len(block.held) >= 2, block.name


def test_no_wording_means_two_things(corpus: Corpus) -> None:
    owners: dict[tuple[str, str], str] = {}
    for block in corpus.node + corpus.talk + corpus.unknown:
        for wording in set(block.wordings()):
            assert owners.setdefault(wording, block.name) == block.name, wording


def test_every_command_in_an_answer_exists_or_is_said_to_come_later(corpus: Corpus) -> None:
    texts = [a for block in corpus.node + corpus.talk for a in block.answers] + corpus.decline
    named = [(c, text) for text in texts for c in re.findall(r"`(?:node|kith) ([^`]+)`", text)]
    assert len(named) > 100
    for command, text in named:
        name, *rest = shlex.split(command)
        if name in COMMANDS:
            _parse(name, rest)
        elif name != "--version":
            assert (rest or [""])[0] in LATER[name], command
            assert "later" in text, text


def _parse(name: str, arguments: list[str]) -> None:
    """The command line's own parser takes these words; anything else exits with 2."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--home")
    importlib.import_module(COMMANDS[name][0]).add_arguments(parser)
    if arguments not in ([], ["--help"]):
        parser.parse_args(arguments)


def test_held_out_families_and_topics_are_in_no_other_split(corpus: Corpus) -> None:
    frames = {
        s: {f for b in corpus.frames if b.split == s for f in b.phrases["frames"]} for s in SPLITS
    }
    topics = {s: {w for b in corpus.unknown if b.split == s for w in b.wordings()} for s in SPLITS}
    for parts in (frames, topics):
        assert all(parts.values())
        assert not parts["train"] & parts["test"]
        assert not parts["train"] & parts["dev"]
        assert not parts["dev"] & parts["test"]


def test_training_never_shows_a_held_out_phrase(corpus: Corpus) -> None:
    asker, rng = Asker(corpus, "train"), random.Random(0)
    trained = "\n".join(asker.question(rng).text.lower() for _ in range(20_000))
    held = [text for block in corpus.node + corpus.talk for text in block.held]
    for block in corpus.frames:
        if block.split != "train":
            held += [f for f in block.phrases["frames"] if "{" not in f]
    for block in corpus.unknown:
        if block.split != "train":
            held += [text for _, text in block.wordings() if " " in text]
    assert len(held) > 500
    for phrase in held:
        assert f"\n{phrase.lower()}" not in trained, phrase
    for block in corpus.frames:
        for frame in block.phrases["frames"] if block.split != "train" else []:
            shape = re.sub(r"\\{(\w+)\\}", lambda m: SLOTS[m[1]], re.escape(frame))
            found = re.search(rf"^{shape}[?!. ]*$", trained, re.MULTILINE)
            assert not found, (frame, found)


def test_the_same_seed_asks_the_same_questions(corpus: Corpus) -> None:
    first, second = (held_out(corpus, "test", 3, 10) for _ in range(2))
    assert first == second
    assert first != held_out(corpus, "test", 4, 10)


def test_a_malformed_corpus_file_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "bad.txt"
    path.write_text("= one\nwhatever: this\n")
    with pytest.raises(CorpusError, match=r"bad\.txt:2"):
        read_blocks(path)


# The model.


@pytest.mark.native
def test_it_tells_a_joke_of_the_corpus_every_time(corpus: Corpus, answer: Answer) -> None:
    score = judge(tell_me_a_joke(corpus, 40), answer)
    assert score.right == 40, score.wrong
    assert len(score.answers) >= 10


@pytest.mark.native
@pytest.mark.parametrize(
    ("group", "least"),
    [("node", 0.75), ("unknown", 0.7), ("joke", 0.95), ("capital", 0.65)],
)
def test_it_answers_held_out_questions(
    corpus: Corpus, answer: Answer, group: str, least: float
) -> None:
    score = judge(held_out(corpus, "test", 0, 30)[group], answer)
    assert score.share >= least, score.wrong


@pytest.mark.native
def test_it_answers_after_a_long_chat(corpus: Corpus, answer: Answer) -> None:
    score = judge(held_out(corpus, "test", 0, 30)["node, after a long chat"], answer)
    assert score.share >= 0.65, score.wrong


@pytest.mark.native
def test_it_adds_and_subtracts_small_numbers(corpus: Corpus, answer: Answer) -> None:
    asker, rng = Asker(corpus, "train"), random.Random(5)
    cases = [Case(asker.question(rng, "sum")) for _ in range(30)]
    assert judge(cases, answer).share >= 0.65
    assert max(NUMBERS) == 12


@pytest.mark.native
def test_a_wrong_answer_is_judged_wrong(corpus: Corpus) -> None:
    score = judge(tell_me_a_joke(corpus, 3), lambda messages, seed: "Why did")
    assert score.right == 0
    assert len(score.wrong) == 3
