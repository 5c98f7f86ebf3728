"""A node's API on a real socket, with a real store, keys and conversations, and small fakes for
models, transfers and jobs: tests say what a job does, event by event, and hold it with gates."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import httpx
import msgspec
import trio

from models.facts import ModelFacts
from models.hardware import Hardware
from node import content, events, feeds, memory, owner
from node.api import Bound, Parts, build_app, serve
from node.config import ApiSettings, ServingSettings, Settings
from node.content import UnknownModel, UnknownTransfer
from node.events import EventLog
from node.feeds import Feeds
from node.home import Home
from node.memory import open_conversations
from node.owner import Caller, open_grants, open_identity
from node.serving import JobFailed, ModelBusy
from node.store import Database, open_store
from protocols.http import control
from protocols.http.requests import Request, StreamRequest
from protocols.jobs import (
    Embed,
    Ended,
    Event,
    Failed,
    Job,
    Message,
    Piece,
    Started,
    Usage,
    Vectors,
)
from protocols.limits import GIB

MIGRATIONS = (
    *events.MIGRATIONS,
    *feeds.MIGRATIONS,
    *owner.MIGRATIONS,
    *content.MIGRATIONS,
    *memory.MIGRATIONS,
)
LIMIT_S = 20.0  # for anything that a test waits for


@dataclass(frozen=True)
class FakeModel:
    name: str
    embedding: bool = False
    missing: bool = False
    label: str = "device"
    storage: Literal["own", "linked", "reference"] = "own"
    source: str = "test"
    added_at: float = 1.0

    @property
    def cid(self) -> str:
        return "bafk" + hashlib.sha256(self.name.encode()).hexdigest()

    @property
    def starter(self) -> bool:
        return self.name == "starter"

    @property
    def facts(self) -> ModelFacts:
        return ModelFacts(
            kind="gguf", size_bytes=1000, context_length=512, embedding=self.embedding
        )

    @property
    def path(self) -> Path:
        return Path("/models") / self.name

    @property
    def files(self) -> Sequence[Path]:
        return (self.path,)

    @property
    def size(self) -> int:
        return 1000


class FakeLibrary:
    def __init__(self) -> None:
        self.models = [FakeModel("starter"), FakeModel("vectors", embedding=True)]
        self._default = "starter"

    async def list(self) -> list[FakeModel]:
        return list(self.models)

    async def find(self, name_or_cid: str) -> FakeModel:
        for model in self.models:
            if name_or_cid in (model.name, model.cid):
                return model
        raise UnknownModel(name_or_cid, ["starter"])

    async def remove(self, name: str) -> int:
        self.models.remove(await self.find(name))
        return 1000

    async def set_default(self, name: str) -> None:
        self._default = (await self.find(name)).name

    def default(self) -> str:
        return self._default


@dataclass
class Numbers:
    running: int = 0
    waiting: int = 0
    memory_used: int = 0
    memory_budget: int = GIB
    outcomes: dict[str, int] = field(default_factory=lambda: {"ended.stop": 2})
    prompt_tokens: int = 7
    completion_tokens: int = 5
    cached_tokens: int = 0
    retries: int = 0
    loads: int = 1
    worker_deaths: int = 0
    worker_hangs: int = 0


class Script:
    """What one job says."""

    def __init__(self, job: Job, send: trio.MemorySendChannel[Event]) -> None:
        self.job = job
        self._send = send

    async def say(self, *events: Event) -> None:
        for event in events:
            await self._send.send(event)


Play = Callable[[Script], Awaitable[None]]


async def hello(script: Script) -> None:
    """The usual answer."""
    work = script.job.work
    if isinstance(work, Embed):
        vectors = tuple((float(len(text)), 0.5, -1.0) for text in work.inputs)
        await script.say(Started(4), Vectors(vectors), Ended("stop", Usage(4, 0)))
    else:
        await script.say(Started(3, seed=7), Piece("Hello", (1,)), Piece(" world", (2,)))
        await script.say(Ended("stop", Usage(3, 2, 1)))


class FakeServing:
    """Runs each job as `play` says; a job that is left is cancelled, as in the real room."""

    def __init__(self) -> None:
        self.play: Play = hello
        self.jobs: list[Job] = []
        self.left: dict[str, trio.Event] = {}
        self.context: int | None = 512
        self.numbers = Numbers()
        self.loaded_names: list[str] = []
        self.busy = False
        self.build = "scripted 1"
        self.stopped = trio.Event()  # somebody asked the node to stop
        self.fail_count: Failed | None = None

    @asynccontextmanager
    async def submit(
        self, job: Job, caller: Caller, *, whole: bool = False
    ) -> AsyncIterator[trio.MemoryReceiveChannel[Event]]:
        self.jobs.append(job)
        self.left[job.id] = trio.Event()
        send, receive = trio.open_memory_channel[Event](100)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._play, job, send)
            try:
                yield receive
            finally:
                self.left[job.id].set()
                nursery.cancel_scope.cancel()

    async def _play(self, job: Job, send: trio.MemorySendChannel[Event]) -> None:
        async with send:
            await self.play(Script(job, send))

    async def count(self, model: str, messages: Sequence[Message]) -> int:
        if self.fail_count is not None:
            raise JobFailed(self.fail_count.code, self.fail_count.message)
        return sum(len(message.content.split()) + 1 for message in messages)

    def context_of(self, name: str) -> int | None:
        return self.context

    def build_of(self, name: str) -> str:
        return self.build

    async def load(self, name: str) -> None:
        self.loaded_names.append(name)

    async def unload(self, name: str) -> bool:
        if self.busy:
            raise ModelBusy(f"{name} is answering")
        if name in self.loaded_names:
            self.loaded_names.remove(name)
            return True
        return False

    def state(self, name: str) -> control.ModelState:
        cids = [FakeModel(each).cid for each in self.loaded_names]
        return "loaded" if name in self.loaded_names or name in cids else "unloaded"

    def loaded(self) -> list[str]:
        return list(self.loaded_names)

    def statistics(self) -> Numbers:
        return self.numbers


class FakeTransfers:
    def __init__(self) -> None:
        self.all: dict[str, control.Transfer] = {}

    async def start_pull(self, what: control.PullModel, caller: Caller) -> control.Transfer:
        return self._new("pull", what.ref)

    async def start_add(self, what: control.AddModel, caller: Caller) -> control.Transfer:
        return self._new("add", what.path)

    async def adopt(self, what: control.AdoptModels, caller: Caller) -> control.Adopted:
        return control.Adopted((control.AdoptedModel("m", "/p", what.source, 1, "found"),))

    async def forget(self, id: str) -> control.Transfer:
        await self.get(id)
        return self.all.pop(id)

    def _new(self, kind: Literal["pull", "add"], ref: str) -> control.Transfer:
        id = f"t{len(self.all) + 1}"
        self.all[id] = control.Transfer(id, kind, ref, "m", "running")
        return self.all[id]

    async def list(self) -> list[control.Transfer]:
        return list(self.all.values())

    async def get(self, id: str) -> control.Transfer:
        if id not in self.all:
            raise UnknownTransfer(f"there is no transfer {id}")
        return self.all[id]

    async def stop(self, id: str) -> control.Transfer:
        self.all[id] = msgspec.structs.replace(await self.get(id), state="stopped")
        return self.all[id]

    @asynccontextmanager
    async def watch(self, id: str) -> AsyncIterator[trio.MemoryReceiveChannel[control.Transfer]]:
        now = await self.get(id)
        send, receive = trio.open_memory_channel[control.Transfer](2)
        await send.send(now)
        await send.send(msgspec.structs.replace(now, state="done", done=10))
        await send.aclose()
        yield receive


def machine() -> Hardware:
    return Hardware(
        cpu_name="test",
        cpu_flags=(),
        physical_cores=1,
        logical_cores=1,
        cpu_quota=None,
        memory_total=8 * GIB,
        memory_available=8 * GIB,
        on_battery=None,
        gpus=(),
    )


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait, bounded, for something that nobody tells about."""
    with trio.fail_after(LIMIT_S):
        while not await condition():  # noqa: ASYNC110 - nobody tells
            await trio.sleep(0.005)


