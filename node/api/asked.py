"""From OpenAI's requests to a job's work. Pure; what cannot be served is refused by name."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from node.api.problems import ApiError, bad_request
from protocols.http import openai
from protocols.jobs import Chat, Complete, Embed, Message, Role, Sampling
from protocols.limits import JOB_EMBED_INPUTS, JOB_SCHEMA_BYTES, JOB_STOP_BYTES

COMPLETION_TOKENS: Final = 16  # OpenAI's default for /v1/completions
SEEDS: Final = 2**32 - 1  # seeds of the backends; larger and negative ones are folded into these
_SCHEMA_DEPTH: Final = 48

_ROLES: Final[dict[str, Role]] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
}
_USUAL: Final = Sampling()


def chat(request: openai.ChatRequest) -> Chat:
    """Raises `ApiError`."""
    _refuse_unserved(request, _CHAT_UNSERVED)
    messages = tuple(_message(place, each) for place, each in enumerate(request.messages))
    logprobs = (request.top_logprobs or 0) if request.logprobs else None
    if request.top_logprobs and not request.logprobs:
        raise bad_request("top_logprobs needs logprobs: true", param="top_logprobs")
    most = request.max_completion_tokens
    sampling = msgspec.structs.replace(
        _sampling(request),
        max_tokens=request.max_tokens if most is None else most,
        logprobs=logprobs,
        json_schema=_schema(request.response_format),
    )
    return Chat(messages, sampling)


def completion(request: openai.CompletionRequest) -> Complete:
    """Raises `ApiError`."""
    _refuse_unserved(request, _COMPLETION_UNSERVED)
    if request.best_of not in (None, 1):
        raise bad_request("best_of can only be 1", param="best_of", code="not_served")
    most = COMPLETION_TOKENS if request.max_tokens is None else request.max_tokens
    sampling = msgspec.structs.replace(
        _sampling(request), max_tokens=most, logprobs=request.logprobs
    )
    return Complete(_prompt(request.prompt), sampling, echo=bool(request.echo))


def embedding(request: openai.EmbeddingRequest) -> Embed:
    """Raises `ApiError`."""
    given = (request.input,) if isinstance(request.input, str) else request.input
    texts = tuple(each for each in given if isinstance(each, str))
    if len(texts) != len(given):
        raise bad_request(
            "input must be text: token ids of another program's vocabulary would mean something"
            " else here (LangChain: check_embedding_ctx_length=False)",
            param="input",
            code="not_served",
        )
    if len(texts) > JOB_EMBED_INPUTS:
        raise bad_request(f"input has at most {JOB_EMBED_INPUTS} texts", param="input")
    if not all(texts):
        raise bad_request("input holds an empty text", param="input")
    return Embed(texts, request.dimensions)


def _sampling(request: openai.ChatRequest | openai.CompletionRequest) -> Sampling:
    def chosen(value: Any, usual: Any) -> Any:
        return usual if value is None else value

    return Sampling(
        temperature=request.temperature,
        top_k=chosen(request.top_k, _USUAL.top_k),
        top_p=chosen(request.top_p, _USUAL.top_p),
        min_p=chosen(request.min_p, _USUAL.min_p),
        repeat_penalty=chosen(request.repeat_penalty, _USUAL.repeat_penalty),
        presence_penalty=chosen(request.presence_penalty, _USUAL.presence_penalty),
        frequency_penalty=chosen(request.frequency_penalty, _USUAL.frequency_penalty),
        seed=None if request.seed is None else request.seed % SEEDS,
        stop=_stops(request.stop),
    )


def _stops(stop: str | tuple[str, ...] | None) -> tuple[str, ...]:
    stops = (stop,) if isinstance(stop, str) else stop or ()
    for each in stops:
        if len(each.encode()) > JOB_STOP_BYTES:
            raise bad_request(f"a stop text has at most {JOB_STOP_BYTES} bytes", param="stop")
    return tuple(each for each in stops if each)


def _message(place: int, message: openai.ChatMessage) -> Message:
    where = f"messages[{place}]"
    if message.tool_calls or message.function_call:
        raise _unserved(f"{where}.tool_calls", "tools are not served yet")
    role = _ROLES.get(message.role)
    if role is None:
        raise _unserved(
            f"{where}.role", f"messages of the role {message.role!r} are not served yet"
        )
    return Message(role, _content(where, message))


def _content(where: str, message: openai.ChatMessage) -> str:
    if message.content is None:
        if message.role == "assistant":
            return message.refusal or ""
        raise bad_request(f"{where}.content is missing", param=f"{where}.content")
    if isinstance(message.content, str):
        return message.content
    return "".join(
        _part(f"{where}.content[{place}]", part) for place, part in enumerate(message.content)
    )


def _part(where: str, part: openai.Part) -> str:
    if isinstance(part, openai.TextPart):
        return part.text
    if isinstance(part, openai.RefusalPart):
        return part.refusal
    kind = "images" if isinstance(part, openai.ImagePart) else "sound and files"
    raise _unserved(where, f"{kind} in messages are not served yet: send text only")


def _prompt(
    prompt: str | tuple[str | int | tuple[int, ...], ...],
) -> str | tuple[int, ...]:
    if isinstance(prompt, str):
        return prompt
    tokens = tuple(each for each in prompt if isinstance(each, int))
    if tokens and len(tokens) == len(prompt):
        return tokens
    if len(prompt) == 1 and not isinstance(prompt[0], int):
        return prompt[0]
    raise bad_request(
        "one prompt at a time: a text, or the token ids of one", param="prompt", code="not_served"
    )


def _schema(wanted: openai.ResponseFormat | None) -> str | None:
    if isinstance(wanted, openai.JsonObjectFormat):
        return "{}"
    if not isinstance(wanted, openai.JsonSchemaFormat):
        return None
    schema = wanted.json_schema.schema
    text = "{}" if schema is None else msgspec.json.encode(schema).decode()
    where = "response_format.json_schema.schema"
    if len(text) > JOB_SCHEMA_BYTES:
        raise bad_request(f"{where} is larger than {JOB_SCHEMA_BYTES} bytes", param=where)
    if _depth(schema) > _SCHEMA_DEPTH:
        raise bad_request(f"{where} is nested deeper than {_SCHEMA_DEPTH} levels", param=where)
    return text


def _depth(value: Any) -> int:
    """How deep a JSON value is nested, without recursion."""
    level, depth = [value], 0
    while level:
        depth += 1
        level = [
            inner
            for each in level
            if isinstance(each, dict | list)
            for inner in (each.values() if isinstance(each, dict) else each)
        ]
    return depth


_CHAT_UNSERVED: Final = {
    "tools": "tools are not served yet",
    "functions": "tools are not served yet",
    "logit_bias": "logit_bias is not served yet",
    "audio": "sound is not served yet",
    "prediction": "predicted outputs are not served yet",
    "web_search_options": "searching the web is not served",
    "store": "answers are not stored here: leave it out, or use the conversations of /node/v1",
}
_COMPLETION_UNSERVED: Final = {
    "logit_bias": "logit_bias is not served yet",
    "suffix": "a suffix is not served yet",
}


def _refuse_unserved(
    request: openai.ChatRequest | openai.CompletionRequest, unserved: dict[str, str]
) -> None:
    """Fields that would change the answer: null, false and empty are taken as not given."""
    for name, reason in unserved.items():
        if getattr(request, name):
            raise _unserved(name, reason)
    if request.n not in (None, 1):
        raise _unserved("n", "one answer at a time: n can only be 1")
    if isinstance(request, openai.ChatRequest):
        if request.tool_choice not in (None, "none", "auto"):
            raise _unserved("tool_choice", "tools are not served yet")
        if request.function_call not in (None, "none", "auto"):
            raise _unserved("function_call", "tools are not served yet")
        if any(each != "text" for each in request.modalities or ()):
            raise _unserved("modalities", "only text is served")


def _unserved(param: str, reason: str) -> ApiError:
    return bad_request(reason, param=param, code="not_served")
