"""The HTTP API's client without any I/O: what to send for each endpoint, and what came back.

A function per endpoint builds a `Request`; the caller sends it with whatever HTTP library it has
and gives status and body to `Request.read`, or the chunks of a stream to `StreamRequest.events`.
What went wrong on the node's side is an `ApiProblem`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Generic, TypeVar, cast
from urllib.parse import quote, urlencode

import msgspec

from protocols.errors import Malformed
from protocols.http import control, openai, sse
from protocols.http.control import Problem

T = TypeVar("T")

ERROR_BODY_BYTES: Final = 64 * 1024  # of an error's body, as much as is looked at


class ApiProblem(Exception):
    """The node said no, or its answer made no sense (status 0: a broken stream)."""

    def __init__(self, status: int, problem: Problem) -> None:
        super().__init__(problem.message)
        self.status = status
        self.problem = problem


@dataclass(frozen=True)
class _Call:
    method: str
    path: str
    body: bytes | None

    def headers(self, token: str = "") -> dict[str, str]:
        """The headers to send; `token` is the owner's token or an API key."""
        headers = {"accept": "application/json, text/event-stream"}
        if self.body is not None:
            headers["content-type"] = "application/json"
        if token:
            headers["authorization"] = f"Bearer {token}"
        return headers


@dataclass(frozen=True)
class Request(_Call, Generic[T]):
    """One call with one answer."""

    decode: Callable[[bytes], T]

    def read(self, status: int, body: bytes) -> T:
        """The answer. Raises `ApiProblem` for an error or for a body that is not what it should be."""
        if status >= 400:
            raise ApiProblem(status, read_problem(status, body))
        try:
            return self.decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            message = f"the answer to {self.method} {self.path} cannot be read: {error}"
            hint = "is this the same version of the program as the node?"
            raise ApiProblem(status, Problem("bad_answer", message, hint)) from error


@dataclass(frozen=True)
class StreamRequest(_Call, Generic[T]):
    """One call that answers with a stream of events."""

    decode: Callable[[bytes], T]

    def events(self) -> EventReader[T]:
        """A reader for one answer with status 200. Read any other with `problem`."""
        return EventReader(self.decode)

    def problem(self, status: int, body: bytes) -> ApiProblem:
        return ApiProblem(status, read_problem(status, body))


class EventReader(Generic[T]):
    """Turns the bytes of a stream into its events, within the bounds of `protocols.http.sse`."""

    def __init__(self, decode: Callable[[bytes], T]) -> None:
        self._parser = sse.Parser()
        self._decode = decode
        self.done = False  # "[DONE]" came: OpenAI's streams end with it

    def feed(self, chunk: bytes) -> Iterator[T]:
        """The events that the chunk completes. Raises `ApiProblem` for an error inside the stream."""
        try:
            found = self._parser.feed(chunk)
        except Malformed as error:
            raise ApiProblem(0, Problem("bad_stream", str(error))) from error
        for event in found:
            if event.data == "[DONE]":
                self.done = True
                return
            data = event.data.encode()
            if event.event == "error" or data.startswith(b'{"error":'):
                raise ApiProblem(0, read_problem(0, data))
            try:
                decoded = self._decode(data)
            except (msgspec.MsgspecError, RecursionError) as error:
                message = f"the stream holds an event that cannot be read: {error}"
                raise ApiProblem(0, Problem("bad_stream", message)) from error
            yield decoded


class _AnyError(msgspec.Struct):
    message: str = ""
    type: str = ""
    code: str | int | None = None
    hint: str = ""


class _AnyErrorAnswer(msgspec.Struct):
    error: _AnyError | str


def read_problem(status: int, body: bytes) -> Problem:
    """What an error's body says; in any case something that can be shown."""
    try:
        error = msgspec.json.decode(body[:ERROR_BODY_BYTES], type=_AnyErrorAnswer).error
    except (msgspec.MsgspecError, RecursionError):
        text = body[:200].decode("utf-8", "replace").strip()
        return Problem(f"http_{status}", text or f"the answer was status {status}, without a word")
    if isinstance(error, str):
        return Problem(f"http_{status}", error)
    return Problem(str(error.code or error.type or f"http_{status}"), error.message, error.hint)


@lru_cache(maxsize=64)
def _decoder(kind: Any) -> Callable[[bytes], Any]:
    return msgspec.json.Decoder(kind).decode


