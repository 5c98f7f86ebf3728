"""What a job is and what comes back from it: the one vocabulary of worker, peer, API and terminal.

A job asks for one piece of work (chat, completion, embedding). Whoever runs it answers with a
stream of events: `Started`, any number of `Piece` or `Vectors`, then exactly one of `Ended` or `Failed`.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Role = Literal["system", "user", "assistant", "tool"]
FinishReason = Literal["stop", "length", "cancelled", "tool_calls"]

#: Why a job failed, in a word that programs can act on; the message is for people.
FailureCode = Literal[
    "bad_request",  # the request can never succeed as it is
    "context_overflow",  # the prompt does not fit into the model's context
    "model_not_found",
    "model_failed",  # the model could not be loaded, or the file is bad
    "out_of_memory",  # it does not fit beside what is loaded
    "worker_died",  # the worker was killed, aborted or hung
    "overloaded",  # a queue is full: try again later
    "deadline",
    "refused",  # a policy rule or a label forbids it
    "cancelled",
    "internal",
]


class Message(msgspec.Struct, frozen=True, omit_defaults=True):
    role: Role
    content: str


class Sampling(msgspec.Struct, frozen=True, omit_defaults=True):
    """How tokens are chosen. With the same seed, model and build the answer is the same."""

    max_tokens: int | None = None  # None: until the model stops or the context is full
    temperature: float | None = None  # None: what the model's maker recommends, else 0.8
    top_k: int = 40
    top_p: float = 0.95
    min_p: float = 0.05
    repeat_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    seed: int | None = None  # None: the node picks one and reports it
    stop: tuple[str, ...] = ()
    logprobs: int | None = None  # None: none; 0: the chosen token's; n: and the n likeliest
    json_schema: str | None = None  # JSON text of a schema, or "{}" for any JSON object
    grammar: str | None = None  # GBNF


class Chat(msgspec.Struct, frozen=True, tag="chat", tag_field="kind"):
    messages: tuple[Message, ...]
    sampling: Sampling = Sampling()


class Complete(msgspec.Struct, frozen=True, tag="complete", tag_field="kind"):
    prompt: str | tuple[int, ...]
    sampling: Sampling = Sampling()
    echo: bool = False


class Embed(msgspec.Struct, frozen=True, tag="embed", tag_field="kind"):
    inputs: tuple[str, ...]
    dimensions: int | None = None


class Count(msgspec.Struct, frozen=True, tag="count", tag_field="kind"):
    """How many tokens these messages are as a prompt: `Started` tells, then `Ended`; nothing runs."""

    messages: tuple[Message, ...]


Work = Chat | Complete | Embed | Count


class Job(msgspec.Struct, frozen=True):
    """One request for work. The id makes a retry harmless: the same id is the same job."""

    id: str
    work: Work
    model: str  # the CID of the model artifact, or a local name before routing
    label: str = "device"
    asked_by: str = "owner"  # grant id, "owner", or a peer's device id
    deadline_s: float | None = None  # seconds from admission


class TokenLogprob(msgspec.Struct, frozen=True):
    token: str
    logprob: float
    raw: bytes  # the token's bytes: not always whole characters
    top: tuple[tuple[str, float, bytes], ...] = ()


class Started(msgspec.Struct, frozen=True, tag="started"):
    """The prompt was accepted by a target; nothing was generated yet."""

    prompt_tokens: int
    cached_tokens: int = 0
    seed: int = 0


class Piece(msgspec.Struct, frozen=True, tag="piece", omit_defaults=True):
    """Some more of the answer. `text` is always whole characters; `tokens` are the ids behind it."""

    text: str
    tokens: tuple[int, ...] = ()
    logprobs: tuple[TokenLogprob, ...] = ()


class Vectors(msgspec.Struct, frozen=True, tag="vectors"):
    vectors: tuple[tuple[float, ...], ...]
    truncated: tuple[int, ...] = ()  # which inputs were cut to the longest text the model reads


class Usage(msgspec.Struct, frozen=True):
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


class Timings(msgspec.Struct, frozen=True):
    """Seconds, measured by the one who ran the job."""

    queued_s: float = 0.0
    prompt_s: float = 0.0
    generate_s: float = 0.0


class Ended(msgspec.Struct, frozen=True, tag="ended"):
    finish: FinishReason
    usage: Usage
    timings: Timings = Timings()
    stop_text: str | None = None  # the stop string that ended it


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """The last event of a job that did not end well. `retry` says that asking again may help."""

    code: FailureCode
    message: str
    retry: bool = False


Event = Started | Piece | Vectors | Ended | Failed
EVENT_TYPES = (Started, Piece, Vectors, Ended, Failed)
