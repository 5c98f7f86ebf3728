"""A backend that follows a script instead of computing: for tests of everything around a model.

The script is a JSON file, given as the path of the model:

    {"context": 4096, "dimensions": 8, "load": {"delay_s": 0, "error": "...", "out_of_memory": true},
     "default": "what to say when no rule fits",
     "rules": [{"match": "joke", "reply": "text, or {prompt}", "delay_s": 0.01,
                "then": "abort", "after": 3}]}

The first rule whose `match` is in what the last user said (else in the whole prompt) answers.
`delay_s` is slept before every token. After `after` tokens the rule does what `then` says: "abort"
(as native code does), "exit", "hang" (a step that never ends), "error" (a step that fails).
Tokens are words with the space before them; the same seed or another changes nothing.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NoReturn

import msgspec

from models.backends.base import ChatFormat, Choice, Info, LoadError, Logprob, Part, StepError
from protocols.jobs import Sampling
from protocols.worker import Load

if TYPE_CHECKING:
    from models.backends.base import Vector

_WORDS = re.compile(r"<\|[a-z_]+\|>|\s*[^\s<]+|\s+|<")
_CONTROL = ("<|im_start|>", "<|im_end|>")
_END = 1
_USER = "<|im_start|>user\n"
_MAX_ROWS = 2048


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    reply: str = ""
    match: str = ""
    delay_s: float = 0.0
    then: Literal["abort", "exit", "hang", "error"] | None = None
    after: int = 0


class LoadScript(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    delay_s: float = 0.0
    error: str | None = None
    out_of_memory: bool = False
    then: Literal["abort", "exit", "hang"] | None = None


class Script(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    rules: tuple[Rule, ...] = ()
    default: str = "The script has no rule for this."
    context: int = 4096
    dimensions: int = 8
    memory_bytes: int = 1_000_000
    load: LoadScript = LoadScript()


def _read(load: Load) -> Script:
    try:
        script = msgspec.json.decode(Path(load.path).read_bytes(), type=Script)
    except (OSError, msgspec.MsgspecError) as error:
        raise LoadError(f"the script could not be read: {error}") from error
    time.sleep(script.load.delay_s)
    if script.load.error is not None:
        raise LoadError(script.load.error, out_of_memory=script.load.out_of_memory)
    if script.load.then is not None:
        _misbehave(script.load.then)
    return script


def _misbehave(how: str) -> NoReturn:
    if how == "abort":
        os.abort()
    if how == "exit":
        os._exit(3)
    if how == "error":
        raise StepError("the script says that this step fails")
    while True:
        time.sleep(3600)


def _info(script: Script, load: Load) -> Info:
    context = min(load.context or script.context, script.context)
    return Info("scripted", context, load.sequences, script.memory_bytes)


class _Words:
    """Tokens for words, numbered as they are met."""

    def __init__(self) -> None:
        self.texts = list(_CONTROL)
        self._numbers = {text: number for number, text in enumerate(self.texts)}

    def split(self, text: str) -> list[int]:
        return [self._number(word) for word in _WORDS.findall(text)]

    def _number(self, word: str) -> int:
        if word not in self._numbers:
            self._numbers[word] = len(self.texts)
            self.texts.append(word)
        return self._numbers[word]


class _Answer:
    """How one slot answers: what it has read, and the rest of its reply."""

    def __init__(self) -> None:
        self.read: list[int] = []
        self.rule: Rule | None = None
        self.reply: list[int] = []
        self.said = 0
        self.logprobs = False


class ScriptedBackend:
    """A `StepBackend` without a model."""

    def __init__(self, load: Load) -> None:
        self._script = _read(load)
        self._words = _Words()
        self._answers = [_Answer() for _ in range(load.sequences)]
        self.info = _info(self._script, load)
        self.max_rows = _MAX_ROWS
        self.chat_format = ChatFormat(None)

    def tokenize(self, text: str, *, special: bool, start: bool) -> list[int]:
        return self._words.split(text)

    def valid(self, token: int) -> bool:
        return 0 <= token < len(self._words.texts)

    def piece(self, token: int) -> bytes:
        return b"" if token < len(_CONTROL) else self._words.texts[token].encode()

    def is_end(self, token: int) -> bool:
        return token == _END

    def control_texts(self) -> frozenset[str]:
        return frozenset(_CONTROL)

    def begin(self, slot: int, sampling: Sampling, seed: int) -> None:
        answer = self._answers[slot]
        answer.rule, answer.reply, answer.said = None, [], 0
        answer.logprobs = sampling.logprobs is not None

    def end(self, slot: int) -> None:
        self._answers[slot].rule = None

    def keep(self, slot: int, tokens: int) -> int:
        del self._answers[slot].read[tokens:]
        return tokens

    def step(self, parts: Sequence[Part]) -> list[Choice]:
        choices = []
        for part in parts:
            answer = self._answers[part.slot]
            if len(answer.read) != part.start:
                raise StepError(f"slot {part.slot} holds {len(answer.read)} tokens")
            answer.read.extend(part.tokens)
            if part.choose:
                choices.append(self._choose(answer))
        return choices

    def _choose(self, answer: _Answer) -> Choice:
        if answer.rule is None:
            answer.rule, text = self._find_rule(answer.read)
            answer.reply = self._words.split(text)
        rule = answer.rule
        time.sleep(rule.delay_s)
        if rule.then is not None and answer.said >= rule.after:
            _misbehave(rule.then)
        token = answer.reply[answer.said] if answer.said < len(answer.reply) else _END
        answer.said += 1
        return Choice(token, Logprob(0.0, ((token, 0.0),)) if answer.logprobs else None)

    def _find_rule(self, read: list[int]) -> tuple[Rule, str]:
        prompt = "".join(self._words.texts[token] for token in read)
        user = prompt.rpartition(_USER)[2].partition("<|im_end|>")[0]
        for rule in self._script.rules:
            if rule.match in user:
                return rule, rule.reply.replace("{prompt}", user)
        return Rule(), self._script.default

    def close(self) -> None:
        """There is nothing to free."""


class ScriptedEmbedder:
    """An `Embedder` without a model: a text's vector follows from its hash."""

    def __init__(self, load: Load) -> None:
        script = _read(load)
        self._words = _Words()
        self.info = _info(script, load)
        self.dimensions = script.dimensions
        self.max_rows = _MAX_ROWS
        self.max_texts = 16

    def encode(self, text: str) -> tuple[list[int], bool]:
        tokens = self._words.split(text)
        return tokens[: self.info.context], len(tokens) > self.info.context

    def embed(self, batch: Sequence[Sequence[int]]) -> list[Vector]:
        return [self._vector(tokens) for tokens in batch]

    def _vector(self, tokens: Sequence[int]) -> Vector:
        import numpy as np

        text = "".join(self._words.texts[token] for token in tokens)
        seed = int.from_bytes(sha256(text.encode()).digest()[:8], "big")
        return np.random.default_rng(seed).standard_normal(self.dimensions, dtype=np.float32)

    def close(self) -> None:
        """There is nothing to free."""
