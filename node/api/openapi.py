"""The OpenAPI document: made from the table of endpoints and the types, nothing written by hand.

`python -m node.api.openapi` prints it; docs/openapi.json is that, and a test compares the two.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

import msgspec

from node.api.endpoint import Endpoint
from node.api.routes import ENDPOINTS
from protocols.http import openai, sse

_MEANINGS: Final = {
    400: "Something in the request is wrong, or not served; the message names it",
    401: "No key, or one that is not valid",
    403: "The decision point said no, or the Host or Origin may not ask",
    404: "There is no such thing",
    408: "The body took too long to come",
    413: "The body is too large",
    415: "The body is not sent as JSON",
    429: "The queue is full; Retry-After says when to ask again",
    500: "The model or the node failed",
    503: "The model's process died or does not fit into memory, or the node is stopping",
    504: "The job took longer than it may",
}
_LABEL: Final = {
    "name": "X-Kith-Label",
    "in": "header",
    "required": False,
    "description": "A label for this request other than the key's own, up to the key's ceiling",
    "schema": {"type": "string"},
}
_JOB: Final = {
    "description": "The job's id, for GET /node/v1/jobs/{id}",
    "schema": {"type": "string"},
}
_REFS: Final = "#/components/schemas/{name}"
_JSON: Final = "application/json"
_VERSION: Final = "1"  # of the API, not of the program


@lru_cache(maxsize=1)
def document_bytes() -> bytes:
    """The document as committed: indented, with a line end."""
    return (json.dumps(document(ENDPOINTS), indent=1, ensure_ascii=False) + "\n").encode()


def document(endpoints: Sequence[Endpoint]) -> dict[str, Any]:
    schemas = _Schemas(endpoints)
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Kith node",
            "version": _VERSION,
            "description": "The HTTP API of a node: OpenAI's endpoints under /v1, the control API"
            " under /node/v1.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "http://127.0.0.1:8750"}],
        "security": [{"key": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
            "schemas": dict(sorted(schemas.components.items())),
        },
    }


class _Schemas:
    """The JSON schema of every type that an endpoint takes or gives."""

    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        types: list[Any] = [openai.ErrorAnswer]
        for each in endpoints:
            types += [t for t in (each.takes, each.gives, each.streams) if t is not None]
            if each.query is not None:
                types += [field.type for field in msgspec.structs.fields(each.query)]
        found, self.components = msgspec.json.schema_components(types, ref_template=_REFS)
        self._by_type = list(zip(types, found, strict=True))

    def of(self, kind: Any) -> dict[str, Any]:
        return next(schema for each, schema in self._by_type if each is kind or each == kind)


def _operation(endpoint: Endpoint, schemas: _Schemas) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": _id(endpoint),
        "summary": endpoint.summary,
        "tags": [_tag(endpoint.path)],
        "parameters": [
            *_path_parameters(endpoint),
            *_query_parameters(endpoint, schemas),
            *([_LABEL] if _is_job(endpoint) else []),
        ],
        "responses": {
            str(endpoint.status): _answer(endpoint, schemas),
            **_problems(endpoint, schemas),
            "default": {
                "description": "What went wrong",
                "content": {_JSON: {"schema": schemas.of(openai.ErrorAnswer)}},
            },
        },
    }
    if endpoint.takes is not None:
        body = {
            "required": _has_to_be_said(endpoint.takes),
            "content": {_JSON: {"schema": schemas.of(endpoint.takes)}},
        }
        operation["requestBody"] = body
    if endpoint.action:
        operation["description"] = f"Needs the right `{endpoint.action}`."
    else:
        operation["security"] = []
    return operation


def _answer(endpoint: Endpoint, schemas: _Schemas) -> dict[str, Any]:
    content: dict[str, Any] = {}
    if endpoint.gives is not None:
        content[_JSON] = {"schema": schemas.of(endpoint.gives)}
    if endpoint.streams is not None:
        said = {"description": "What the data of each event is", **schemas.of(endpoint.streams)}
        content[sse.MEDIA_TYPE] = {"schema": said}
    if not content and endpoint.status == 200:
        content |= {kind: {} for kind in endpoint.media_type.split(", ")}
    answer: dict[str, Any] = {"description": endpoint.summary}
    if content:
        answer["content"] = content
    if _is_job(endpoint):
        answer["headers"] = {"X-Kith-Job": _JOB}
    return answer


def _is_job(endpoint: Endpoint) -> bool:
    return endpoint.path.startswith("/v1/") and endpoint.action in ("chat", "embed")


def _has_to_be_said(kind: Any) -> bool:
    """An empty body is an empty object: fine where every field may be left out."""
    return any(field.required for field in msgspec.structs.fields(kind))


def _problems(endpoint: Endpoint, schemas: _Schemas) -> dict[str, Any]:
    """The statuses that this endpoint answers with when something is wrong; rarer ones are `default`."""
    found: list[int] = []
    if endpoint.takes is not None or endpoint.query is not None:
        found.append(400)
    if endpoint.action:
        found += [401, 403]
    if "{" in endpoint.path or _is_job(endpoint):
        found.append(404)
    if endpoint.takes is not None:
        found += [408, 413, 415]
    if _is_job(endpoint):
        found += [429, 500, 503, 504]
    return {
        str(status): {
            "description": _MEANINGS[status],
            "content": {_JSON: {"schema": schemas.of(openai.ErrorAnswer)}},
        }
        for status in found
    }


def _path_parameters(endpoint: Endpoint) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"{(\w+)}", endpoint.path)
    ]


def _query_parameters(endpoint: Endpoint, schemas: _Schemas) -> list[dict[str, Any]]:
    if endpoint.query is None:
        return []
    return [
        {
            "name": field.encode_name,
            "in": "query",
            "required": field.required,
            "schema": {**schemas.of(field.type), "default": field.default},
        }
        for field in msgspec.structs.fields(endpoint.query)
    ]


def _tag(path: str) -> str:
    parts = path.strip("/").split("/")
    return "OpenAI" if parts[0] == "v1" else parts[2] if len(parts) > 2 else parts[0]


def _id(endpoint: Endpoint) -> str:
    words = re.findall(r"\w+", endpoint.path.removeprefix("/node/v1"))
    return "_".join([endpoint.method.lower(), *words])


if __name__ == "__main__":
    sys.stdout.buffer.write(document_bytes())
