"""The control API about models: the library, loading, transfers."""

from __future__ import annotations

from typing import Literal

import trio

from models.fit import estimate, fits
from models.hardware import Hardware
from node.api.call import Call
from node.api.parts import Model, Parts
from protocols.http import control


async def list_models(call: Call) -> control.ModelList:
    machine = await trio.to_thread.run_sync(call.parts.hardware)
    models = await call.parts.library.list()
    return control.ModelList(tuple(_entry(call.parts, each, machine) for each in models))


async def show_model(call: Call) -> control.ModelEntry:
    return await _show(call, _named(call))


async def remove_model(call: Call) -> control.Removed:
    """A model that answers something now is not removed."""
    model = await call.parts.library.find(_named(call))
    await call.parts.serving.unload(model.name)
    return control.Removed(model.name, await call.parts.library.remove(model.name))


async def load_model(call: Call) -> control.ModelEntry:
    model = await call.parts.library.find(_named(call))
    await call.parts.serving.load(model.name)
    return await _show(call, model.name)


async def unload_model(call: Call) -> control.ModelEntry:
    model = await call.parts.library.find(_named(call))
    await call.parts.serving.unload(model.name)
    return await _show(call, model.name)


def _named(call: Call) -> str:
    """The model in the path; "default" is whichever is the default now."""
    name = call.path("name")
    return call.parts.library.default() if name == "default" else name


async def set_default(call: Call) -> control.ModelEntry:
    name = call.take(control.SetDefault).name
    await call.parts.library.set_default(name)
    return await _show(call, name)


async def add_model(call: Call) -> control.Transfer:
    what = call.take(control.AddModel)
    call.allow("models.write", what.label, "the model")
    return await call.parts.transfers.start_add(what, call.caller)


async def pull_model(call: Call) -> control.Transfer:
    what = call.take(control.PullModel)
    call.allow("models.write", what.label, "the model")
    return await call.parts.transfers.start_pull(what, call.caller)


async def adopt_models(call: Call) -> control.Adopted:
    return await call.parts.transfers.adopt(call.take(control.AdoptModels), call.caller)


async def list_transfers(call: Call) -> control.TransferList:
    return control.TransferList(tuple(await call.parts.transfers.list()))


async def show_transfer(call: Call) -> control.Transfer:
    return await call.parts.transfers.get(call.path("id"))


async def stop_transfer(call: Call) -> control.Transfer:
    return await call.parts.transfers.stop(call.path("id"))


async def forget_transfer(call: Call) -> control.Transfer:
    return await call.parts.transfers.forget(call.path("id"))


async def watch_transfer(call: Call) -> None:
    """Its state now, then each change. Closing it does not stop the transfer."""
    async with call.parts.transfers.watch(call.path("id")) as changes:
        out = call.open_stream()
        async for change in changes:
            await out.event(change)


async def _show(call: Call, name: str) -> control.ModelEntry:
    model = await call.parts.library.find(name)
    machine = await trio.to_thread.run_sync(call.parts.hardware)
    return _entry(call.parts, model, machine)


def _entry(parts: Parts, model: Model, machine: Hardware) -> control.ModelEntry:
    facts = model.facts
    state = "missing" if model.missing else parts.serving.state(model.cid)
    needed, fit, reason = _fit(parts, model, machine, loaded=state == "loaded")
    return control.ModelEntry(
        name=model.name,
        cid=model.cid,
        kind=facts.kind,
        size=model.size,
        state=state,
        default=parts.library.default() == model.name,
        starter=model.starter,
        embedding=facts.embedding,
        label=model.label,
        source=model.source,
        storage=model.storage,
        path=str(model.path),
        architecture=facts.architecture or "",
        quantisation=facts.quantisation or "",
        parameters=facts.parameters,
        context_length=facts.context_length,
        licence=facts.licence or "",
        chat_template=facts.chat_template,
        added_at=model.added_at,
        fits=fit,
        fit_reason=reason,
        memory_needed=needed,
        files=tuple(str(each) for each in model.files),
    )


def _fit(
    parts: Parts, model: Model, machine: Hardware, *, loaded: bool
) -> tuple[int, Literal["yes", "tight", "no"], str]:
    """How much memory it takes as it would be served here, and whether that is there."""
    wishes, facts = parts.settings.serving, model.facts
    context = min(facts.context_length or wishes.context, wishes.context)
    sequences = 1 if facts.embedding else wishes.parallel
    need = estimate(facts, context=max(1, context), sequences=sequences)
    if loaded:
        return need.total, "yes", "It is loaded."
    answer, reason = fits(need, machine)
    return need.total, answer, reason
