"""Text and embeddings with llama.cpp: the two backends over `llama_native`.

llama.cpp ends the process for many mistakes of a caller, so parts and batches are checked here.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from models.backends.base import ChatFormat, Choice, LoadError, Part, RequestError, StepError
from models.backends.llama_native import EMBED_TEXTS, NativeModel
from models.backends.llama_sampler import Sampler
from models.backends.llama_utf8 import ByteKinds, Utf8Guard
from models.runtime.channel import log
from protocols.jobs import Sampling
from protocols.worker import Load

if TYPE_CHECKING:
    from models.backends.base import Vector


class LlamaEmbedder:
    """An `Embedder` on llama.cpp."""

    def __init__(self, load: Load, threads: int) -> None:
        self._native = native = NativeModel(msgspec.structs.replace(load, sequences=1), threads)
        self.info = native.info
        self.dimensions: int = native.lib.llama_model_n_embd_out(native.model)
        self.max_rows = native.rows
        self.max_texts = EMBED_TEXTS

    def encode(self, text: str) -> tuple[list[int], bool]:
        native, most = self._native, min(self.info.context, self.max_rows)
        if len(text) > most * 256:  # longer than any tokens can make it: do not even read the rest
            text = text[: most * 256]
        tokens = native.tokenize(text, special=False, start=True)
        if not tokens:
            raise RequestError("bad_request", "a text without a single token cannot be embedded")
        if len(tokens) <= most:
            return tokens, False
        closing = native.lib.llama_vocab_is_control(native.vocab, tokens[-1])
        return (tokens[: most - 1] + tokens[-1:] if closing else tokens[:most]), True

    def embed(self, batch: Sequence[Sequence[int]]) -> list[Vector]:
        native, lib = self._native, self._native.lib
        if len(batch) > self.max_texts or sum(map(len, batch)) > self.max_rows:
            raise StepError(f"a batch has room for {self.max_texts} texts, {self.max_rows} tokens")
        if native.memory:
            lib.llama_memory_clear(native.memory, True)
        native.batch.clear()
        for number, tokens in enumerate(batch):
            native.batch.add(number, 0, tokens, out=True, every=True)
        native.compute(f"the vectors of {len(batch)} texts")
        return [self._vector(number) for number in range(len(batch))]

    def _vector(self, number: int) -> Vector:
        pointer = self._native.lib.llama_get_embeddings_seq(self._native.ctx, number)
        if not pointer:
            raise StepError("llama.cpp computed no vector for a text")
        return _floats(pointer, self.dimensions).copy()

    def close(self) -> None:
        self._native.close()


class LlamaBackend:
    """A `StepBackend` on llama.cpp."""

    def __init__(self, load: Load, threads: int) -> None:
        self._native = native = NativeModel(load, threads)
        self._lib = native.lib
        if not self._lib.llama_model_has_decoder(native.model):
            raise LoadError("this model cannot write text; it is for embeddings")
        self._samplers: list[Sampler | None] = [None] * load.sequences
        self.info = native.info
        self.max_rows = native.rows
        self.chat_format = self._read_chat_format()

    def _read_chat_format(self) -> ChatFormat:
        raw = self._lib.llama_model_chat_template(self._native.model, None)
        template = raw.decode("utf-8", "replace") if raw else None
        if template is None:
            log("the model has no chat template of its own: ChatML is used")
        bos = self._native.special_text(self._lib.llama_vocab_bos(self._native.vocab))
        eos = self._native.special_text(self._lib.llama_vocab_eos(self._native.vocab))
        return ChatFormat(template, bos, eos)

    def tokenize(self, text: str, *, special: bool, start: bool) -> list[int]:
        return self._native.tokenize(text, special=special, start=start)

    def valid(self, token: int) -> bool:
        return 0 <= token < self._native.tokens

    def piece(self, token: int) -> bytes:
        return self._native.piece(token)

    def is_end(self, token: int) -> bool:
        return bool(self._lib.llama_vocab_is_eog(self._native.vocab, token))

    def control_texts(self) -> frozenset[str]:
        vocab, is_control = self._native.vocab, self._lib.llama_vocab_is_control
        controls = (token for token in range(self._native.tokens) if is_control(vocab, token))
        return frozenset(self._native.special_text(token) for token in controls)

    def begin(self, slot: int, sampling: Sampling, seed: int) -> None:
        self.end(slot)
        native = self._native
        guard = None
        if sampling.grammar is not None:
            guard = Utf8Guard(self._byte_kinds, native.piece)
        self._samplers[slot] = Sampler(
            self._lib,
            native.vocab,
            native.tokens,
            sampling,
            seed,
            memory=self.info.context,
            guard=guard,
        )

    @cached_property
    def _byte_kinds(self) -> ByteKinds:
        """Looks at every token once: some milliseconds, when the first grammar comes."""
        return ByteKinds(self._native.tokens, self._native.piece)

    def end(self, slot: int) -> None:
        sampler, self._samplers[slot] = self._samplers[slot], None
        if sampler is not None:
            sampler.close()

    def keep(self, slot: int, tokens: int) -> int:
        remove, memory = self._lib.llama_memory_seq_rm, self._native.memory
        if tokens > 0 and remove(memory, slot, tokens, -1):
            return tokens
        remove(memory, slot, -1, -1)  # recurrent models cannot go back to the middle
        return 0

    def step(self, parts: Sequence[Part]) -> list[Choice]:
        rows = self._fill(parts)
        self._native.compute(f"a step of {self._native.batch.used} tokens")
        choices = []
        for part, row in zip(parts, rows, strict=True):
            if part.choose:
                sampler = self._samplers[part.slot]
                if sampler is None:
                    raise StepError(f"slot {part.slot} was not begun")
                position = part.start + len(part.tokens)
                choices.append(sampler.choose(self._logits(row), position))
        return choices

    def _fill(self, parts: Sequence[Part]) -> list[int]:
        """Fill the batch; the row of the last token of each part."""
        batch, rows = self._native.batch, []
        batch.clear()
        for part in parts:
            end = part.start + len(part.tokens)
            if not part.tokens or end > self.info.context or not 0 <= part.slot < self.info.slots:
                raise StepError(f"tokens {part.start} to {end} do not fit into slot {part.slot}")
            if batch.used + len(part.tokens) > self.max_rows:
                raise StepError(f"a step has room for {self.max_rows} tokens")
            rows.append(batch.add(part.slot, part.start, part.tokens, out=part.choose))
        return rows

    def _logits(self, row: int) -> Vector:
        pointer = self._lib.llama_get_logits_ith(self._native.ctx, row)
        if not pointer:
            raise StepError("llama.cpp computed no logits for a row that asked for them")
        return _floats(pointer, self._native.tokens)

    def close(self) -> None:
        for slot in range(len(self._samplers)):
            self.end(slot)
        self._native.close()


def _floats(pointer: Any, count: int) -> Vector:
    """A view of native memory, good until the next step."""
    address = ctypes.addressof(pointer.contents)
    memory = memoryview((ctypes.c_float * count).from_address(address)).cast("B")
    return np.frombuffer(memory, dtype=np.float32)
