"""What the node and a worker process say to each other over their socketpair.

Frames of `protocols.frames`, each one msgpack message. The node sends `Load` once, then `Run`
and `Cancel`; the worker answers `Loaded` or `LoadFailed`, then `Report`s and `Beat`s.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from protocols.jobs import Event, Work

WORKER_FRAME_BYTES = 64 * 1024 * 1024  # one frame: a long prompt, or a batch of embeddings


class Load(msgspec.Struct, frozen=True, tag="load"):
    """Load one model. The path was checked by the strict reader before."""

    backend: Literal["llama", "onnx", "scripted"]
    path: str
    context: int  # tokens per sequence; 0: the model's own, bounded by the worker's default
    sequences: int = 1
    threads: int = 0  # 0: chosen by the worker
    gpu_layers: int = -1  # -1: all that a GPU build can take; ignored without one
    embedding: bool = False


class Run(msgspec.Struct, frozen=True, tag="run"):
    job: str
    work: Work
    scope: str = ""  # prompts share cached state only within one scope


class Cancel(msgspec.Struct, frozen=True, tag="cancel"):
    job: str


class Stop(msgspec.Struct, frozen=True, tag="stop"):
    """Finish nothing more; leave. The socket's end means the same."""


class Loaded(msgspec.Struct, frozen=True, tag="loaded"):
    build: str  # e.g. "llama.cpp <commit> AVX512"; names the code that computes
    context: int
    sequences: int
    memory_bytes: int
    seconds: float


class LoadFailed(msgspec.Struct, frozen=True, tag="load_failed"):
    message: str
    out_of_memory: bool = False


class Report(msgspec.Struct, frozen=True, tag="report"):
    """One event of one job."""

    job: str
    event: Event


class Beat(msgspec.Struct, frozen=True, tag="beat"):
    """'I am about to do a step that should take `predicted_s`.' Sent before native calls, at most
    a few times a second; a worker that owes a step for longer than max(5 s, 10 x predicted) hangs."""

    predicted_s: float
    running: int
    waiting: int


ToWorker = Load | Run | Cancel | Stop
FromWorker = Loaded | LoadFailed | Report | Beat

_encoder = msgspec.msgpack.Encoder()
_to_worker: msgspec.msgpack.Decoder[ToWorker] = msgspec.msgpack.Decoder(ToWorker)
_from_worker: msgspec.msgpack.Decoder[FromWorker] = msgspec.msgpack.Decoder(FromWorker)


def encode(message: ToWorker | FromWorker) -> bytes:
    return _encoder.encode(message)


def decode_to_worker(data: bytes) -> ToWorker:
    """Raises msgspec.MsgspecError when the bytes are no such message."""
    return _to_worker.decode(data)


def decode_from_worker(data: bytes) -> FromWorker:
    """Raises msgspec.MsgspecError when the bytes are no such message."""
    return _from_worker.decode(data)
