"""What the evaluation asks the starter model, and how it judges the answers. No model in here."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from starter.corpus import Corpus
from starter.dialogues import Asker, Question, Turn

Answer = Callable[[list[Turn], int], str]  # (messages, seed) -> the model's answer


@dataclass(frozen=True)
class Case:
    """A question with what was said before it."""

    question: Question
    before: tuple[Turn, ...] = ()

    def messages(self) -> list[Turn]:
        return [*self.before, Turn("user", self.question.text)]


@dataclass
class Score:
    """How many of one kind of question were answered rightly."""

    right: int = 0
    asked: int = 0
    answers: set[str] = field(default_factory=set)
    wrong: list[tuple[str, str]] = field(default_factory=list)

    @property
    def share(self) -> float:
        return self.right / self.asked if self.asked else 0.0


def is_right(question: Question, answer: str) -> bool:
    """The answer is, to the letter, one that the corpus gives for this question."""
    return answer.strip() in question.answers


def judge(cases: Iterable[Case], answer: Answer, first_seed: int = 0) -> Score:
    score = Score()
    for number, case in enumerate(cases):
        said = answer(case.messages(), first_seed + number)
        score.asked += 1
        score.answers.add(said)
        if is_right(case.question, said):
            score.right += 1
        else:
            score.wrong.append((case.question.text, said))
    return score


def tell_me_a_joke(corpus: Corpus, count: int) -> list[Case]:
    question = Question("joke", "joke", "tell me a joke", tuple(corpus.jokes))
    return [Case(question)] * count


def held_out(corpus: Corpus, split: str, seed: int, size: int) -> dict[str, list[Case]]:
    """Every group of held-out questions. `size` questions for a group; node questions twice as many."""
    asker, rng = Asker(corpus, split), random.Random(f"evaluate-{split}-{seed}")
    intents = asker.framed_intents()
    rng.shuffle(intents)
    chosen = [intents[i % len(intents)] for i in range(2 * size)]
    groups = {"node": [Case(asker.about(rng, "node", block)) for block in chosen]}
    for group in ("unknown", "joke", "sum", "capital"):
        groups[group] = [Case(asker.question(rng, group)) for _ in range(size)]
    free = asker.held(rng)
    groups["node, free wording"] = [Case(q) for q in free if q.group == "node"]
    groups["talk, free wording"] = [Case(q) for q in free if q.group == "talk"]
    if split == "test":
        groups["node, fresh wording"] = [Case(question) for question in _fresh(corpus)]
    groups["node, after a long chat"] = [
        Case(asker.about(rng, "node", rng.choice(intents)), _history(corpus, asker, rng))
        for _ in range(size // 2)
    ]
    return groups


def _fresh(corpus: Corpus) -> list[Question]:
    """Questions as people would type them, written when the training corpus was finished."""
    answers = {block.name: tuple(block.answers) for block in corpus.node}
    return [
        Question("node", block.name, text, answers[block.name])
        for block in corpus.fresh
        for text in block.phrases["ask"]
    ]


def _history(corpus: Corpus, asker: Asker, rng: random.Random) -> tuple[Turn, ...]:
    """A held-out system prompt and up to twelve turns of an earlier chat."""
    said = Asker(corpus, "train").dialogue(rng, rng.randint(1, 12))
    said = [turn for turn in said if turn.role != "system"]
    return (Turn("system", rng.choice(asker.system)), *said)
