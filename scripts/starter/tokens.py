"""The byte-level BPE tokenizer, the chat format, and packing dialogues into training sequences."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from starter.dialogues import Asker, Turn

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
START, END = 1, 2
TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content']"
    " + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
ANSWER_HEAD = 8  # the tokens in which most answers part ways weigh more
FIRST_TURNS = (1, 1, 1, 1, 1, 1, 2, 2, 3, 6, 40)  # the first dialogue of a row may fill it
OTHER_TURNS = (1, 1, 1, 1, 1, 2, 3)
CUT_SHARE, CUT_TOKENS = 0.75, 14
WEIGHT_HEAD, WEIGHT_ANSWER, WEIGHT_QUESTION = 2.0, 1.0, 0.05


def train_tokenizer(texts: Iterable[str], size: int) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    # The same split of text into words as llama.cpp's pre-tokenizer "gpt-2".
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=list(SPECIAL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
        min_frequency=2,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def vocabulary(tokenizer: Tokenizer) -> tuple[dict[str, int], list[str]]:
    """Tokens with their ids, and the merges in order."""
    model: dict[str, Any] = json.loads(tokenizer.to_str())["model"]
    merges = [m if isinstance(m, str) else " ".join(m) for m in model["merges"]]
    return model["vocab"], merges


@dataclass
class Batch:
    """Several dialogues per row, which do not see each other."""

    tokens: np.ndarray  # [rows, length + 1] int32
    weights: np.ndarray  # [rows, length + 1] float32: how much predicting this token counts
    dialogue: np.ndarray  # [rows, length + 1] int32: 0 is padding
    position: np.ndarray  # [rows, length + 1] int32


class Packer:
    """Fills rows of a fixed length with dialogues."""

    def __init__(self, tokenizer: Tokenizer, asker: Asker, split_words: float = 0.08) -> None:
        self.plain = tokenizer
        self.asker = asker
        # Questions are sometimes split into smaller pieces, so that unusual spellings are no surprise.
        self.rough = Tokenizer.from_str(tokenizer.to_str())
        self.rough.model.dropout = split_words
        self.heads = {
            role: [START, *self.plain.encode(role + "\n").ids]
            for role in ("system", "user", "assistant")
        }
        self.whole = set(asker.corpus.jokes)  # jokes part ways late, so they are always shown whole
        self.newline: list[int] = self.plain.encode("\n").ids

    def encode(self, rng: random.Random, turns: list[Turn]) -> tuple[list[int], list[float]]:
        """Tokens and weights. The end of the last answer is often left out: the rows learn most where
        the answer is chosen, and the rest of a known sentence needs few examples."""
        ids: list[int] = []
        weights: list[float] = []
        for turn in turns:
            head = self.heads[turn.role]
            rough = turn.role != "assistant" and rng.random() < 0.25
            body = (self.rough if rough else self.plain).encode(turn.text).ids
            ids += [*head, *body, END, *self.newline]
            if turn.role == "assistant":
                first = min(ANSWER_HEAD, len(body) + 1)
                rest = len(body) + 1 - first
                marks = [WEIGHT_HEAD] * first + [WEIGHT_ANSWER] * rest
            else:
                marks = [WEIGHT_QUESTION] * (len(body) + 1)
            weights += [0.0] * len(head) + marks + [0.0] * len(self.newline)
        start = len(ids) - len(marks) - len(self.newline)  # of the last answer
        if turns[-1].text not in self.whole and rng.random() < CUT_SHARE:
            return ids[: start + CUT_TOKENS], weights[: start + CUT_TOKENS]
        return ids, weights

    def batch(self, rng: random.Random, rows: int, length: int, furthest: int) -> Batch:
        width = length + 1
        made = Batch(
            np.zeros((rows, width), np.int32),
            np.zeros((rows, width), np.float32),
            np.zeros((rows, width), np.int32),
            np.zeros((rows, width), np.int32),
        )
        for row in range(rows):
            self._fill(rng, made, row, width, furthest)
        return made

    def _fill(self, rng: random.Random, made: Batch, row: int, width: int, furthest: int) -> None:
        used, number = 0, 0
        while width - used > 24:
            number += 1
            turns = rng.choice(FIRST_TURNS if number == 1 else OTHER_TURNS)
            ids, weights = self.encode(rng, self.asker.dialogue(rng, turns))
            count = min(len(ids), width - used)
            span = slice(used, used + count)
            made.tokens[row, span] = ids[:count]
            made.weights[row, span] = weights[:count]
            made.dialogue[row, span] = number
            made.position[row, span] = _positions(rng, ids[:count], furthest)
            used += count


def _positions(rng: random.Random, ids: list[int], furthest: int) -> np.ndarray:
    """Positions that jump ahead before some messages, as if more had been said: far history stays familiar."""
    steps = np.ones(len(ids), np.int64)
    room = furthest - len(ids)
    starts = [i for i, token in enumerate(ids) if token == START and i]
    if room > 0 and starts and rng.random() < 0.4:
        for start in rng.sample(starts, min(len(starts), rng.choice((1, 2, 3)))):
            jump = rng.randrange(room // 3 + 1)
            steps[start] += jump
            room -= jump
    return np.asarray(np.cumsum(steps) - 1)
