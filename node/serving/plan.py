"""How a model of the library is to be loaded, and about how much memory that takes. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from models.facts import ModelFacts
from models.fit import estimate
from node.config import ServingSettings
from protocols.worker import Load


class Model(Protocol):
    """What serving needs to know of a model; `node.content` has them."""

    @property
    def name(self) -> str: ...
    @property
    def cid(self) -> str: ...
    @property
    def path(self) -> Path: ...
    @property
    def facts(self) -> ModelFacts: ...
    @property
    def size(self) -> int: ...


class Models(Protocol):
    """Where models are found; `node.content.Library` is one."""

    async def find(self, name_or_cid: str) -> Model: ...
    async def check(self, model: Model, /) -> None: ...


@dataclass(frozen=True)
class Plan:
    """One model as it is served."""

    name: str
    cid: str
    load: Load
    bytes: int  # an estimate; what the worker says counts once it is loaded

    @property
    def embedding(self) -> bool:
        return self.load.embedding


Planner = Callable[[Model, ServingSettings], Plan]


def plan(model: Model, settings: ServingSettings) -> Plan:
    """The settings' wishes within the model's own limits."""
    facts = model.facts
    embedding = facts.embedding
    context = min(facts.context_length or settings.context, settings.context)
    sequences = 1 if embedding else settings.parallel
    load = Load(
        backend=_backend(facts.kind),
        path=str(model.path),
        context=context,
        sequences=sequences,
        threads=settings.threads,
        gpu_layers=settings.gpu_layers,
        embedding=embedding,
    )
    need = estimate(facts, context=max(1, context), sequences=sequences)
    # The facts are those of the first file; the model may have several.
    return Plan(model.name, model.cid, load, need.total - need.weights + model.size)


def _backend(kind: Literal["gguf", "onnx"]) -> Literal["llama", "onnx"]:
    return "llama" if kind == "gguf" else "onnx"
