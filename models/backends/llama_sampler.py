"""Choosing a token from one row of logits with llama.cpp's samplers.

The choice is a function of the logits, the settings, the tokens of the answer so far, the seed and
the position, and of nothing else: the last sampler is made anew for every token, seeded from the
seed and the position. So the same answer comes whatever else is in the batch, and an answer can be
taken up again in its middle.
"""

from __future__ import annotations

import ctypes
from math import isfinite
from typing import TYPE_CHECKING, Any

import numpy as np

from models.backends.base import Choice, Logprob, RequestError, StepError
from models.backends.llama_utf8 import Utf8Guard
from protocols.jobs import Sampling

if TYPE_CHECKING:
    from models.backends.base import Vector

_GREEDY_BELOW = 0.01  # dividing logits by less than this overflows
_RANDOM_SEED = 0xFFFFFFFF  # llama.cpp takes this one to mean "any"
_CANDIDATE = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])
_MOST_REFUSED = 256  # tokens in one choice, each the wrong byte for the character it should end
_MASK = (1 << 64) - 1


class Sampler:
    """One request's way of choosing. Raises RequestError when the grammar is refused."""

    def __init__(
        self,
        lib: Any,
        vocab: Any,
        tokens: int,
        sampling: Sampling,
        seed: int,
        *,
        memory: int,
        guard: Utf8Guard | None = None,
    ) -> None:
        self._lib = lib
        self._vocab = vocab
        self._tokens = tokens
        self._seed = seed
        self._logprobs = sampling.logprobs
        assert sampling.temperature is not None  # settled by models.runtime.prompts
        self._greedy = sampling.temperature < _GREEDY_BELOW
        self._penalises = (
            sampling.repeat_penalty != 1.0
            or sampling.presence_penalty != 0.0
            or sampling.frequency_penalty != 0.0
        )
        self._grammar = self._init_grammar(sampling.grammar)
        self._guard = guard
        self._chain = self._init_chain(sampling, memory)
        self._candidates = np.zeros(tokens, _CANDIDATE)
        self._ids = np.arange(tokens, dtype=np.int32)
        self._array = lib.llama_token_data_array()

    def _init_grammar(self, grammar: str | None) -> Any:
        if grammar is None:
            return None
        sampler = self._lib.llama_sampler_init_grammar(self._vocab, grammar.encode(), b"root")
        if not sampler:
            raise RequestError("bad_request", "llama.cpp does not accept the grammar")
        return sampler

    def _init_chain(self, sampling: Sampling, memory: int) -> Any:
        lib = self._lib
        chain = lib.llama_sampler_chain_init(lib.llama_sampler_chain_default_params())
        added = []
        if self._penalises:
            strengths = (
                sampling.repeat_penalty,
                sampling.frequency_penalty,
                sampling.presence_penalty,
            )
            added.append(lib.llama_sampler_init_penalties(self._tokens, memory, *strengths))
        if self._greedy:
            added.append(lib.llama_sampler_init_greedy())
        else:
            if sampling.top_k:
                added.append(lib.llama_sampler_init_top_k(sampling.top_k))
            if sampling.top_p < 1:
                added.append(lib.llama_sampler_init_top_p(sampling.top_p, 1))
            if sampling.min_p > 0:
                added.append(lib.llama_sampler_init_min_p(sampling.min_p, 1))
            added.append(lib.llama_sampler_init_temp(sampling.temperature))
        for sampler in added:
            if not sampler:
                raise RequestError("internal", "llama.cpp could not make a sampler")
            lib.llama_sampler_chain_add(chain, sampler)
        return chain

    def choose(self, logits: Vector, position: int) -> Choice:
        """The token for this position. Raises StepError when the logits are no numbers."""
        if not isfinite(float(logits.max())):
            raise StepError("the model computed something that is no number; the file may be bad")
        if self._greedy and not self._penalises and self._grammar is None:
            token = int(logits.argmax())
        else:
            chosen = self._sample(logits, position)
            if chosen is None:
                return Choice(None)
            token = chosen
        if self._logprobs is None:
            return Choice(token)
        return Choice(token, _logprob(logits, token, self._logprobs))

    def _sample(self, logits: Vector, position: int) -> int | None:
        """A token that the grammar allows and that keeps the answer text; None when none does."""
        guard = self._guard
        if guard is not None:
            logits = np.where(guard.fitting, logits, -np.inf).astype(np.float32)
        for _ in range(_MOST_REFUSED):
            token = self._draw_from(logits, position)
            if token is None or guard is None or guard.accepts(token):
                break
            logits[token] = -np.inf
        else:
            return None
        if token is not None:
            self._accept(token)
        return token

    def _draw_from(self, logits: Vector, position: int) -> int | None:
        lib, array = self._lib, self._array
        candidates = self._candidates
        candidates["id"], candidates["logit"], candidates["p"] = self._ids, logits, 0.0
        array.data = ctypes.cast(candidates.ctypes.data, ctypes.POINTER(lib.llama_token_data))
        array.size, array.selected, array.sorted = len(candidates), -1, False
        if self._grammar is not None:
            lib.llama_sampler_apply(self._grammar, ctypes.byref(array))
            if not bool((candidates["logit"] > -np.inf).any()):
                return None
        lib.llama_sampler_apply(self._chain, ctypes.byref(array))
        if not self._greedy:
            self._draw(position)
        if not 0 <= array.selected < array.size:
            raise StepError("llama.cpp chose no token")
        return int(array.data[array.selected].id)

    def _draw(self, position: int) -> None:
        dist = self._lib.llama_sampler_init_dist(mixed_seed(self._seed, position))
        try:
            self._lib.llama_sampler_apply(dist, ctypes.byref(self._array))
        finally:
            self._lib.llama_sampler_free(dist)

    def _accept(self, token: int) -> None:
        if self._penalises:
            self._lib.llama_sampler_accept(self._chain, token)
        if self._grammar is not None and not self._lib.llama_vocab_is_eog(self._vocab, token):
            self._lib.llama_sampler_accept(self._grammar, token)

    def close(self) -> None:
        if self._grammar is not None:
            self._lib.llama_sampler_free(self._grammar)
        self._lib.llama_sampler_free(self._chain)


def mixed_seed(seed: int, position: int) -> int:
    """32 bits that depend on all of seed and position (the finaliser of splitmix64)."""
    value = (seed + (position + 1) * 0x9E3779B97F4A7C15) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    mixed = (value ^ (value >> 31)) & 0xFFFFFFFF
    return mixed if mixed != _RANDOM_SEED else 0


def _logprob(logits: Vector, token: int, count: int) -> Logprob:
    """Log-softmax of the whole row, for the chosen token and the likeliest ones."""
    row = logits.astype(np.float64)
    row -= row.max()
    row -= np.log(np.exp(row).sum())
    top: tuple[tuple[int, float], ...] = ()
    if count:
        count = min(count, len(row))
        best = np.argpartition(-row, count - 1)[:count]
        best = best[np.argsort(-row[best], kind="stable")]
        top = tuple((int(each), float(row[each])) for each in best)
    return Logprob(float(row[token]), top)
