"""From what was asked to the tokens of a prompt that fits."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import msgspec

from models.backends.base import RequestError, StepBackend
from models.runtime.checks import check_sampling, settle
from protocols.jobs import Chat, Complete, Message, Sampling

if TYPE_CHECKING:
    from models.templates import ChatTemplate

_MAX_TOKEN_BYTES = 256  # no vocabulary has longer tokens: more bytes than this for each cannot fit
_MAX_ECHO = 1 << 20
_GRAMMARS_KEPT = 16
_MARK = "\ue000kith:{}\ue001"  # stands for a control text in a message while the template runs
_MARKS = re.compile("\ue000kith:([0-9]+)\ue001")


@dataclass(frozen=True, slots=True)
class Prompt:
    """A checked request: its tokens, how to go on from them, and what to repeat first."""

    tokens: list[int]
    sampling: Sampling
    echo: str | None = None


class Prompter:
    """Makes prompts for one model. Everything wrong with a request is a RequestError."""

    def __init__(self, backend: StepBackend) -> None:
        self._backend = backend
        self._context = backend.info.context

    def prompt(self, work: Chat | Complete) -> Prompt:
        """The prompt of a chat or a completion, and what its answer must keep to."""
        settled = settle(work.sampling, self._backend.info.temperature)
        check_sampling(settled)
        sampling = _with_grammar(settled)
        if isinstance(work, Chat):
            tokens = self._chat(work.messages)
            self._check_fits(len(tokens))
            return Prompt(tokens, sampling)
        if work.echo and sampling.logprobs is not None:
            raise RequestError("bad_request", "logprobs of an echoed prompt are not offered")
        if work.echo and len(work.prompt) > _MAX_ECHO:
            raise RequestError("bad_request", "a prompt this long is not echoed")
        tokens = self._complete(work.prompt)
        self._check_fits(len(tokens))
        return Prompt(tokens, sampling, self._echo(work, tokens) if work.echo else None)

    def count(self, messages: tuple[Message, ...]) -> int:
        """How many tokens these messages are as a prompt."""
        return len(self._chat(messages))

    @cached_property
    def _template(self) -> ChatTemplate:
        from models.templates import ChatTemplate  # jinja2 only when somebody chats

        return ChatTemplate(self._backend.chat_format)

    @cached_property
    def _control(self) -> re.Pattern[str] | None:
        texts = sorted(self._backend.control_texts() - {""}, key=len, reverse=True)
        return re.compile("|".join(map(re.escape, texts))) if texts else None

    def _chat(self, messages: tuple[Message, ...]) -> list[int]:
        if not messages:
            raise RequestError("bad_request", "a chat needs at least one message")
        self._check_bytes(message.content for message in messages)
        found: list[str] = []
        hidden = [self._hide(message, found) for message in messages]
        return self._tokens_of(self._template.render(hidden), found)

    def _hide(self, message: Message, found: list[str]) -> Message:
        """Replace control texts in what a person wrote, so that they cannot act as control tokens."""
        content = message.content.replace("\ue000", "\ufffd")
        if "<" in content or "[" in content:
            control = self._control
            if control is not None:
                content = control.sub(lambda match: _mark(match[0], found), content)
        return Message(message.role, content)

    def _tokens_of(self, rendered: str, found: Sequence[str]) -> list[int]:
        bos = self._backend.chat_format.bos
        parts = _MARKS.split(rendered)  # text, number, text, number, ... text
        tokens: list[int] = []
        for index, part in enumerate(parts):
            if index % 2:
                number = int(part)
                text = found[number] if number < len(found) else ""
                tokens += self._backend.tokenize(text, special=False, start=False)
            elif part or index == 0:
                start = index == 0 and not (bos and rendered.startswith(bos))
                tokens += self._backend.tokenize(part, special=True, start=start)
        if not tokens:
            raise RequestError("bad_request", "the chat is empty after the model's template")
        return tokens

    def _complete(self, prompt: str | tuple[int, ...]) -> list[int]:
        if isinstance(prompt, str):
            self._check_bytes([prompt])
            tokens = self._backend.tokenize(prompt, special=True, start=True)
        else:
            tokens = list(prompt)
            for token in tokens:
                if not self._backend.valid(token):
                    raise RequestError("bad_request", f"the model has no token {token}")
        if not tokens:
            raise RequestError("bad_request", "the prompt is empty; give at least one token")
        return tokens

    def _echo(self, work: Complete, tokens: list[int]) -> str:
        if isinstance(work.prompt, str):
            return work.prompt
        return b"".join(map(self._backend.piece, tokens)).decode("utf-8", "replace")

    def _check_bytes(self, texts: Iterable[str]) -> None:
        """Refuse what cannot fit before spending time on it: long texts take long to tokenise."""
        size = sum(len(text) for text in texts)
        if size > self._context * _MAX_TOKEN_BYTES:
            raise RequestError(
                "context_overflow",
                f"the prompt has {size} characters, far more than the context of this model "
                f"({self._context} tokens) can hold",
            )

    def _check_fits(self, tokens: int) -> None:
        """One token at least must be left for the answer."""
        if tokens >= self._context:
            raise RequestError(
                "context_overflow",
                f"the prompt has {tokens} tokens, but the context of this model is "
                f"{self._context} tokens and one must be left for the answer",
            )


def _mark(text: str, found: list[str]) -> str:
    found.append(text)
    return _MARK.format(len(found) - 1)


def _with_grammar(sampling: Sampling) -> Sampling:
    """Whatever shape was asked for, as a checked grammar."""
    if sampling.json_schema is None and sampling.grammar is None:
        return sampling
    from models.gbnf import BadGrammar
    from models.schema import BadSchema

    try:
        if sampling.json_schema is None:
            _check(sampling.grammar or "")
            return sampling
        grammar = _grammar(sampling.json_schema)
    except (BadGrammar, BadSchema) as error:
        raise RequestError("bad_request", str(error)) from error
    return msgspec.structs.replace(sampling, json_schema=None, grammar=grammar)


@lru_cache(maxsize=_GRAMMARS_KEPT)
def _check(grammar: str) -> None:
    """A program asks for the same shape again and again, and the check takes a while."""
    from models.gbnf_check import check_grammar

    check_grammar(grammar)


@lru_cache(maxsize=_GRAMMARS_KEPT)
def _grammar(schema: str) -> str:
    from models.schema import schema_grammar

    return schema_grammar(schema)
