"""OpenAI's endpoints under `/v1`: the requests that we take, exactly, and the answers that we give.

Every field that OpenAI documents is known here. A field without effect on the answer is taken and
ignored; one that would change the answer and is not served yet is refused by name, never ignored.
Ranges are part of the types. `protocols.http.asked` turns a request into a job's work.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from protocols.limits import JOB_EMBED_INPUTS, JOB_LOGPROBS, JOB_MESSAGES, JOB_STOPS

MAX_TOKENS: Final = 1_000_000  # as many as may be asked for; the model's context is the real bound
SEED: Final = 2**63

Temperature = Annotated[float, Meta(ge=0.0, le=2.0)]
Share = Annotated[float, Meta(ge=0.0, le=1.0)]
Penalty = Annotated[float, Meta(ge=-2.0, le=2.0)]
Repeat = Annotated[float, Meta(gt=0.0, le=4.0)]
TopK = Annotated[int, Meta(ge=0, le=1_000_000)]
Tokens = Annotated[int, Meta(ge=1, le=MAX_TOKENS)]
Seed = Annotated[int, Meta(ge=-SEED, le=SEED - 1)]
Count = Annotated[int, Meta(ge=1, le=128)]
Alternatives = Annotated[int, Meta(ge=0, le=JOB_LOGPROBS)]
Stops = str | Annotated[tuple[str, ...], Meta(max_length=JOB_STOPS)]
TokenId = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Name = Annotated[str, Meta(max_length=256)]


class _Asked(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What every request type shares: unknown fields are refused."""


# --- chat -----------------------------------------------------------------------------------------


class TextPart(_Asked, frozen=True, kw_only=True, tag="text", tag_field="type"):
    text: str


class ImagePart(_Asked, frozen=True, kw_only=True, tag="image_url", tag_field="type"):
    image_url: Any = None


class AudioPart(_Asked, frozen=True, kw_only=True, tag="input_audio", tag_field="type"):
    input_audio: Any = None


class FilePart(_Asked, frozen=True, kw_only=True, tag="file", tag_field="type"):
    file: Any = None


class RefusalPart(_Asked, frozen=True, kw_only=True, tag="refusal", tag_field="type"):
    refusal: str


Part = TextPart | ImagePart | AudioPart | FilePart | RefusalPart


class ChatMessage(_Asked, frozen=True, kw_only=True):
    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | tuple[Part, ...] | None = None
    name: str | None = None  # taken, without effect
    refusal: str | None = None
    annotations: tuple[Any, ...] | None = None
    audio: Any = None
    tool_calls: tuple[Any, ...] | None = None
    tool_call_id: str | None = None
    function_call: Any = None


class TextFormat(_Asked, frozen=True, kw_only=True, tag="text", tag_field="type"):
    pass


class JsonObjectFormat(_Asked, frozen=True, kw_only=True, tag="json_object", tag_field="type"):
    pass


class JsonSchema(_Asked, frozen=True, kw_only=True):
    name: Annotated[str, Meta(max_length=64)] = "answer"
    description: str | None = None
    schema: dict[str, Any] | None = None
    strict: bool | None = None


class JsonSchemaFormat(_Asked, frozen=True, kw_only=True, tag="json_schema", tag_field="type"):
    json_schema: JsonSchema


ResponseFormat = TextFormat | JsonObjectFormat | JsonSchemaFormat


class StreamOptions(_Asked, frozen=True, kw_only=True):
    include_usage: bool | None = None
    include_obfuscation: bool | None = None  # taken, without effect: we never pad


class _Sampled(_Asked, frozen=True, kw_only=True):
    """What chat and completion requests share."""

    model: Name = ""  # empty or "default": the node's default model
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Tokens | None = None
    temperature: Temperature | None = None
    top_p: Share | None = None
    n: Count | None = None
    stop: Stops | None = None
    seed: Seed | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    logit_bias: dict[str, float] | None = None
    user: str | None = None  # taken, without effect
    # Ours, under the names that other local servers use.
    top_k: TopK | None = None
    min_p: Share | None = None
    repeat_penalty: Repeat | None = None


class ChatRequest(_Sampled, frozen=True, kw_only=True):
    """POST /v1/chat/completions"""

    messages: Annotated[tuple[ChatMessage, ...], Meta(min_length=1, max_length=JOB_MESSAGES)]
    max_completion_tokens: Tokens | None = None
    logprobs: bool | None = None
    top_logprobs: Alternatives | None = None
    response_format: ResponseFormat | None = None
    # Refused unless empty.
    tools: tuple[Any, ...] | None = None
    tool_choice: Any = None
    functions: tuple[Any, ...] | None = None
    function_call: Any = None
    modalities: tuple[str, ...] | None = None
    audio: Any = None
    prediction: Any = None
    web_search_options: Any = None
    store: bool | None = None
    # Taken, without effect.
    parallel_tool_calls: bool | None = None
    metadata: dict[str, str] | None = None
    service_tier: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None
    reasoning_effort: str | None = None
    verbosity: str | None = None


