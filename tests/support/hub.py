"""A model hub on loopback: two real HTTP servers (the hub itself, and the CDN that it redirects to).

    with Hub() as hub:
        hub.put("ann/tiny", "tiny.gguf", data)
        hub.fail(Fault(cut_after=100_000))          # the next download breaks off
        ... pull from hub.endpoint ...
        assert hub.downloads()[1].range_start == 100_000

Every request is in `hub.requests`, with what it asked for and how many bytes of body went out.
"""

from __future__ import annotations

import hashlib
import json
import socket
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Literal
from urllib.parse import quote, unquote, urlsplit

Role = Literal["hub", "cdn"]
_PIECE = 64 * 1024


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one answer."""

    status: int | None = None  # answer with this instead of the file
    headers: tuple[tuple[str, str], ...] = ()
    cut_after: int | None = None  # bytes of body, then the connection is closed
    hold_after: int | None = None  # bytes of body, then nothing until `hub.release()`
    ignore_range: bool = False
    claim_length: int | None = None  # the Content-Length to write, whatever is sent
    redirect: str | None = None  # send the client there


@dataclass
class Request:
    """One request as it came, and what was answered."""

    role: Role
    method: str
    path: str
    range: str | None
    if_range: str | None
    authorization: str | None
    status: int = 0
    sent: int = 0

    @property
    def range_start(self) -> int:
        return int(self.range.removeprefix("bytes=").split("-")[0]) if self.range else 0


@dataclass
class Stored:
    data: bytes
    lfs: bool
    gated: bool
    claimed_sha256: str = ""
    claimed_size: int | None = None

    @property
    def sha256(self) -> str:
        return self.claimed_sha256 or hashlib.sha256(self.data).hexdigest()

    @property
    def etag(self) -> str:
        return f'"{hashlib.md5(self.data).hexdigest()}"'


@dataclass
class Hub:
    """The hub and its CDN. Attributes may be changed at any time; they hold for the next request."""

    token: str = "hf_right"
    redirects: bool = True  # False: the hub sends the bytes itself
    ranges: bool = True  # False: Range is ignored always
    heads: bool = True  # False: HEAD is answered with 405
    linked: bool = True  # False: no X-Linked headers, like any plain web server
    validators: bool = True  # False: no ETag, only Last-Modified
    lengths: bool = True  # False: no Content-Length, the body ends with the connection
    files: dict[str, Stored] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)

    def __enter__(self) -> Hub:
        self._faults: dict[tuple[Role, str], deque[Fault]] = {}
        self._lock, self._released = threading.Lock(), threading.Event()
        self.held = threading.Event()  # set as soon as an answer is being held back
        self._servers = {role: _serve(self, role) for role in ("hub", "cdn")}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()
        for server in self._servers.values():
            server.shutdown()
            server.server_close()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._servers['hub'].server_port}"

    @property
    def cdn(self) -> str:
        return f"http://127.0.0.1:{self._servers['cdn'].server_port}"

    def put(
        self, repo: str, path: str, data: bytes, *, lfs: bool = True, gated: bool = False
    ) -> str:
        """Store a file; the reference that names it."""
        self.files[f"{repo}/{path}"] = Stored(data, lfs, gated)
        return f"hf:{repo}/{path}"

    def fail(self, *faults: Fault, method: str = "GET", role: Role = "cdn") -> None:
        """The next answers to this method at this server go wrong, one after the other."""
        self._faults.setdefault((role, method), deque()).extend(faults)

    def release(self) -> None:
        """Let go of answers that are held back."""
        self._released.set()

    def downloads(self) -> list[Request]:
        """The requests that were answered with bytes of files, in order."""
        return [r for r in self.requests if r.method == "GET" and r.status in (200, 206)]

    def body_bytes(self) -> int:
        """How many bytes of files went out."""
        return sum(request.sent for request in self.downloads())

    def _next_fault(self, role: Role, method: str) -> Fault:
        with self._lock:
            waiting = self._faults.get((role, method))
            return waiting.popleft() if waiting else Fault()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    hub: Hub
    role: Role

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away in the middle is what these tests are about: say nothing."""


