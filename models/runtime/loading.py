"""From a `Load` message to an engine. The only place that knows which backends there are."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from models.backends.base import Embedder, Info, LoadError, StepBackend
from models.runtime.engine import Engine
from protocols.worker import Load

MAX_CONTEXT = 1 << 20
MAX_SEQUENCES = 64
MAX_THREADS = 256
_TINY_BYTES = 50_000_000  # a model this small is slower with more than one thread


class LoadedEngine(NamedTuple):
    engine: Engine
    info: Info


def load_engine(load: Load) -> LoadedEngine:
    """Load the model. Raises LoadError."""
    _check(load)
    if load.backend == "onnx":
        from models.backends.onnx import OnnxEmbedder

        return _embedding(OnnxEmbedder(load, _threads(load)))
    if load.backend == "scripted":
        from models.backends.scripted import ScriptedBackend, ScriptedEmbedder

        return (
            _embedding(ScriptedEmbedder(load)) if load.embedding else _text(ScriptedBackend(load))
        )
    from models.backends.llama import LlamaBackend, LlamaEmbedder

    if load.embedding:
        return _embedding(LlamaEmbedder(load, _threads(load)))
    return _text(LlamaBackend(load, _threads(load)))


def _text(backend: StepBackend) -> LoadedEngine:
    from models.scheduler import Scheduler

    return LoadedEngine(Scheduler(backend), backend.info)


def _embedding(embedder: Embedder) -> LoadedEngine:
    from models.runtime.embedding import EmbedQueue

    return LoadedEngine(EmbedQueue(embedder), embedder.info)


def _check(load: Load) -> None:
    if not 0 <= load.context <= MAX_CONTEXT:
        raise LoadError(f"a context of {load.context} tokens is not between 0 and {MAX_CONTEXT}")
    if not 1 <= load.sequences <= MAX_SEQUENCES:
        raise LoadError(f"{load.sequences} sequences are not between 1 and {MAX_SEQUENCES}")
    if not 0 <= load.threads <= MAX_THREADS:
        raise LoadError(f"{load.threads} threads are not between 0 and {MAX_THREADS}")
    if not Path(load.path).exists():
        raise LoadError(f"there is no file {load.path}")


def _threads(load: Load) -> int:
    if load.threads:
        return load.threads
    path = Path(load.path)
    if path.is_file() and path.stat().st_size < _TINY_BYTES:
        return 1
    from models.hardware import read_hardware

    hardware = read_hardware()
    quota = int(hardware.cpu_quota) if hardware.cpu_quota else hardware.physical_cores
    return max(1, min(hardware.physical_cores, quota, MAX_THREADS))