class CompletionRequest(_Sampled, frozen=True, kw_only=True):
    """POST /v1/completions: one prompt, as text or as token ids of the model's own vocabulary."""

    prompt: str | tuple[str | TokenId | tuple[TokenId, ...], ...] = ""
    logprobs: Alternatives | None = None
    echo: bool | None = None
    best_of: Count | None = None  # only 1
    suffix: str | None = None  # only empty


class EmbeddingRequest(_Asked, frozen=True, kw_only=True):
    """POST /v1/embeddings"""

    input: (
        str
        | Annotated[tuple[str | int | tuple[int, ...], ...], Meta(min_length=1, max_length=65536)]
    )
    model: Name = ""
    dimensions: Annotated[int, Meta(ge=1, le=65536)] | None = None
    encoding_format: Literal["float", "base64"] | None = None
    user: str | None = None


EMBED_INPUTS: Final = JOB_EMBED_INPUTS


# --- answers --------------------------------------------------------------------------------------


class CachedDetails(msgspec.Struct, frozen=True):
    cached_tokens: int = 0


class Usage(msgspec.Struct, frozen=True):
    prompt_tokens: int
    total_tokens: int
    completion_tokens: int = 0
    prompt_tokens_details: CachedDetails | None = None


class TopLogprob(msgspec.Struct, frozen=True):
    token: str
    logprob: float
    bytes: tuple[int, ...] | None = None


class ContentLogprob(msgspec.Struct, frozen=True):
    token: str
    logprob: float
    bytes: tuple[int, ...] | None = None
    top_logprobs: tuple[TopLogprob, ...] = ()


class ChatLogprobs(msgspec.Struct, frozen=True):
    content: tuple[ContentLogprob, ...] | None = None
    refusal: None = None


class AnswerMessage(msgspec.Struct, frozen=True):
    role: str = "assistant"
    content: str | None = None
    refusal: str | None = None


class ChatChoice(msgspec.Struct, frozen=True):
    index: int
    message: AnswerMessage
    finish_reason: str | None = None
    logprobs: ChatLogprobs | None = None


class ChatCompletion(msgspec.Struct, frozen=True):
    id: str
    created: int
    model: str
    choices: tuple[ChatChoice, ...]
    usage: Usage | None = None
    system_fingerprint: str | None = None
    object: Literal["chat.completion"] = "chat.completion"


class Delta(msgspec.Struct, frozen=True, omit_defaults=True):
    role: str | None = None
    content: str | None = None


class ChunkChoice(msgspec.Struct, frozen=True):
    index: int
    delta: Delta
    finish_reason: str | None = None
    logprobs: ChatLogprobs | None = None


class ChatChunk(msgspec.Struct, frozen=True):
    """One event of a streamed chat: the role first, then text, then the reason it ended."""

    id: str
    created: int
    model: str
    choices: tuple[ChunkChoice, ...]
    usage: Usage | None = None
    system_fingerprint: str | None = None
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"


class TextLogprobs(msgspec.Struct, frozen=True):
    tokens: tuple[str, ...] = ()
    token_logprobs: tuple[float | None, ...] = ()
    top_logprobs: tuple[dict[str, float] | None, ...] | None = None
    text_offset: tuple[int, ...] = ()


class TextChoice(msgspec.Struct, frozen=True):
    index: int
    text: str
    finish_reason: str | None = None
    logprobs: TextLogprobs | None = None


class Completion(msgspec.Struct, frozen=True):
    """A whole completion, and also one event of a streamed one."""

    id: str
    created: int
    model: str
    choices: tuple[TextChoice, ...]
    usage: Usage | None = None
    system_fingerprint: str | None = None
    object: Literal["text_completion"] = "text_completion"


class Embedding(msgspec.Struct, frozen=True):
    index: int
    embedding: tuple[float, ...] | str  # a string: base64 of little-endian 32 bit floats
    object: Literal["embedding"] = "embedding"


class EmbeddingAnswer(msgspec.Struct, frozen=True):
    data: tuple[Embedding, ...]
    model: str
    usage: Usage
    object: Literal["list"] = "list"


class ModelCard(msgspec.Struct, frozen=True):
    id: str
    created: int
    owned_by: str = "local"
    object: Literal["model"] = "model"


class ModelCards(msgspec.Struct, frozen=True):
    """GET /v1/models"""

    data: tuple[ModelCard, ...]
    object: Literal["list"] = "list"


class ErrorBody(msgspec.Struct, frozen=True):
    """`hint` is ours: what to do about it. OpenAI's clients show `message`."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None
    hint: str | msgspec.UnsetType = msgspec.UNSET


class ErrorAnswer(msgspec.Struct, frozen=True):
    """Every answer with a status of 400 or more, and the last event of a stream that failed."""

    error: ErrorBody