def _call(method: str, path: str, kind: type[T], body: Any = None) -> Request[T]:
    decode: Callable[[bytes], T] = _decoder(cast(Any, kind))
    return Request(method, path, _encode(body), decode)


def _encode(body: Any) -> bytes | None:
    return None if body is None else msgspec.json.encode(body)


def _nothing(_body: bytes) -> None:
    return None


def _text(body: bytes) -> str:
    return body.decode()


def _query(path: str, **values: str | int | None) -> str:
    given = {name: value for name, value in values.items() if value not in (None, "")}
    return f"{path}?{urlencode(given)}" if given else path


def _at(folder: str, name: str, rest: str = "") -> str:
    return f"/node/v1/{folder}/{quote(name, safe='')}{rest}"


# --- the node -------------------------------------------------------------------------------------


def health() -> Request[str]:
    return Request("GET", "/healthz", None, _text)


def status() -> Request[control.Status]:
    return _call("GET", "/node/v1/status", control.Status)


def doctor() -> Request[control.Doctor]:
    return _call("GET", "/node/v1/doctor", control.Doctor)


def config() -> Request[control.Config]:
    return _call("GET", "/node/v1/config", control.Config)


def set_config(what: control.ChangeSetting) -> Request[control.ChangedSetting]:
    return _call("PATCH", "/node/v1/config", control.ChangedSetting, what)


def logs(lines: int = 100) -> Request[control.LogTail]:
    return _call("GET", _query("/node/v1/logs", lines=lines), control.LogTail)


def stop() -> Request[None]:
    return Request("POST", "/node/v1/stop", None, _nothing)


def events(
    *, after: int = 0, limit: int = 100, kind: str = "", subject: str = "", verify: bool = False
) -> Request[control.EventList]:
    """Events after number `after`; with `after` -1 the latest ones."""
    path = _query(
        "/node/v1/events",
        after=after,
        limit=limit,
        kind=kind,
        subject=subject,
        verify=1 if verify else None,
    )
    return _call("GET", path, control.EventList)


def job(id: str) -> Request[control.JobWhy]:
    return _call("GET", _at("jobs", id), control.JobWhy)


# --- models ---------------------------------------------------------------------------------------


def models() -> Request[control.ModelList]:
    return _call("GET", "/node/v1/models", control.ModelList)


def model(name: str) -> Request[control.ModelEntry]:
    return _call("GET", _at("models", name), control.ModelEntry)


def remove_model(name: str) -> Request[control.Removed]:
    return _call("DELETE", _at("models", name), control.Removed)


def load_model(name: str) -> Request[control.ModelEntry]:
    """Answers when the model is loaded, which can take a while."""
    return _call("POST", _at("models", name, "/load"), control.ModelEntry)


def unload_model(name: str) -> Request[control.ModelEntry]:
    return _call("POST", _at("models", name, "/unload"), control.ModelEntry)


def set_default(name: str) -> Request[control.ModelEntry]:
    return _call(
        "PUT", "/node/v1/models/default", control.ModelEntry, control.SetDefault(name=name)
    )


def add_model(what: control.AddModel) -> Request[control.Transfer]:
    return _call("POST", "/node/v1/models/add", control.Transfer, what)


def pull_model(what: control.PullModel) -> Request[control.Transfer]:
    return _call("POST", "/node/v1/models/pull", control.Transfer, what)


def adopt_models(what: control.AdoptModels) -> Request[control.Adopted]:
    return _call("POST", "/node/v1/models/adopt", control.Adopted, what)


def transfers() -> Request[control.TransferList]:
    return _call("GET", "/node/v1/transfers", control.TransferList)


def transfer(id: str) -> Request[control.Transfer]:
    return _call("GET", _at("transfers", id), control.Transfer)


def stop_transfer(id: str) -> Request[control.Transfer]:
    return _call("DELETE", _at("transfers", id), control.Transfer)


def forget_transfer(id: str) -> Request[control.Transfer]:
    """What a pull has fetched so far is deleted."""
    return _call("POST", _at("transfers", id, "/forget"), control.Transfer)


def watch_transfer(id: str) -> StreamRequest[control.Transfer]:
    """Its state now, then each change; the stream ends after the last one."""
    decode = _decoder(control.Transfer)
    return StreamRequest("GET", _at("transfers", id, "/events"), None, decode)


