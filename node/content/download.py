"""Fetching one file: streamed to the disk, hashed on the way, resumed after any interruption."""

from __future__ import annotations

import os
import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
import trio

from node.content.access import Access, Answer, Retry, body, judge
from node.content.disk import (
    SPARE_BYTES,
    free_bytes,
    full_message,
    is_full,
    keep_spare,
    size_text,
    write_all,
)
from node.content.errors import PullFailed
from node.content.hashing import Hashes, read_through, until_cancelled
from node.content.sidecar import PartialFile
from protocols.limits import MIB
from protocols.unixfs import Built

_WRITE_BYTES: Final = MIB // 4  # handed to the disk at once
_SYNC_BYTES: Final = 64 * MIB  # fetched between two moments at which all is safely on the disk
_CONTENT_RANGE: Final = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})", re.ASCII)


@dataclass(frozen=True)
class Patience:
    """How long to wait for a server that has trouble."""

    retries: int  # tries in a row that bring nothing new
    first_s: float = 0.5
    longest_s: float = 60.0
    obeyed_s: float = 15 * 60.0  # the longest wait that a server may ask for

    def wait_s(self, failures: int, asked_s: float | None) -> float:
        """Raises `PullFailed` when the server asks for more than can be waited for."""
        if asked_s is not None and asked_s > self.obeyed_s:
            raise PullFailed(
                f"the server asks to come back in {asked_s / 60:.0f} minutes: pull again then"
            )
        backoff = min(self.longest_s, self.first_s * 2.0 ** (failures - 1))
        return max(asked_s or 0.0, backoff * random.uniform(0.5, 1.0))  # noqa: S311 - spreads load


@dataclass(frozen=True)
class Watcher:
    """Whom a download tells: every number of bytes that came, what it is doing, what to write down."""

    moved: Callable[[int], None]  # bytes that came, or a negative number that turned out useless
    say: Callable[[str], None]
    save: Callable[[], None]  # called in a thread, after the bytes are synced