def _serve(hub: Hub, role: Role) -> _Server:
    server = _Server(("127.0.0.1", 0), _Handler)
    server.hub, server.role = hub, role
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    return server


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def setup(self) -> None:
        super().setup()
        # Small buffers, so that a count of sent bytes says how many really went out.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * 1024)
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _answer(self) -> None:
        hub, role = self.server.hub, self.server.role
        heading = self.headers.get
        self.log = Request(
            role, self.command, self.path, heading("Range"), heading("If-Range"),
            heading("Authorization"),
        )  # fmt: skip
        hub.requests.append(self.log)
        fault = hub._next_fault(role, self.command)
        if fault.status is not None:
            return self._plain(fault.status, fault.headers, b"as the test asked")
        if fault.redirect is not None:
            return self._plain(302, (("Location", fault.redirect), *fault.headers))
        if self.command == "HEAD" and not hub.heads:
            return self._plain(405)
        path = unquote(urlsplit(self.path).path)
        answer: Callable[[str, Fault], None] = self._hub if role == "hub" else self._cdn
        return answer(path, fault)

    def _hub(self, path: str, fault: Fault) -> None:
        if path.startswith("/api/models/"):
            return self._listing(path.removeprefix("/api/models/"))
        words = path.strip("/").split("/")
        if len(words) < 5 or words[2] != "resolve":
            return self._plain(404)
        key = "/".join([*words[:2], *words[4:]])
        stored = self.server.hub.files.get(key)
        if stored is None:
            return self._plain(404, (("X-Error-Code", "EntryNotFound"),))
        if stored.gated and (refusal := self._refusal(words)):
            return self._plain(*refusal)
        if not stored.lfs or not self.server.hub.redirects:
            return self._body(stored, fault)
        headers = [("Location", f"{self.server.hub.cdn}/blobs/{quote(key)}?signature=secret")]
        return self._plain(302, (*headers, *self._linked(stored)))

    def _refusal(self, words: list[str]) -> tuple[int, tuple[tuple[str, str], ...]] | None:
        given = self.log.authorization
        if given == f"Bearer {self.server.hub.token}":
            return None
        message = f"Access to model {words[0]}/{words[1]} is restricted."
        headers = (("X-Error-Code", "GatedRepo"), ("X-Error-Message", message))
        return (403 if given else 401), headers

    def _listing(self, rest: str) -> None:
        repo = "/".join(rest.split("/")[:2])
        files = {k: v for k, v in self.server.hub.files.items() if k.startswith(repo + "/")}
        if not files:
            return self._plain(404, (("X-Error-Code", "RepoNotFound"),))
        names = {key.removeprefix(repo + "/"): stored for key, stored in files.items()}
        if "/tree/" in rest:
            listing: object = [
                {"type": "file", "path": name, "size": len(stored.data)}
                for name, stored in names.items()
            ]
        else:
            listing = {"id": repo, "siblings": [{"rfilename": name} for name in names]}
        body = json.dumps(listing).encode()
        return self._plain(200, (("Content-Type", "application/json"),), body)

    def _cdn(self, path: str, fault: Fault) -> None:
        if self.log.authorization:
            return self._plain(400)  # signed URLs refuse a second kind of authorisation
        stored = self.server.hub.files.get(path.removeprefix("/blobs/"))
        if stored is None or not path.startswith("/blobs/"):
            return self._plain(404)
        return self._body(stored, fault)

    def _linked(self, stored: Stored) -> tuple[tuple[str, str], ...]:
        if not self.server.hub.linked:
            return ()
        size = len(stored.data) if stored.claimed_size is None else stored.claimed_size
        return (
            ("X-Repo-Commit", "0" * 40),
            ("X-Linked-Size", str(size)),
            ("X-Linked-Etag", f'"{stored.sha256}"'),
        )

    def _body(self, stored: Stored, fault: Fault) -> None:
        hub, data, start = self.server.hub, stored.data, self.log.range_start
        validator = stored.etag if hub.validators else formatdate(len(data), usegmt=True)
        whole = not self.log.range or not hub.ranges or fault.ignore_range
        if self.log.if_range and self.log.if_range != validator:
            whole = True
        if not whole and start >= len(data):
            return self._plain(416, (("Content-Range", f"bytes */{len(data)}"),))
        self.log.status = 200 if whole else 206
        body = data if whole else data[start:]
        self.send_response(self.log.status)
        self.send_header("ETag" if hub.validators else "Last-Modified", validator)
        if not whole:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        if hub.lengths:
            length = len(body) if fault.claim_length is None else fault.claim_length
            self.send_header("Content-Length", str(length))
        else:
            self.send_header("Connection", "close")
        for name, value in fault.headers:
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self._send(body, fault)
        return None

    def _send(self, body: bytes, fault: Fault) -> None:
        end = len(body) if fault.cut_after is None else fault.cut_after
        hold = fault.hold_after
        with suppress(OSError):
            while self.log.sent < end:
                if hold is not None and self.log.sent >= hold:
                    self.server.hub.held.set()
                    self.server.hub._released.wait(60)
                    hold = None
                stop = min(end, self.log.sent + _PIECE, hold if hold is not None else end)
                self.wfile.write(body[self.log.sent : stop])
                self.log.sent = stop
        if end < len(body) or fault.claim_length is not None:
            self.close_connection = True
            with suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)

    def _plain(
        self, status: int, headers: tuple[tuple[str, str], ...] = (), body: bytes = b""
    ) -> None:
        self.log.status = status if status != 200 else 0  # a listing is no download
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)
