"""The description of the API: committed, complete, and made from what is really served."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec

from node.api.openapi import document, document_bytes
from node.api.routes import ENDPOINTS
from node.owner import ACTIONS
from protocols.http import control, requests

ROOT = Path(__file__).parents[3]
COMMITTED = ROOT / "docs" / "openapi.json"


def test_the_committed_description_is_what_the_code_says() -> None:
    assert COMMITTED.read_bytes() == document_bytes(), (
        "docs/openapi.json is old: python -m node.api.openapi > docs/openapi.json"
    )


def test_the_module_prints_it() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "node.api.openapi"], capture_output=True, check=True
    )
    assert done.stdout == document_bytes()


def test_every_reference_leads_somewhere() -> None:
    found = document(ENDPOINTS)
    schemas = found["components"]["schemas"]
    names = re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(found))
    assert names
    assert set(names) <= set(schemas)


def test_operations_have_names_of_their_own_and_known_rights() -> None:
    ids = [
        op["operationId"] for path in document(ENDPOINTS)["paths"].values() for op in path.values()
    ]
    assert len(ids) == len(set(ids)) == len(ENDPOINTS)
    assert {each.action for each in ENDPOINTS} - {""} <= ACTIONS


def test_every_endpoint_named_in_the_types_is_served() -> None:
    served = {(each.method, re.sub(r"{\w+}", "{}", each.path)) for each in ENDPOINTS}
    told: set[tuple[str, str]] = set()
    for name in dir(control):
        for method, path in re.findall(
            r"(GET|POST|PUT|PATCH|DELETE) (/node/v1/[\w{}/]+)", getattr(control, name).__doc__ or ""
        ):
            told.add((method, re.sub(r"{\w+}", "{}", path)))
    assert len(told) > 15
    assert told <= served


def test_every_request_of_the_client_has_its_endpoint() -> None:
    patterns = [
        (each.method, re.compile(re.sub(r"{\w+}", "[^/]+", each.path) + "$")) for each in ENDPOINTS
    ]
    built = [_build(getattr(requests, name)) for name in _builders()]
    assert len(built) > 30
    for request in built:
        path = request.path.partition("?")[0]
        assert any(m == request.method and p.match(path) for m, p in patterns), request.path


def _builders() -> list[str]:
    found = []
    for name, value in vars(requests).items():
        kind = str(getattr(value, "__annotations__", {}).get("return", ""))
        if not name.startswith("_") and kind.startswith(("Request[", "StreamRequest[")):
            found.append(name)
    return found


def _build(function: Any) -> Any:
    """Call a builder with something of the kind that each parameter without a default wants."""
    given: list[Any] = []
    code, defaults = function.__code__, function.__defaults__ or ()
    names = code.co_varnames[: code.co_argcount - len(defaults)]
    for name in names:
        kind = eval(function.__annotations__[name], vars(requests))
        given.append("x" if kind is str else _least(kind))
    return function(*given)


def _least(kind: Any) -> Any:
    """A struct with just what it needs."""
    values: dict[str, Any] = {}
    for field in msgspec.structs.fields(kind):
        if field.required:
            values[field.name] = "x" if field.type is str else ()
    return kind(**values)


def test_what_can_go_wrong_is_described_with_every_endpoint() -> None:
    chat = document(ENDPOINTS)["paths"]["/v1/chat/completions"]["post"]
    assert {"400", "401", "403", "404", "413", "415", "429", "503", "504"} <= set(chat["responses"])
    assert "X-Kith-Job" in chat["responses"]["200"]["headers"]
    assert "X-Kith-Label" in [each["name"] for each in chat["parameters"]]
    health = document(ENDPOINTS)["paths"]["/healthz"]["get"]
    assert set(health["responses"]) == {"200", "default"}


def test_a_body_of_optional_fields_may_be_left_out() -> None:
    paths = document(ENDPOINTS)["paths"]
    assert not paths["/node/v1/models/adopt"]["post"]["requestBody"]["required"]
    assert paths["/node/v1/models/pull"]["post"]["requestBody"]["required"]


def test_an_export_is_markdown_or_json() -> None:
    export = document(ENDPOINTS)["paths"]["/node/v1/conversations/{id}/export"]["get"]
    assert set(export["responses"]["200"]["content"]) == {"text/markdown", "application/json"}
