"""OpenAI's endpoints under `/v1`: each job gets an id, runs while the client listens, and is told of."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256

import msgspec
import trio

from node.api import answers, asked
from node.api.answers import Collected, Heading
from node.api.call import Call, EventStream, Reply
from node.api.parts import Model
from node.api.problems import ApiError, bad_request, from_failure
from protocols.errors import Malformed
from protocols.http import openai, sse
from protocols.ids import new_id
from protocols.jobs import Ended, Event, Failed, Job, Piece, Vectors, Work
from protocols.labels import Label

JOB_HEADER = "x-kith-job"
LABEL_HEADER = "x-kith-label"
QUIET_S = 15.0  # a stream that has nothing to say shows that it lives


class Running:
    """A job that was admitted and whose first event said so."""

    def __init__(
        self, heading: Heading, job: str, first: Event, rest: trio.abc.ReceiveChannel[Event]
    ) -> None:
        self.heading = heading
        self.headers = {JOB_HEADER: job}
        self._first: Event | None = first
        self._rest = rest

    async def next(self) -> Event:
        """The next event, up to `Ended`. Raises `ApiError` for a job that fails or was stopped."""
        event, self._first = self._first, None
        if event is None:
            event = await _receive(self._rest)
        if isinstance(event, Failed):
            raise _with_headers(from_failure(event), self.headers)
        if isinstance(event, Ended) and event.finish == "cancelled":
            raise ApiError(503, "cancelled", "the answer was stopped before it was whole")
        return event

    async def next_for(self, out: EventStream) -> Event:
        """The same, writing a comment into the stream whenever nothing comes for a while."""
        while True:
            with trio.move_on_after(QUIET_S) as quiet:
                event = await self.next()
            if not quiet.cancelled_caught:
                return event
            await out.write(sse.COMMENT)


async def list_cards(call: Call) -> openai.ModelCards:
    models = await call.parts.library.list()
    return openai.ModelCards(tuple(_card(model) for model in models if not model.missing))


async def show_card(call: Call) -> openai.ModelCard:
    return _card(await call.parts.library.find(call.path("model")))


async def chat(call: Call) -> Reply | None:
    request = call.take(openai.ChatRequest)
    work = asked.chat(request)
    logprobs = work.sampling.logprobs is not None
    async with _run(call, work, request.model, "chatcmpl-", whole=not request.stream) as run:
        if request.stream:
            out = call.open_stream(run.headers)
            await _stream_chat(run, out, logprobs=logprobs, usage=_wants_usage(request))
            return None
        collected, ended = await _collect(run)
        return _whole(answers.chat_answer(run.heading, collected, ended, logprobs=logprobs), run)


async def _stream_chat(run: Running, out: EventStream, *, logprobs: bool, usage: bool) -> None:
    await out.event(answers.chat_role(run.heading))
    while True:
        event = await run.next_for(out)
        if isinstance(event, Piece):
            await out.event(answers.chat_piece(run.heading, event, logprobs=logprobs))
        elif isinstance(event, Ended):
            await out.event(answers.chat_end(run.heading, event))
            if usage:
                await out.event(answers.chat_usage(run.heading, event))
            await out.write(sse.DONE)
            return


async def complete(call: Call) -> Reply | None:
    request = call.take(openai.CompletionRequest)
    work = asked.completion(request)
    logprobs = work.sampling.logprobs is not None
    async with _run(call, work, request.model, "cmpl-", whole=not request.stream) as run:
        if request.stream:
            out = call.open_stream(run.headers)
            await _stream_text(run, out, logprobs=logprobs, usage=_wants_usage(request))
            return None
        collected, ended = await _collect(run)
        found = answers.TextOffsets().logprobs(collected.logprobs) if logprobs else None
        answer = answers.text_answer(
            run.heading,
            "".join(collected.text),
            finish=ended.finish,
            logprobs=found,
            usage=answers.usage_of(ended.usage),
        )
        return _whole(answer, run)


async def _stream_text(run: Running, out: EventStream, *, logprobs: bool, usage: bool) -> None:
    offsets = answers.TextOffsets()
    while True:
        event = await run.next_for(out)
        if isinstance(event, Piece):
            found = offsets.logprobs(event.logprobs) if logprobs else None
            await out.event(answers.text_answer(run.heading, event.text, logprobs=found))
        elif isinstance(event, Ended):
            await out.event(answers.text_answer(run.heading, "", finish=event.finish))
            if usage:
                await out.event(answers.text_usage(run.heading, event))
            await out.write(sse.DONE)
            return


async def embed(call: Call) -> Reply | None:
    request = call.take(openai.EmbeddingRequest)
    work = asked.embedding(request)
    async with _run(call, work, request.model, "embd-", action="embed") as run:
        found: list[tuple[float, ...]] = []
        while not isinstance(event := await run.next(), Ended):
            if isinstance(event, Vectors):
                found += event.vectors
        answer = answers.embedding_answer(
            run.heading.model,
            Vectors(tuple(found)),
            event,
            as_base64=request.encoding_format == "base64",
        )
        return _whole(answer, run)


@asynccontextmanager
async def _run(
    call: Call,
    work: Work,
    model_name: str,
    prefix: str,
    *,
    action: str = "chat",
    whole: bool = False,
) -> AsyncIterator[Running]:
    """Admit the job and wait for its first event. `whole`: see `Serving.submit`. Raises `ApiError`. Leaving it cancels the job."""
    label = _label(call)
    call.allow(action, label, "this request")
    model = await _find(call, model_name)
    job = Job(new_id("job", secrets.token_bytes(16)), work, model.name, label, call.caller.id)
    async with call.parts.serving.submit(job, call.caller, whole=whole) as events:
        first = await _receive(events)
        if isinstance(first, Failed):
            raise _with_headers(from_failure(first), {JOB_HEADER: job.id})
        heading = Heading(
            id=prefix + job.id.removeprefix("job_"),
            created=int(call.parts.clock()),
            model=model.name,
            fingerprint=_fingerprint(call, model),
        )
        yield Running(heading, job.id, first, events)


async def _find(call: Call, name: str) -> Model:
    if name in ("", "default"):
        name = call.parts.library.default()
    return await call.parts.library.find(name)


def _label(call: Call) -> str:
    """The caller's own, or the one that the request names; the decision point checks it."""
    named = call.header(LABEL_HEADER)
    try:
        return str(Label.parse(named)) if named else call.caller.label
    except Malformed as error:
        raise bad_request(f"{LABEL_HEADER}: {error}", param=LABEL_HEADER) from error


