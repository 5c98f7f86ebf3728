"""Questions and whole dialogues made from the corpus, the same ones for the same seed.

Every question is (what is asked, the answers that are right). Training draws from the split `train`;
the evaluation draws from `dev` or `test`, whose frames and topics training never sees.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from starter import noise
from starter.corpus import Block, Corpus

SHARES = {"node": 46, "unknown": 26, "joke": 7, "talk": 8, "capital": 6, "sum": 7}
NUMBERS = range(13)  # both sides of a small sum
NUMBER_WORDS = {"+": ("plus", "and", "added to"), "-": ("minus", "less", "take away")}


@dataclass(frozen=True)
class Question:
    group: str  # node, unknown, joke, talk, capital, sum
    name: str  # the intent or topic
    text: str
    answers: tuple[str, ...]


@dataclass(frozen=True)
class Turn:
    role: str
    text: str


class Asker:
    """Draws questions of one split."""

    def __init__(self, corpus: Corpus, split: str) -> None:
        self.corpus = corpus
        self.split = split
        self.topics = [block for block in corpus.unknown if block.split == split]
        kinds = ("do", "what", "where", "can", "carry", "sum", "cap", "joke")
        self.frames = {kind: corpus.frames_of(kind, split) for kind in kinds}
        self.system = [t for b in corpus.system if b.split == split for t in b.phrases["ask"]]
        self._verbs = [
            text.split(" ")
            for block in corpus.node
            for text in block.phrases.get("do", [])
            if 1 < text.count(" ") < 4
        ]

    def question(self, rng: random.Random, group: str = "") -> Question:
        """A question of a group, or of a random group in its usual share."""
        if not group:
            group = rng.choices(list(SHARES), list(SHARES.values()))[0]
        makers = {
            "node": self._known,
            "talk": self._known,
            "unknown": self._unknown,
            "joke": self._joke,
            "capital": self._capital,
            "sum": self._sum,
        }
        return makers[group](rng, group)

    def about(self, rng: random.Random, group: str, block: Block) -> Question:
        """A question about one intent or topic. Outside training a known intent is asked in held-out frames only."""
        wordings = block.wordings()
        if self.split != "train" and block.answers:
            wordings = [(kind, text) for kind, text in wordings if kind != "ask"]
        kind, phrase = rng.choice(wordings)
        answers = block.answers or self.corpus.decline
        return Question(group, block.name, self._framed(rng, kind, phrase), tuple(answers))

    def _framed(self, rng: random.Random, kind: str, phrase: str) -> str:
        if kind != "ask":
            if self.split == "train" and rng.random() < 0.2:
                phrase = noise.synonyms(rng, phrase, self.corpus.synonyms)
            phrase = rng.choice(self.frames[kind]).replace("{x}", phrase)
        elif self.split == "train" and rng.random() < 0.3:
            phrase = noise.synonyms(rng, phrase, self.corpus.synonyms)
        return self._noisy(rng, phrase, 0.35 if kind != "ask" or self.split == "train" else 1.0)

    def _noisy(self, rng: random.Random, text: str, carried: float) -> str:
        """Around a question: a carrier; in training also typos and lost words."""
        if rng.random() < carried:
            text = rng.choice(self.frames["carry"]).replace("{x}", text)
        if self.split == "train":
            if rng.random() < 0.06:
                text = noise.keywords(rng, text)
            if rng.random() < 0.08:
                text = noise.typo(rng, text)
        return noise.surface(rng, text)

    def _known(self, rng: random.Random, group: str) -> Question:
        blocks = self.corpus.node if group == "node" else self.corpus.talk
        return self.about(rng, group, rng.choice(blocks))

    def framed_intents(self) -> list[Block]:
        """The node's intents that can be asked in frames, not only in whole questions."""
        return [b for b in self.corpus.node if any(kind != "ask" for kind in b.phrases)]

    def _unknown(self, rng: random.Random, group: str) -> Question:
        if self.split == "train" and rng.random() < 0.35:
            return self._invented(rng)
        return self.about(rng, group, rng.choice(self.topics))

    def _invented(self, rng: random.Random) -> Question:
        """A question in a known frame, with known verbs, about a thing that does not exist."""
        if rng.random() < 0.12:
            text = self._noisy(rng, self._large_sum(rng), 0.25)
            return Question("unknown", "large sum", text, tuple(self.corpus.decline))
        word = noise.invented_word(rng)
        if rng.random() < 0.3:
            word += " " + noise.invented_word(rng)
        kind = rng.choice(("do", "do", "what", "where", "ask"))
        if kind == "do":
            phrase = " ".join([*rng.choice(self._verbs)[:-1], word])
        elif kind == "ask":
            pattern = "who is {x}|who was {x}|when was {x}|why do {x}s {y}|how many {x}s has a {y}"
            pattern += "|{x} {y}|is {x} a {y}|which {x} is best|how old is {x}|who made {x}"
            other = noise.invented_word(rng)
            phrase = rng.choice(pattern.split("|")).replace("{x}", word).replace("{y}", other)
        else:
            phrase = rng.choice(("the ", "a ", "my ", "")) + word
        text = self._framed(rng, kind, phrase)
        return Question("unknown", "invented", text, tuple(self.corpus.decline))

    def _joke(self, rng: random.Random, group: str) -> Question:
        plain = self.split == "train" and rng.random() < 0.15
        text = "tell me a joke" if plain else rng.choice(self.frames["joke"])
        text = self._noisy(rng, text, 0.3)
        return Question(group, "joke", text, tuple(self.corpus.jokes))

    def _capital(self, rng: random.Random, group: str) -> Question:
        country = rng.choice(list(self.corpus.capitals))
        name = country if rng.random() < 0.5 else country.lower()
        text = self._noisy(rng, rng.choice(self.frames["cap"]).replace("{x}", name), 0.25)
        return Question(group, country, text, (capital_answer(self.corpus, country),))

    def _sum(self, rng: random.Random, group: str) -> Question:
        left, right, sign = rng.choice(NUMBERS), rng.choice(NUMBERS), rng.choice("+-")
        frame = rng.choice(self.frames["sum"])
        text = frame.replace("{a}", str(left)).replace("{b}", str(right)).replace("{op}", sign)
        text = text.replace("{word}", rng.choice(NUMBER_WORDS[sign]))
        text = self._noisy(rng, text, 0.25)
        return Question(group, f"{left}{sign}{right}", text, (sum_answer(left, sign, right),))

    def _large_sum(self, rng: random.Random) -> str:
        """A sum outside the small ones: a larger number, or another way to reckon."""
        sign = rng.choice("+-*/")
        far = rng.choice((20, 99, 99, 999, 99999))
        sides = [rng.randint(NUMBERS.stop, far), rng.randint(0, far)]
        if sign in "*/":
            sides = [rng.randint(0, far), rng.randint(0, far)]
        rng.shuffle(sides)
        words = NUMBER_WORDS.get(sign, ("times", "divided by", "multiplied by", "modulo"))
        frame = rng.choice(self.frames["sum"]).replace("{word}", rng.choice(words))
        frame = frame.replace("{a}", str(sides[0])).replace("{b}", str(sides[1]))
        return frame.replace("{op}", sign)

    def held(self, rng: random.Random) -> list[Question]:
        """The free paraphrases that were written by hand for this split, one question each."""
        blocks = [("node", b) for b in self.corpus.node] + [("talk", b) for b in self.corpus.talk]
        return [
            Question(group, block.name, noise.surface(rng, text), tuple(block.answers))
            for group, block in blocks
            for text in block.held_for(self.split)
        ]

    def dialogue(self, rng: random.Random, turns: int) -> list[Turn]:
        """Questions with right answers, after each other, sometimes under a system prompt."""
        made = [Turn("system", rng.choice(self.system))] if rng.random() < 0.2 else []
        for _ in range(turns):
            asked = self.question(rng)
            made.append(Turn("user", asked.text))
            made.append(Turn("assistant", rng.choice(asked.answers)))
            if asked.group == "joke" and rng.random() < 0.25:
                again = rng.choice(("another one", "one more", "again", "more", "and another"))
                made.append(Turn("user", noise.surface(rng, again)))
                made.append(Turn("assistant", rng.choice(asked.answers)))
        return made


def capital_answer(corpus: Corpus, country: str) -> str:
    return f"The capital of {country} is {corpus.capitals[country]}."


def sum_answer(left: int, sign: str, right: int) -> str:
    return f"{left} {sign} {right} = {left + right if sign == '+' else left - right}"