class Api:
    """The running API, and everything behind it."""

    def __init__(self, parts: Parts, bound: Bound, serving: FakeServing, database: Database):
        self.parts = parts
        self.bound = bound
        self.serving = serving
        self.database = database
        self.url = bound.addresses[0]
        self.token = parts.home.token_file.read_text().strip()
        self.http = httpx.AsyncClient(base_url=self.url, timeout=LIMIT_S, trust_env=False)

    @property
    def auth(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.token}"}

    async def call(self, request: Request[Any], token: str | None = None) -> Any:
        """Send a request of protocols.http.requests; its answer, or its ApiProblem."""
        answer = await self.http.request(
            request.method,
            request.path,
            content=request.body,
            headers=request.headers(self.token if token is None else token),
        )
        return request.read(answer.status_code, answer.content)

    async def stream(
        self,
        request: StreamRequest[Any],
        token: str | None = None,
        *,
        seen: Callable[[list[Any]], None] = lambda found: None,
    ) -> list[Any]:
        """All events of a stream; `seen` is told of what came so far."""
        headers = request.headers(self.token if token is None else token)
        found: list[Any] = []
        async with self.http.stream(
            request.method, request.path, content=request.body, headers=headers
        ) as answer:
            if answer.status_code != 200:
                raise request.problem(answer.status_code, await answer.aread())
            reader = request.events()
            async for chunk in answer.aiter_raw():
                found += reader.feed(chunk)
                seen(found)
        return found

    async def post(self, path: str, body: Any, **headers: str) -> httpx.Response:
        """A POST with the owner's token; a body of bytes goes as it is."""
        data = body if isinstance(body, bytes) else msgspec.json.encode(body)
        kind = {"content-type": "application/json"}
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.http.post(path, content=data, headers={**self.auth, **kind, **names})

    async def get(self, path: str, **headers: str) -> httpx.Response:
        return await self.http.get(path, headers={**self.auth, **headers})


