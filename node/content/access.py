"""Reading from the hub and other web servers: who may be asked, and what they may be told.

The hub's token goes to the hub's own origin and to nobody else; every redirect is looked at before it
is followed; every host that was asked, and how much it sent, is counted for the event log.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

import httpx
import trio

from node.content.errors import BadRef, PullFailed
from node.content.refs import Ref, is_loopback, origin_of

_REDIRECTS: Final = 5
_CONNECT_S: Final = 30.0
_REDIRECT_STATUSES: Final = (301, 302, 303, 307, 308)
_AGAIN_STATUSES: Final = (408, 425, 429, 500, 502, 503, 504)
_SHA256_CHARS: Final = 64


class Retry(Exception):
    """This try did not work, another one may. `after_s` is what the server asked for."""

    def __init__(self, why: str, after_s: float | None = None) -> None:
        super().__init__(why)
        self.after_s = after_s


@dataclass(frozen=True)
class Answer:
    """An open answer. `size` and `sha256` are what the hub says about the whole file."""

    response: httpx.Response
    host: str
    size: int | None
    sha256: str

    @property
    def validator(self) -> str:
        """What makes sure, on resuming, that the file is still the same; "" when nothing does."""
        etag = self.response.headers.get("etag", "")
        if etag.startswith('"'):  # a weak one (W/) does not promise the same bytes
            return str(etag)
        return str(self.response.headers.get("last-modified", ""))


@asynccontextmanager
async def body(answer: Answer) -> AsyncIterator[AsyncIterator[bytes]]:
    """The answer's bytes as they come.

    Whoever stops in the middle leaves nothing behind: the client's nested generators end only through
    an exception from their innermost, which a cancelled read is.
    """
    chunks = answer.response.aiter_raw()
    try:
        yield chunks
    finally:
        with trio.move_on_after(0, shield=True):
            await _exhaust(chunks)


async def _exhaust(chunks: AsyncIterator[bytes]) -> None:
    with suppress(httpx.HTTPError, httpx.StreamError):
        async for _ in chunks:
            pass


class Access:
    """One client for one pull. Use as `async with access.open(...)`; close it at the end."""

    def __init__(
        self, ref: Ref, endpoint: str, token: str, *, offline: bool, stall_s: float
    ) -> None:
        self._ref = ref
        self._hub = origin_of(endpoint)
        self._token = token
        self._offline = offline
        self.received: dict[str, int] = {}  # bytes of content, by host
        timeout = httpx.Timeout(stall_s, connect=min(_CONNECT_S, stall_s))
        self._client = httpx.AsyncClient(
            timeout=timeout,
            follow_redirects=False,
            # A proxy from the environment is not for what lies on this machine.
            trust_env=not is_loopback(ref.origin[1]),
            headers={"User-Agent": "kith", "Accept": "*/*", "Accept-Encoding": "identity"},
        )

    async def aclose(self) -> None:
        await self._client.aclose()

    def note(self, host: str, count: int) -> None:
        """Count bytes that a host sent."""
        self.received[host] = self.received.get(host, 0) + count

    @asynccontextmanager
    async def open(
        self, method: str, url: str, headers: Mapping[str, str], *, until_linked: bool = False
    ) -> AsyncIterator[Answer]:
        """Ask, follow redirects, and give the last answer, its body not yet read.

        `until_linked`: stop at the hub's own answer when it tells the file's size and hash. Raises
        `Retry` for what may pass, `PullFailed` for what will not.
        """
        try:
            answer = await self._follow(method, url, dict(headers), until_linked)
        except httpx.TimeoutException as error:
            raise Retry(f"{_host(url)} does not answer") from error
        except httpx.InvalidURL as error:
            raise PullFailed(
                f"the server named an address that cannot be read ({error})"
            ) from error
        except httpx.HTTPError as error:
            raise _unreachable(url, error) from error
        try:
            yield answer
        finally:
            await answer.response.aclose()

    async def _follow(
        self, method: str, url: str, headers: dict[str, str], until_linked: bool
    ) -> Answer:
        linked: tuple[int | None, str] = (None, "")
        for _ in range(_REDIRECTS + 1):
            host = self._admit(url)
            self.note(host, 0)
            request = self._client.build_request(
                method, url, headers={**headers, **self._authorization(url)}
            )
            response = await self._client.send(request, stream=True)
            if origin_of(url) == self._ref.origin and linked == (None, ""):
                linked = _linked(response)
            told = until_linked and linked[0] is not None and linked[1]
            if response.status_code not in _REDIRECT_STATUSES or told:
                return Answer(response, host, *linked)
            await response.aclose()
            url = self._redirected(url, response)
        raise PullFailed(f"{_host(url)} redirects without end")

    def _admit(self, url: str) -> str:
        host = _host(url)
        if self._offline and not is_loopback(host):
            raise PullFailed(
                f"this node is set to be offline, and {host} is not on this machine: allow the"
                " network (`offline = false`), or add a file with `node models add FILE`"
            )
        return host

    def _authorization(self, url: str) -> dict[str, str]:
        if self._token and origin_of(url) == self._hub:
            return {"Authorization": f"Bearer {self._token}"}
        return {}

    def _redirected(self, url: str, response: httpx.Response) -> str:
        try:
            target = str(httpx.URL(url).join(response.headers.get("location", "")))
            origin_of(target)
        except (BadRef, httpx.InvalidURL) as error:
            raise PullFailed(
                f"{_host(url)} redirects to where nothing can be pulled: {error}"
            ) from error
        loopback = is_loopback(_host(target))
        if loopback and not is_loopback(_host(url)):
            raise PullFailed(f"{_host(url)} redirects to this machine itself: that is not followed")
        if url.startswith("https:") and target.startswith("http:") and not loopback:
            raise PullFailed(
                f"{_host(url)} redirects to {_host(target)} without encryption: that is not followed"
            )
        return target


def judge(answer: Answer, shown: str) -> None:
    """Take an answer of success; raise `Retry` or `PullFailed` with what to do for any other."""
    response, status = answer.response, answer.response.status_code
    if status in (200, 206):
        encoding = response.headers.get("content-encoding", "identity")
        if encoding != "identity":
            raise PullFailed(f"{answer.host} sends the file in the encoding {encoding[:20]!r}")
        return
    if status in _AGAIN_STATUSES:
        raise Retry(f"{answer.host} answered {status}", _retry_after(response))
    if status in (401, 403):
        raise PullFailed(_no_entry(answer, shown))
    if status in (404, 410):
        raise PullFailed(_not_there(answer, shown))
    raise PullFailed(f"{answer.host} answered {status} for {shown}")


def _linked(response: httpx.Response) -> tuple[int | None, str]:
    """What the hub says about the file behind a redirect: size and sha256."""
    size = response.headers.get("x-linked-size", "")
    etag = response.headers.get("x-linked-etag", "").removeprefix("W/").strip('"').lower()
    is_sha = len(etag) == _SHA256_CHARS and all(c in "0123456789abcdef" for c in etag)
    return (int(size) if size.isascii() and size.isdigit() else None), (etag if is_sha else "")


def _retry_after(response: httpx.Response) -> float | None:
    text = response.headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        when = parsedate_to_datetime(text)
    except (ValueError, TypeError):
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return max(0.0, (when - datetime.now(UTC)).total_seconds())


def _no_entry(answer: Answer, shown: str) -> str:
    gated = answer.response.headers.get("x-error-code") == "GatedRepo"
    what = "is gated: its owner wants its licence accepted first" if gated else "is not open to all"
    sent = "authorization" in answer.response.request.headers
    token = (
        "the token in `content.hub_token` is not allowed to read it: check that its account has access"
        if sent
        else "then put a token of your account into `content.hub_token` (or KITH_CONTENT_HUB_TOKEN)"
    )
    return f"{shown} {what} ({answer.host} answered {answer.response.status_code}): accept the licence on its page on the hub; {token}"


def _not_there(answer: Answer, shown: str) -> str:
    code = answer.response.headers.get("x-error-code", "")
    what = {
        "RepoNotFound": "there is no such repository (or it is private, and needs a token)",
        "RevisionNotFound": "there is no such revision in the repository",
        "EntryNotFound": "there is no such file in the repository",
    }.get(code, "there is no such file")
    return (
        f"{shown}: {what} at {answer.host}: compare the name with the page (capital letters count)"
    )


def _unreachable(url: str, error: httpx.HTTPError) -> Exception:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return PullFailed(
                f"the certificate of {_host(url)} cannot be trusted ({cause.verify_message}): check this"
                " machine's clock and network"
            )
        cause = cause.__cause__ or cause.__context__
    return Retry(
        f"{_host(url)} cannot be reached ({error})"
        if str(error)
        else f"{_host(url)} cannot be reached"
    )


def _host(url: str) -> str:
    return origin_of(url)[1]
