"""From a job's events to OpenAI's answers: whole ones and streamed ones. Pure."""

from __future__ import annotations

import base64
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from protocols.http import openai
from protocols.jobs import Ended, Piece, TokenLogprob, Usage, Vectors

_ROLE: Final = openai.Delta(role="assistant", content="")


@dataclass(frozen=True)
class Heading:
    """What every answer and every chunk of one says about itself."""

    id: str
    created: int
    model: str
    fingerprint: str


@dataclass
class Collected:
    """The pieces of one answer."""

    text: list[str] = field(default_factory=list)
    logprobs: list[TokenLogprob] = field(default_factory=list)

    def add(self, piece: Piece) -> None:
        self.text.append(piece.text)
        self.logprobs.extend(piece.logprobs)


def usage_of(usage: Usage) -> openai.Usage:
    return openai.Usage(
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        total_tokens=usage.total_tokens,
        prompt_tokens_details=openai.CachedDetails(usage.cached_tokens),
    )


# --- chat -----------------------------------------------------------------------------------------


def chat_answer(
    heading: Heading, collected: Collected, ended: Ended, *, logprobs: bool
) -> openai.ChatCompletion:
    choice = openai.ChatChoice(
        index=0,
        message=openai.AnswerMessage(content="".join(collected.text)),
        finish_reason=ended.finish,
        logprobs=_chat_logprobs(collected.logprobs) if logprobs else None,
    )
    return openai.ChatCompletion(
        id=heading.id,
        created=heading.created,
        model=heading.model,
        choices=(choice,),
        usage=usage_of(ended.usage),
        system_fingerprint=heading.fingerprint,
    )


def chat_role(heading: Heading) -> openai.ChatChunk:
    """The first chunk: who speaks."""
    return _chunk(heading, openai.ChunkChoice(0, _ROLE))


def chat_piece(heading: Heading, piece: Piece, *, logprobs: bool) -> openai.ChatChunk:
    found = _chat_logprobs(piece.logprobs) if logprobs else None
    return _chunk(heading, openai.ChunkChoice(0, openai.Delta(content=piece.text), logprobs=found))


def chat_end(heading: Heading, ended: Ended) -> openai.ChatChunk:
    return _chunk(heading, openai.ChunkChoice(0, openai.Delta(), finish_reason=ended.finish))


def chat_usage(heading: Heading, ended: Ended) -> openai.ChatChunk:
    """The chunk after the last, when `stream_options.include_usage` asked for it."""
    return openai.ChatChunk(
        heading.id,
        heading.created,
        heading.model,
        (),
        usage_of(ended.usage),
        heading.fingerprint,
    )


def _chunk(heading: Heading, choice: openai.ChunkChoice) -> openai.ChatChunk:
    return openai.ChatChunk(
        heading.id,
        heading.created,
        heading.model,
        (choice,),
        system_fingerprint=heading.fingerprint,
    )


def _chat_logprobs(tokens: Sequence[TokenLogprob]) -> openai.ChatLogprobs:
    content = tuple(
        openai.ContentLogprob(
            each.token,
            each.logprob,
            tuple(each.raw),
            tuple(openai.TopLogprob(text, value, tuple(raw)) for text, value, raw in each.top),
        )
        for each in tokens
    )
    return openai.ChatLogprobs(content)


# --- completions ----------------------------------------------------------------------------------


class TextOffsets:
    """Keeps count of where in the text each token of a streamed completion begins."""

    def __init__(self) -> None:
        self._at = 0

    def logprobs(self, tokens: Sequence[TokenLogprob]) -> openai.TextLogprobs:
        offsets = []
        for each in tokens:
            offsets.append(self._at)
            self._at += len(each.token)
        return openai.TextLogprobs(
            tokens=tuple(each.token for each in tokens),
            token_logprobs=tuple(each.logprob for each in tokens),
            top_logprobs=tuple({text: value for text, value, _ in each.top} for each in tokens),
            text_offset=tuple(offsets),
        )


def text_answer(
    heading: Heading,
    text: str,
    *,
    finish: str | None = None,
    logprobs: openai.TextLogprobs | None = None,
    usage: openai.Usage | None = None,
) -> openai.Completion:
    """A whole completion, or one chunk of a streamed one."""
    choice = openai.TextChoice(0, text, finish, logprobs)
    return openai.Completion(
        heading.id, heading.created, heading.model, (choice,), usage, heading.fingerprint
    )


def text_usage(heading: Heading, ended: Ended) -> openai.Completion:
    return openai.Completion(
        heading.id, heading.created, heading.model, (), usage_of(ended.usage), heading.fingerprint
    )


# --- embeddings -----------------------------------------------------------------------------------


def embedding_answer(
    model: str, vectors: Vectors, ended: Ended, *, as_base64: bool
) -> openai.EmbeddingAnswer:
    data = tuple(
        openai.Embedding(place, _packed(vector) if as_base64 else vector)
        for place, vector in enumerate(vectors.vectors)
    )
    return openai.EmbeddingAnswer(data, model, usage_of(ended.usage))


def _packed(vector: Sequence[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