@asynccontextmanager
async def an_api(root: Path, *, default_model: str = "starter", **api: Any) -> AsyncIterator[Api]:
    """Serve a fresh home on a free port until the block is left."""
    home = Home(root)
    home.prepare()
    settings = Settings(
        api=ApiSettings(**{"port": 0, **api}),
        serving=ServingSettings(default_model=default_model),
    )
    with open_store(home, MIGRATIONS, content.INDEX_MIGRATIONS) as store:
        async with trio.open_nursery() as nursery:
            parts, serving = await _parts(home, settings, store.state)
            bound = await nursery.start(partial(serve, build_app(parts), settings.api, home))
            found = Api(parts, bound, serving, store.state)
            try:
                async with found.http:
                    yield found
            finally:
                nursery.cancel_scope.cancel()


async def _parts(home: Home, settings: Settings, database: Database) -> tuple[Parts, FakeServing]:
    log = EventLog(database)
    clock = partial(float, 1_800_000_000.0)
    identity = await open_identity(home, database, log, Feeds(database, now=clock), now=clock)
    grants = await open_grants(database, log, token=identity.token, now=clock)
    library, serving = FakeLibrary(), FakeServing()
    conversations = await open_conversations(
        database, log, serving, default_model=library.default, now=trio.current_time
    )

    parts = Parts(
        settings=settings,
        home=home,
        version="0.0-test",
        identity=identity,
        grants=grants,
        library=library,
        transfers=FakeTransfers(),
        serving=serving,
        conversations=conversations,
        events=log,
        hardware=machine,
        clock=clock,
        stop=serving.stopped.set,
        findings=lambda: [control.Finding("python", "ok", "fine")],
    )
    return parts, serving