# --- conversations --------------------------------------------------------------------------------


def conversations(
    limit: int = 50, before: float | None = None
) -> Request[control.ConversationList]:
    """The latest first; `before` is the `updated_at` of the last one seen."""
    path = _query("/node/v1/conversations", limit=limit, before=_number(before))
    return _call("GET", path, control.ConversationList)


def _number(value: float | None) -> str | None:
    return None if value is None else repr(value)


def new_conversation(what: control.NewConversation) -> Request[control.Conversation]:
    return _call("POST", "/node/v1/conversations", control.Conversation, what)


def conversation(id: str) -> Request[control.Conversation]:
    return _call("GET", _at("conversations", id), control.Conversation)


def change_conversation(id: str, what: control.ChangeConversation) -> Request[control.Conversation]:
    return _call("PATCH", _at("conversations", id), control.Conversation, what)


def delete_conversation(id: str) -> Request[None]:
    return Request("DELETE", _at("conversations", id), None, _nothing)


def export_conversation(id: str, format: str = "markdown") -> Request[str]:
    """As text: Markdown to read, or JSON with the whole tree."""
    return Request("GET", _query(_at("conversations", id, "/export"), format=format), None, _text)


def say(id: str, what: control.Say) -> StreamRequest[control.AnswerEvent]:
    """`Said`, then text, then `AnswerDone` or `AnswerFailed`. Closing it stops the answer."""
    decode = _decoder(control.AnswerEvent)
    return StreamRequest("POST", _at("conversations", id, "/messages"), _encode(what), decode)


# --- who may do what ------------------------------------------------------------------------------


def identity() -> Request[control.Identity]:
    return _call("GET", "/node/v1/identity", control.Identity)


def backup_identity(what: control.BackupIdentity) -> Request[control.BackupWords]:
    return _call("POST", "/node/v1/identity/backup", control.BackupWords, what)


def restore_identity(what: control.RestoreIdentity) -> Request[control.Identity]:
    return _call("POST", "/node/v1/identity/restore", control.Identity, what)


def rotate_identity(what: control.RotateIdentity) -> Request[control.Identity]:
    return _call("POST", "/node/v1/identity/rotate", control.Identity, what)


def protect_identity(what: control.ProtectIdentity) -> Request[control.Identity]:
    return _call("POST", "/node/v1/identity/protect", control.Identity, what)


def revoke_device(what: control.RevokeDevice) -> Request[control.Identity]:
    return _call("POST", "/node/v1/identity/revoke", control.Identity, what)


def grants() -> Request[control.KeyList]:
    return _call("GET", "/node/v1/grants", control.KeyList)


def new_grant(what: control.NewKey) -> Request[control.MadeKey]:
    return _call("POST", "/node/v1/grants", control.MadeKey, what)


def revoke_grant(id_or_name: str) -> Request[control.Key]:
    return _call("DELETE", _at("grants", id_or_name), control.Key)


# --- OpenAI's endpoints ---------------------------------------------------------------------------


def cards() -> Request[openai.ModelCards]:
    return _call("GET", "/v1/models", openai.ModelCards)


def chat(what: openai.ChatRequest) -> Request[openai.ChatCompletion]:
    whole = msgspec.structs.replace(what, stream=None, stream_options=None)
    return _call("POST", "/v1/chat/completions", openai.ChatCompletion, whole)


def chat_stream(what: openai.ChatRequest) -> StreamRequest[openai.ChatChunk]:
    body = _encode(msgspec.structs.replace(what, stream=True))
    return StreamRequest("POST", "/v1/chat/completions", body, _decoder(openai.ChatChunk))


def complete(what: openai.CompletionRequest) -> Request[openai.Completion]:
    whole = msgspec.structs.replace(what, stream=None, stream_options=None)
    return _call("POST", "/v1/completions", openai.Completion, whole)


def complete_stream(what: openai.CompletionRequest) -> StreamRequest[openai.Completion]:
    body = _encode(msgspec.structs.replace(what, stream=True))
    return StreamRequest("POST", "/v1/completions", body, _decoder(openai.Completion))


def embed(what: openai.EmbeddingRequest) -> Request[openai.EmbeddingAnswer]:
    return _call("POST", "/v1/embeddings", openai.EmbeddingAnswer, what)
