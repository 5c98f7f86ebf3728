"""A small node for tests of clients: real HTTP on loopback, answers written by the test.

Tokens of an answer come when the test releases them; what the clients sent is kept for assertions.
Runs in the test's own asyncio loop.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec

from protocols.http import control
from protocols.http.sse import encode

Handler = Callable[["Asked"], Awaitable[None]]
TOKEN = "kith_test-token"


class Wrong(Exception):
    def __init__(self, status: int, code: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.status, self.problem = status, control.Problem(code, message, hint)


@dataclass
class Asked:
    """One request, and the way to answer it."""

    method: str
    parts: tuple[str, ...]  # of the path after /node/v1, unquoted
    body: bytes
    token: str
    writer: asyncio.StreamWriter
    gone: asyncio.Event  # the client closed the connection

    def take(self, kind: Any) -> Any:
        return msgspec.json.decode(self.body, type=kind)

    async def answer(self, value: Any, status: int = 200) -> None:
        data = b"" if value is None else msgspec.json.encode(value)
        head = f"HTTP/1.1 {204 if value is None else status} x\r\ncontent-length: {len(data)}\r\n"
        self.writer.write(head.encode() + b"content-type: application/json\r\n\r\n" + data)
        await self.writer.drain()

    async def stream(self) -> None:
        self.writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
        )
        await self.writer.drain()

    async def event(self, event: Any) -> None:
        self.writer.write(encode(msgspec.json.encode(event)))
        await self.writer.drain()


def model(name: str, **facts: Any) -> control.ModelEntry:
    """A model as the node describes it; whatever is not said is plausible."""
    plain: dict[str, Any] = {
        "cid": "bafytest",
        "kind": "gguf",
        "size": 1_200_000,
        "state": "unloaded",
        "default": False,
        "starter": False,
        "embedding": False,
        "label": "device",
        "source": "/models/x.gguf",
        "storage": "own",
        "path": "/models/x.gguf",
    }
    return control.ModelEntry(name=name, **{**plain, **facts})


@dataclass
class FakeNode:
    """What it holds may be changed by the test at any moment."""

    models: dict[str, control.ModelEntry] = field(default_factory=dict)
    transfers: dict[str, control.Transfer] = field(default_factory=dict)
    conversations: dict[str, control.Conversation] = field(default_factory=dict)
    tokens: list[str] = field(default_factory=lambda: ["Why", " did", " it?"])
    token: str = TOKEN
    network: str = "nothing leaves this machine"
    problem: Wrong | None = None  # the next change or question is refused with it
    fails_with: control.Problem | None = None  # the answer fails after its tokens
    cut_after: int | None = None  # the connection breaks after this many tokens
    notice: str = ""
    port: int = 0
    said: list[control.Say] = field(default_factory=list)
    log: list[str] = field(default_factory=list)  # "METHOD path" of every request but status
    closed_early: int = 0  # streams that the client closed before their end
    free: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))
    _server: asyncio.Server | None = None
    _clients: set[asyncio.Task[None]] = field(default_factory=set)
    _count: int = 0

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def release(self, count: int = 1) -> None:
        """Let this many more tokens (or ends of answers) pass."""
        for _ in range(count):
            self.free.release()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._client, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """As if it was killed: every connection breaks."""
        if self._server is not None:
            self._server.close()
        clients = list(self._clients)
        for task in clients:
            task.cancel()
        await asyncio.gather(*clients, return_exceptions=True)
        if self._server is not None:
            await self._server.wait_closed()
            self._server = None

    # --- one connection ---------------------------------------------------------------------------

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._clients.add(task)
        try:
            with suppress(ConnectionError):
                while await self._one(reader, writer):
                    pass
        finally:
            self._clients.discard(task)
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
        except asyncio.IncompleteReadError:
            return False
        first, *lines = head.split("\r\n")
        method, target, _ = first.split(" ")
        headers = dict(line.lower().split(": ", 1) for line in lines if line)
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        path = urlsplit(target).path
        asked = Asked(
            method,
            tuple(unquote(part) for part in path.split("/")[3:]),
            body,
            headers.get("authorization", "").removeprefix("bearer "),
            writer,
            asyncio.Event(),
        )
        if path != "/node/v1/status":
            self.log.append(f"{method} {path}")
        if path.endswith("/messages"):
            watch = asyncio.create_task(_watch(reader, asked.gone))
            try:
                await self._refusing(self._say, asked)
            finally:
                watch.cancel()
            return False
        await self._refusing(self._route, asked)
        return True

    async def _refusing(self, handler: Handler, asked: Asked) -> None:
        try:
            if asked.token != self.token:
                raise Wrong(401, "unauthorized", "the token is wrong")
            await handler(asked)
        except Wrong as wrong:
            await asked.answer(control.ProblemAnswer(wrong.problem), wrong.status)

    async def _route(self, asked: Asked) -> None:
        if asked.method != "GET" and self.problem is not None:
            problem, self.problem = self.problem, None
            raise problem
        match asked.method, *asked.parts:
            case "GET", "status":
                await asked.answer(self.status())
            case _, "models", *_:
                await self._models(asked)
            case _, "transfers", *_:
                await self._transfers(asked)
            case _, "conversations", *_:
                await self._conversations(asked)
            case _:
                raise Wrong(404, "not_found", f"no such endpoint: {asked.parts}")

    def status(self) -> control.Status:
        default = next((each.name for each in self.models.values() if each.default), "")
        return control.Status(
            version="0",
            pid=1,
            home="/home/x",
            addresses=(self.address,),
            token_file="/t",
            owner="o",
            device="d",
            device_name="here",
            backed_up=True,
            offline=True,
            network=self.network,
            default_model=default,
            loaded=(),
            jobs_running=0,
            jobs_waiting=0,
            uptime_s=1.0,
            memory=control.Memory(8_000_000_000, 4_000_000_000, 3_000_000_000, 0),
        )

    # --- models -----------------------------------------------------------------------------------

    async def _models(self, asked: Asked) -> None:
        match asked.method, *asked.parts[1:]:
            case ("GET",):
                await asked.answer(control.ModelList(tuple(self.models.values())))
            case "POST", "add":
                what = asked.take(control.AddModel)
                await asked.answer(self.transfer("add", what.path, what.path.split("/")[-1]), 202)
            case "POST", "pull":
                what = asked.take(control.PullModel)
                await asked.answer(self.transfer("pull", what.ref, what.ref.split("/")[-1]), 202)
            case "PUT", "default":
                name = asked.take(control.SetDefault).name
                self._change_all(default=False)
                await asked.answer(self._change(name, default=True))
            case "POST", name, "load":
                await asked.answer(self._change(name, state="loaded"))
            case "POST", name, "unload":
                await asked.answer(self._change(name, state="unloaded"))
            case "DELETE", name:
                gone = self.models.pop(name)
                await asked.answer(control.Removed(name, gone.size))
            case _:
                raise Wrong(404, "not_found", "no such endpoint")

    def _change_all(self, **fields: Any) -> None:
        for name in self.models:
            self._change(name, **fields)

    def _change(self, name: str, **fields: Any) -> control.ModelEntry:
        if name not in self.models:
            raise Wrong(404, "model_not_found", f"there is no model {name}")
        self.models[name] = msgspec.structs.replace(self.models[name], **fields)
        return self.models[name]

    def transfer(self, kind: Any, ref: str, name: str, **facts: Any) -> control.Transfer:
        self._count += 1
        made = control.Transfer(f"t{self._count}", kind, ref, name, **{"state": "running", **facts})
        self.transfers[made.id] = made
        return made

    async def _transfers(self, asked: Asked) -> None:
        match asked.method, *asked.parts[1:]:
            case ("GET",):
                await asked.answer(control.TransferList(tuple(self.transfers.values())))
            case "DELETE", id:
                stopped = msgspec.structs.replace(self.transfers[id], state="stopped", rate=0.0)
                self.transfers[id] = stopped
                await asked.answer(stopped)

    # --- conversations ----------------------------------------------------------------------------

    async def _conversations(self, asked: Asked) -> None:
        match asked.method, *asked.parts[1:]:
            case ("GET",):
                bare = tuple(
                    msgspec.structs.replace(each, messages=())
                    for each in self.conversations.values()
                )
                await asked.answer(control.ConversationList(bare))
            case ("POST",):
                await asked.answer(self.conversation(""))
            case "GET", id:
                await asked.answer(self.conversations[id])
            case "DELETE", id:
                del self.conversations[id]
                await asked.answer(None)

    def conversation(
        self, title: str, texts: tuple[str, ...] = (), at: float | None = None
    ) -> control.Conversation:
        """A stored one: questions and answers in turn."""
        self._count += 1
        made = control.Conversation(
            f"c{self._count}", title, at or time.time(), at or time.time(), "device", "", None
        )
        self.conversations[made.id] = made
        for place, text in enumerate(texts):
            role = "user" if place % 2 == 0 else "assistant"
            self._append(made.id, role, text)
        return self.conversations[made.id]

    def _append(self, id: str, role: Any, text: str, **facts: Any) -> control.ChatMessage:
        found = self.conversations[id]
        self._count += 1
        message = control.ChatMessage(
            f"m{self._count}",
            found.head,
            role,
            text,
            time.time(),
            model="" if role == "user" else "starter",
            **facts,
        )
        self._store(id, message)
        return message

    def _store(self, id: str, message: control.ChatMessage) -> None:
        found = self.conversations[id]
        kept = tuple(each for each in found.messages if each.id != message.id)
        self.conversations[id] = msgspec.structs.replace(
            found, messages=(*kept, message), head=message.id, title=found.title or message.text
        )

    async def _say(self, asked: Asked) -> None:
        if self.problem is not None:
            problem, self.problem = self.problem, None
            raise problem
        what = asked.take(control.Say)
        self.said.append(what)
        id = asked.parts[1]
        question = self._append(id, "user", what.text)
        answer = self._append(id, "assistant", "", state="running")
        await asked.stream()
        await asked.event(control.Said(question, answer, notice=self.notice))
        text, whole = "", False
        try:
            async for token in self._released(asked):
                text += token
                await asked.event(control.AnswerText(token))
            whole = not asked.gone.is_set()
        finally:
            state: Any = "done" if whole else "unfinished"
            done = msgspec.structs.replace(answer, text=text, state=state, tokens=len(self.tokens))
            self._store(id, done)
        if not whole:
            self.closed_early += 1
        elif self.fails_with is not None:
            failed = msgspec.structs.replace(done, state="failed", error=self.fails_with.message)
            self._store(id, failed)
            await asked.event(control.AnswerFailed(failed, self.fails_with))
        else:
            await asked.event(control.AnswerDone(done, "stop"))

    async def _released(self, asked: Asked) -> AsyncIterator[str]:
        """The tokens, each when it is released; the end needs one release too."""
        for place, token in enumerate([*self.tokens, ""]):
            if place == self.cut_after:
                raise ConnectionResetError
            freed = asyncio.create_task(self.free.acquire())
            gone = asyncio.create_task(asked.gone.wait())
            try:
                await asyncio.wait([freed, gone], return_when=asyncio.FIRST_COMPLETED)
            finally:
                freed.cancel()
                gone.cancel()
            if asked.gone.is_set():
                return
            if token:
                yield token


async def _watch(reader: asyncio.StreamReader, gone: asyncio.Event) -> None:
    """Sees the client close its end."""
    with suppress(ConnectionError):
        await reader.read(1)
    gone.set()


@asynccontextmanager
async def a_fake_node(folder: Path) -> AsyncIterator[FakeNode]:
    """One that runs, with the starter model; its token lies in `folder/token`."""
    node = FakeNode()
    node.models["starter"] = model(
        "starter",
        default=True,
        starter=True,
        state="loaded",
        source="built in",
        storage="reference",
    )
    (folder / "token").write_text(node.token, encoding="ascii")
    await node.start()
    try:
        yield node
    finally:
        await node.stop()
