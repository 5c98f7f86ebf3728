"""What the API answers when something is wrong: one exception, one shape, and one table of causes."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

import msgspec

from node.content import ContentError
from node.memory import ConversationError
from node.owner import OwnerError
from node.serving import JobFailed, ModelBusy
from node.store import StoreError, StoreFull
from protocols.http.openai import ErrorAnswer, ErrorBody
from protocols.jobs import Failed, FailureCode

RETRY_AFTER_S: Final = 2

#: FailureCode -> (status, code in the answer)
_FAILURES: Final[dict[FailureCode, tuple[int, str]]] = {
    "bad_request": (400, "bad_request"),
    "context_overflow": (400, "context_length_exceeded"),
    "model_not_found": (404, "model_not_found"),
    "model_failed": (500, "model_failed"),
    "out_of_memory": (503, "out_of_memory"),
    "worker_died": (503, "worker_died"),
    "overloaded": (429, "overloaded"),
    "deadline": (504, "deadline"),
    "refused": (403, "refused"),
    "cancelled": (503, "cancelled"),
    "internal": (500, "internal"),
}

#: The `code` of a room's own error -> status. What is not listed is the request's fault: 400.
_STATUSES: Final[dict[str, int]] = {
    "model_not_found": 404,
    "transfer_not_found": 404,
    "conversation_not_found": 404,
    "message_not_found": 404,
    "unknown_grant": 404,
    "unknown_device": 404,
    "model_missing": 410,
    "model_changed": 409,
    "name_taken": 409,
    "conversation_busy": 409,
    "no_owner_key": 409,
    "not_certified": 409,
    "not_allowed": 409,
    "wrong_passphrase": 403,
    "refused": 403,
    "overloaded": 429,
    "keys_unusable": 500,
    "pull_failed": 502,
}


class ApiError(Exception):
    """An answer with a status of 400 or more. `message` says what and why, `hint` what to do."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        hint: str = "",
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.hint = hint
        self.param = param
        self.headers = dict(headers or {})
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            self.headers.setdefault("retry-after", str(RETRY_AFTER_S))

    def body(self, *, plain: bool) -> bytes:
        """The answer's JSON. `plain`: for OpenAI's endpoints, whose clients show only the message."""
        message = str(self)
        if plain and self.hint:
            message = f"{message} ({self.hint})"
        hint: str | msgspec.UnsetType = self.hint if self.hint and not plain else msgspec.UNSET
        body = ErrorBody(message, _type(self.status), self.param, self.code, hint)
        return msgspec.json.encode(ErrorAnswer(body))


def bad_request(message: str, *, param: str | None = None, code: str = "bad_request") -> ApiError:
    return ApiError(400, code, message, param=param)


def from_failure(failed: Failed) -> ApiError:
    """The last event of a job that did not end well, as an answer."""
    status, code = _FAILURES.get(failed.code, (500, "internal"))
    # A full queue says so itself, with Retry-After.
    hint = "asking again may help" if failed.retry and failed.code != "overloaded" else ""
    return ApiError(
        status, code, failed.message, hint=hint, param="model" if status == 404 else None
    )


def from_exception(error: BaseException) -> ApiError | None:
    """What a room raised, as an answer; None for what nobody expected."""
    found = _leaf(error)
    if isinstance(found, ApiError):
        return found
    if isinstance(found, JobFailed):
        return from_failure(found.failed)
    if isinstance(found, ModelBusy):
        return ApiError(409, "model_busy", str(found))
    if isinstance(found, StoreFull):
        return ApiError(507, "disk_full", str(found))
    if isinstance(found, StoreError):
        return ApiError(500, "store_failed", str(found))
    if isinstance(found, ContentError | ConversationError | OwnerError):
        status = _STATUSES.get(found.code, 400)
        param = "model" if found.code == "model_not_found" else None
        return ApiError(
            status, found.code, str(found), hint=getattr(found, "hint", ""), param=param
        )
    return None


def _leaf(error: BaseException) -> BaseException:
    """The one error inside groups of one; a group of several stays what it is."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def _type(status: int) -> str:
    """OpenAI's word for the family of an error."""
    if status == HTTPStatus.UNAUTHORIZED:
        return "authentication_error"
    if status == HTTPStatus.FORBIDDEN:
        return "permission_error"
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return "rate_limit_error"
    return "invalid_request_error" if status < 500 else "server_error"