async def _receive(events: trio.abc.ReceiveChannel[Event]) -> Event:
    try:
        return await events.receive()
    except trio.EndOfChannel:
        raise _no_end() from None


async def _collect(run: Running) -> tuple[Collected, Ended]:
    collected = Collected()
    while not isinstance(event := await run.next(), Ended):
        if isinstance(event, Piece):
            collected.add(event)
    return collected, event


def _no_end() -> ApiError:
    return ApiError(500, "internal", "the job ended without saying how; `node logs` may say more")


def _with_headers(error: ApiError, headers: dict[str, str]) -> ApiError:
    error.headers.update(headers)
    return error


def _whole(answer: msgspec.Struct, run: Running) -> Reply:
    return Reply(msgspec.json.encode(answer), headers=run.headers)


def _wants_usage(request: openai.ChatRequest | openai.CompletionRequest) -> bool:
    return bool(request.stream_options and request.stream_options.include_usage)


def _fingerprint(call: Call, model: Model) -> str:
    """The same for the same program, the same code that computes, and the same bytes of a model."""
    what = f"{call.parts.version}\n{call.parts.serving.build_of(model.cid)}\n{model.cid}"
    return "fp_" + sha256(what.encode()).hexdigest()[:12]


def _card(model: Model) -> openai.ModelCard:
    return openai.ModelCard(model.name, int(model.added_at), "kith" if model.starter else "local")
