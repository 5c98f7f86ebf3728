"""The app: the table of endpoints behind the guard."""

from __future__ import annotations

from http import HTTPStatus

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route

from node.api.call import Call, Reply
from node.api.endpoint import Endpoint, EndpointApp
from node.api.guard import Guard
from node.api.metrics import HttpCounts
from node.api.parts import Parts
from node.api.problems import ApiError
from node.api.refusals import Refusals
from node.api.routes import ENDPOINTS


def build_app(parts: Parts) -> Starlette:
    """The ASGI app; hand it to `serve`."""
    counts, refusals = HttpCounts(), Refusals()
    guard = Middleware(
        Guard,
        settings=parts.settings.api,
        grants=parts.grants,
        token_file=str(parts.home.token_file),
        count=counts.add,
        refused=refusals.note,
    )
    routes = [
        Route(each.path, EndpointApp(parts, each), methods=[each.method])
        for each in (*ENDPOINTS, DESCRIPTION)
    ]
    app = Starlette(routes=routes, middleware=[guard], exception_handlers={HTTPException: _no_such})
    app.router.redirect_slashes = False
    app.state.counts = counts
    app.state.refusals = refusals
    app.state.addresses = ()
    app.state.started_at = parts.clock()
    return app


async def _describe(_call: Call) -> Reply:
    from node.api.openapi import document_bytes  # made when it is asked for, not at start

    return Reply(document_bytes())


DESCRIPTION = Endpoint(
    "GET", "/node/v1/openapi.json", _describe, "status", "This API, described for programs"
)


async def _no_such(request: Request, error: Exception) -> Response:
    """A path or method that is not there, in the shape of every other error."""
    path, status = request.url.path, getattr(error, "status_code", 404)
    headers = (
        {"allow": ", ".join(_methods(request))} if status == HTTPStatus.METHOD_NOT_ALLOWED else {}
    )
    problem = ApiError(
        status,
        "method_not_allowed" if headers else "not_found",
        f"{request.method} {path[:200]!r} is nothing that this node serves",
        hint="GET /node/v1/openapi.json describes what it does",
        headers=headers,
    )
    body = problem.body(plain=path.startswith("/v1"))
    return Response(body, status, problem.headers, "application/json")


def _methods(request: Request) -> list[str]:
    """Every method that this path knows: Starlette tells only of the first route."""
    found: set[str] = set()
    for route in request.app.routes:
        if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE:
            found |= route.methods or set()
    return sorted(found)