class Download:
    """One file of a pull, on its way to `path`."""

    def __init__(
        self,
        access: Access,
        file: PartialFile,
        path: Path,
        shown: str,
        patience: Patience,
        max_bytes: int,
        watcher: Watcher,
    ) -> None:
        self._access = access
        self._file = file
        self._path = path
        self._shown = shown
        self._patience = patience
        self._max_bytes = max_bytes
        self._watcher = watcher
        self._hashes = self._new_hashes()
        self._offset = 0
        self._best = 0  # the furthest that any try came
        self._descriptor = -1

    async def run(self, trusted: int) -> tuple[Built, str]:
        """Fetch what is missing beyond the first `trusted` bytes; the whole file's hashes.

        Cancelling keeps what came so far. Raises `PullFailed`.
        """
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if trusted:
                await trio.to_thread.run_sync(self._take_what_is_here, trusted)
            await self._fetch()
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(self._sync)
            return self._verified()
        except OSError as error:
            raise self._disk_failed(error) from error
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(self._leave)

    async def _fetch(self) -> None:
        failures = 0
        while self._file.size is None or self._offset < self._file.size:
            try:
                return await self._attempt()
            except Retry as trouble:
                failures = 1 if self._offset > self._best else failures + 1
                self._best = max(self._best, self._offset)
                if failures > self._patience.retries:
                    raise PullFailed(
                        f"{trouble}, after {failures} tries: what came so far is kept, pull again to go on"
                    ) from trouble
                wait_s = self._patience.wait_s(failures, trouble.after_s)
                self._watcher.say(f"{trouble}; trying again in {wait_s:.0f} s")
                await trio.sleep(wait_s)

    async def _attempt(self) -> None:
        headers: dict[str, str] = {}
        if self._offset and (self._file.validator or self._file.sha256):
            headers["Range"] = f"bytes={self._offset}-"
        if headers and self._file.validator:
            headers["If-Range"] = self._file.validator
        async with self._access.open("GET", self._file.url, headers) as answer:
            if answer.response.status_code == 416:
                await trio.to_thread.run_sync(self._start_over)
                raise Retry("the server no longer has what came so far")
            judge(answer, self._shown)
            await self._begin(answer)
            self._watcher.say("")
            await self._stream(answer)
        if self._file.size is not None and self._offset < self._file.size:
            raise Retry("the connection ended too early")
        self._file.size = self._offset

    async def _begin(self, answer: Answer) -> None:
        """See that the answer goes on with what is here; else start over. Writes the sidecar."""
        if answer.sha256 and answer.sha256 != self._file.sha256:
            await self._changed(answer)
        start, size = _extent(answer)
        if start != self._offset:
            if start:
                raise PullFailed(f"{answer.host} sent another part of the file than was asked for")
            await trio.to_thread.run_sync(self._start_over)
        elif start and answer.validator != self._file.validator:
            await trio.to_thread.run_sync(self._start_over)
            raise Retry("the file changed at the server")
        if start and size != self._file.size:
            await trio.to_thread.run_sync(self._start_over)
            raise Retry("the file changed at the server")
        self._check_size(answer, size)
        self._file.size = size
        self._file.validator = answer.validator
        if not start:
            self._hashes = self._new_hashes()
        await trio.to_thread.run_sync(self._watcher.save)

    async def _changed(self, answer: Answer) -> None:
        """The hub says that the file has another hash than it had: all that came is of no use."""
        if self._file.pinned:
            raise PullFailed(
                other_sha256(self._shown, self._file.sha256, answer.sha256), keep=False
            )
        had_bytes = self._offset > 0
        await trio.to_thread.run_sync(self._start_over)
        self._file.sha256, self._file.size = answer.sha256, answer.size
        if had_bytes:
            raise Retry("the file changed at the hub")

    def _check_size(self, answer: Answer, size: int | None) -> None:
        if answer.size is not None and size is not None and size != answer.size:
            raise PullFailed(
                f"the hub says that {self._shown} has {answer.size:,} bytes, and {answer.host} sends"
                f" {size:,}: try later, or take it from another source",
                keep=False,
            )
        if size is not None and size > self._max_bytes:
            raise PullFailed(
                f"{self._shown} has {size_text(size)}, more than `content.max_model_bytes` allows",
                keep=False,
            )
        if size is not None and free_bytes(self._path.parent) < size - self._offset + SPARE_BYTES:
            raise PullFailed(self._no_room(size))

    async def _stream(self, answer: Answer) -> None:
        """Write the body as it comes. Raises `Retry` when it stalls or breaks off."""
        waiting = bytearray()
        since_sync = 0
        try:
            async with body(answer) as chunks:
                async for chunk in chunks:
                    self._access.note(answer.host, len(chunk))
                    waiting += chunk
                    if len(waiting) >= _WRITE_BYTES:
                        since_sync += len(waiting)
                        waiting = await self._write(waiting)
                    if since_sync >= _SYNC_BYTES:
                        await trio.to_thread.run_sync(self._sync)
                        since_sync = 0
        except httpx.TimeoutException as error:
            raise Retry(f"{answer.host} stopped sending") from error
        except (httpx.HTTPError, httpx.StreamError) as error:
            raise Retry(f"the connection to {answer.host} broke off") from error
        finally:
            with trio.CancelScope(shield=True):
                await self._write(waiting)

    async def _write(self, data: bytearray) -> bytearray:
        """Hand bytes to the disk and the hashes; a fresh buffer."""
        if not data:
            return data
        size = self._file.size
        if self._offset == 0:
            _check_start(self._file.name, data, self._shown)
        if self._offset + len(data) > (self._max_bytes if size is None else size):
            raise PullFailed(f"{self._shown}: the server sends more than it announced", keep=False)
        await trio.to_thread.run_sync(self._put, data)
        self._watcher.moved(len(data))
        return bytearray()

    def _put(self, data: bytearray) -> None:
        keep_spare(self._path.parent)
        os.lseek(self._descriptor, self._offset, os.SEEK_SET)
        write_all(self._descriptor, data)
        self._hashes.update(data)
        self._offset += len(data)

    def _take_what_is_here(self, trusted: int) -> None:
        """Hash the bytes of an earlier run; whatever lies beyond them is cut off."""
        os.ftruncate(self._descriptor, trusted)

        def tick(count: int) -> None:
            until_cancelled(count)
            self._offset += count
            self._watcher.moved(count)

        with open(self._descriptor, "rb", buffering=0, closefd=False) as file:
            file.seek(0)
            read_through(file, self._hashes.update, tick)
        self._best = self._offset

    def _start_over(self) -> None:
        self._watcher.moved(-self._offset)
        os.ftruncate(self._descriptor, 0)
        self._offset, self._file.synced, self._file.validator = 0, 0, ""
        self._hashes = self._new_hashes()

    def _sync(self) -> None:
        os.fsync(self._descriptor)
        self._file.synced = self._offset
        self._watcher.save()

    def _leave(self) -> None:
        """At the end, whatever it is: keep what came. A full disk must not hide the reason."""
        try:
            self._sync()
        except OSError:
            pass
        finally:
            os.close(self._descriptor)

    def _new_hashes(self) -> Hashes:
        return Hashes(sha256=bool(self._file.sha256))

    def _verified(self) -> tuple[Built, str]:
        built, sha256 = self._hashes.finish()
        if sha256 != self._file.sha256:
            raise PullFailed(
                f"the bytes of {self._shown} are not those that were promised (sha256 {sha256[:16]}…"
                f" instead of {self._file.sha256[:16]}…): nothing was kept; pull again, or take it from"
                " another source",
                keep=False,
            )
        return built, sha256

    def _no_room(self, size: int) -> str:
        missing = size - self._offset + SPARE_BYTES
        return full_message(self._path.parent, missing) + (
            ": free some space and pull again; what came so far is kept"
        )

    def _disk_failed(self, error: OSError) -> PullFailed:
        if is_full(error):
            rest = (self._file.size or self._offset) - self._offset
            return PullFailed(self._no_room(self._offset + rest))
        return PullFailed(
            f"{self._path.parent} cannot be written ({error.strerror or error}): check the home folder"
        )


def other_sha256(shown: str, wanted: str, found: str) -> str:
    return f"{shown} has the sha256 {found} at the hub, and {wanted} was asked for: check which is right"


def _extent(answer: Answer) -> tuple[int, int | None]:
    """Where the body starts in the file, and the size of the whole file."""
    response = answer.response
    if response.status_code == 206:
        match = _CONTENT_RANGE.fullmatch(response.headers.get("content-range", ""))
        if match is None or int(match[2]) != int(match[3]) - 1:
            raise PullFailed(f"{answer.host} does not say which part of the file it sends")
        return int(match[1]), int(match[3])
    length = response.headers.get("content-length", "")
    return 0, int(length) if length.isascii() and length.isdigit() else answer.size


def _check_start(name: str, data: bytearray, shown: str) -> None:
    """What is plainly no model need not be fetched to its end."""
    if name.lower().endswith(".gguf") and not data.startswith(b"GGUF"[: len(data)]):
        what = "a web page" if data.lstrip()[:1] == b"<" else "something else"
        raise PullFailed(f"{shown} is {what} and not a GGUF file: check the address", keep=False)
