"""What every request passes first: whose page sent it, who asks, how large it is. Pure ASGI.

A web page cannot drive the node: the Host must be a name of this machine (so a foreign name that
was rebound to 127.0.0.1 is refused), the Origin must be absent or listed, the body must say that
it is JSON (a page cannot send that across origins without asking first), and the token is needed.
The whole body is read here, within bounds, before anything looks at it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final, Protocol

import trio

from node.api.problems import ApiError
from node.config import ApiSettings
from node.owner import Caller, anonymous

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

BODY_S: Final = 30.0  # from the first byte of a request to the last of its body
DRAIN_BYTES: Final = 64 * 1024 * 1024  # of a body that is too large, before we hang up instead
OPEN_PATHS: Final = frozenset({"/healthz"})  # no token needed

CALLER: Final = "kith.caller"  # scope keys
BODY: Final = "kith.body"


class Doorkeeper(Protocol):
    """What the guard needs of node.owner.Grants."""

    @property
    def owner_caller(self) -> Caller: ...

    def authenticate(self, secret: str) -> Caller | None: ...


@dataclass(frozen=True)
class Entry:
    """What is known about a request before its body: who asks, or why not."""

    caller: Caller | None
    error: ApiError | None
    cors: tuple[tuple[bytes, bytes], ...] = ()


class Guard:
    """Middleware. Puts the caller and the whole body into the scope, or answers itself."""

    def __init__(
        self,
        app: App,
        *,
        settings: ApiSettings,
        grants: Doorkeeper,
        token_file: str,
        count: Callable[[int], None] = lambda status: None,
        refused: Callable[[str, str, ApiError], None] = lambda method, path, error: None,
    ) -> None:
        self._app = app
        self._settings = settings
        self._grants = grants
        self._token_file = token_file
        self._count = count
        self._refused = refused

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = _headers(scope)
        entry = self._look_at(scope, headers)
        send = _with_headers(send, entry.cors, self._count)
        if entry.error is None and scope["method"] == "OPTIONS" and entry.cors:
            await _answer(send, 204, b"", {})
            return
        try:
            scope[BODY] = await self._read(headers, receive, keep=entry.error is None)
            if entry.error is not None:
                raise entry.error
        except ApiError as error:
            self._refused(scope["method"], scope["path"], error)
            await _refuse(scope, receive, send, error)
            return
        except _Gone:
            return
        scope[CALLER] = entry.caller
        await self._app(scope, receive, send)

    # --- the head ---

    def _look_at(self, scope: Scope, headers: Mapping[str, str]) -> Entry:
        on_unix = _is_unix(scope)
        if not on_unix and not self._knows_host(headers.get("host", ""), scope):
            return Entry(None, _foreign_host(headers.get("host", "")))
        origin = headers.get("origin")
        if origin is not None and not self._knows_origin(origin):
            return Entry(None, _foreign_origin(origin))
        cors = _cors(origin) if origin is not None else ()
        if scope["path"] in OPEN_PATHS or (cors and _is_preflight(scope, headers)):
            return Entry(anonymous(), None, cors)
        caller = self._who(headers.get("authorization", ""), on_unix)
        return Entry(caller, None if caller else self._no_token(headers), cors)

    def _knows_host(self, host: str, scope: Scope) -> bool:
        name = _host_name(host)
        if name in ("localhost", "127.0.0.1", "::1") or name.endswith(".localhost"):
            return True
        allowed = {_host_name(each) for each in self._settings.allowed_hosts}
        if name in allowed or "*" in self._settings.allowed_hosts:
            return True
        server = scope.get("server")  # the address that this connection came in on
        return _is_address(name) and server is not None and name == server[0]

    def _knows_origin(self, origin: str) -> bool:
        allowed = self._settings.cors_origins
        return origin != "null" and (
            "*" in allowed or origin.rstrip("/") in {each.rstrip("/") for each in allowed}
        )

    def _who(self, authorization: str, on_unix: bool) -> Caller | None:
        kind, _, secret = authorization.partition(" ")
        if secret and kind.lower() == "bearer":
            found = self._grants.authenticate(secret.strip())
            if found is not None or self._settings.token_required:
                return found
        elif on_unix:
            return self._grants.owner_caller  # only this user can open the socket's folder
        if self._settings.token_required:
            return None
        return anonymous(label=self._settings.default_label, token_required=False)

    def _no_token(self, headers: Mapping[str, str]) -> ApiError:
        given = "this API key is not known, or no longer valid"
        what = given if headers.get("authorization") else "an API key is needed"
        return ApiError(
            401,
            "invalid_api_key",
            f"{what}: send 'Authorization: Bearer KEY'; the owner's key is in {self._token_file},"
            " and `node grants new NAME` makes more",
            headers={"www-authenticate": 'Bearer realm="node"'},
        )

    # --- the body ---

    async def _read(self, headers: Mapping[str, str], receive: Receive, *, keep: bool) -> bytes:
        """The whole body, or b"" when it is only read to be polite (`keep`). Raises `ApiError`."""
        most = self._settings.max_body_bytes
        too_large = _length(headers) > most
        body, seen = bytearray(), 0
        with trio.move_on_after(BODY_S) as slow:
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise _Gone
                chunk = message.get("body", b"")
                seen += len(chunk)
                too_large = too_large or seen > most
                if keep and not too_large:
                    body += chunk
                if not message.get("more_body", False) or seen > max(DRAIN_BYTES, most):
                    break
        if slow.cancelled_caught:
            raise ApiError(408, "too_slow", f"the request's body took longer than {BODY_S:.0f} s")
        if too_large:
            raise ApiError(
                413,
                "body_too_large",
                f"the request's body is larger than {most} bytes (the setting api.max_body_bytes)",
            )
        if body and keep:
            _check_type(headers.get("content-type", ""))
        return bytes(body)


class _Gone(Exception):
    """The client closed the connection before its request was whole."""


async def _refuse(scope: Scope, receive: Receive, send: Send, error: ApiError) -> None:
    """Answer with the error while throwing away what still comes, so that neither side waits."""
    headers = dict(error.headers)
    if error.status in (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.REQUEST_TIMEOUT):
        headers["connection"] = "close"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_drain, receive)
        await _answer(
            send, error.status, error.body(plain=scope["path"].startswith("/v1")), headers
        )
        nursery.cancel_scope.cancel()


async def _drain(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _answer(send: Send, status: int, body: bytes, headers: Mapping[str, str]) -> None:
    raw = [(name.encode(), value.encode("latin-1", "replace")) for name, value in headers.items()]
    if body:
        raw.append((b"content-type", b"application/json"))
    if status != HTTPStatus.NO_CONTENT:
        raw.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})


def _with_headers(
    send: Send, cors: tuple[tuple[bytes, bytes], ...], count: Callable[[int], None]
) -> Send:
    """Adds what every answer carries, and counts it."""

    async def wrapped(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            count(message["status"])
            message["headers"] = [
                *message.get("headers", ()),
                (b"server", b"kith"),
                (b"cache-control", b"no-store"),
                (b"x-content-type-options", b"nosniff"),
                *cors,
            ]
        await send(message)

    return wrapped


def _headers(scope: Scope) -> dict[str, str]:
    """Lower-case names; of a header that is there twice, the first counts."""
    found: dict[str, str] = {}
    for name, value in scope["headers"]:
        found.setdefault(name.decode("latin-1").lower(), value.decode("latin-1"))
    return found


def _is_unix(scope: Scope) -> bool:
    return scope.get("server") is None


def _host_name(host: str) -> str:
    """The name without the port, lower case, an IPv6 address without brackets."""
    host = host.strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if host.count(":") == 1 else host


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_preflight(scope: Scope, headers: Mapping[str, str]) -> bool:
    return scope["method"] == "OPTIONS" and "access-control-request-method" in headers


def _cors(origin: str) -> tuple[tuple[bytes, bytes], ...]:
    return (
        (b"access-control-allow-origin", origin.encode("latin-1")),
        (b"access-control-allow-methods", b"GET, POST, PUT, PATCH, DELETE"),
        (b"access-control-allow-headers", b"authorization, content-type, x-kith-label"),
        (b"access-control-expose-headers", b"x-kith-job, retry-after"),
        (b"access-control-max-age", b"600"),
        (b"vary", b"origin"),
    )


def _length(headers: Mapping[str, str]) -> int:
    text = headers.get("content-length", "0")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else 0


def _check_type(content_type: str) -> None:
    kind = content_type.partition(";")[0].strip().lower()
    if kind != "application/json":
        raise ApiError(
            415,
            "not_json",
            f"the body must be JSON, not {kind[:80] or 'of an unnamed type'}:"
            " send it with 'Content-Type: application/json'",
        )


def _foreign_host(host: str) -> ApiError:
    return ApiError(
        403,
        "host_not_allowed",
        f"requests for the host {host[:128]!r} are not answered: use 127.0.0.1 or localhost,"
        " or add the name to the setting api.allowed_hosts",
    )


def _foreign_origin(origin: str) -> ApiError:
    return ApiError(
        403,
        "origin_not_allowed",
        f"web pages from {origin[:128]!r} may not use this node:"
        " the owner can add them to the setting api.cors_origins",
    )
