"""Models, and the transfers that bring them."""

from __future__ import annotations

from typing import Literal

import msgspec

ModelState = Literal["unloaded", "loading", "loaded", "missing"]


class ModelEntry(msgspec.Struct, frozen=True):
    """One model in the library. GET /node/v1/models, /node/v1/models/{name}"""

    name: str
    cid: str
    kind: Literal["gguf", "onnx"]
    size: int
    state: ModelState
    default: bool
    starter: bool
    embedding: bool
    label: str
    source: str  # where it came from: "built in", a path, an URL
    storage: Literal["own", "linked", "reference"]  # our file, a hard link, or somebody else's file
    path: str
    architecture: str = ""
    quantisation: str = ""
    parameters: int | None = None
    context_length: int | None = None
    licence: str = ""
    chat_template: bool = False
    added_at: float = 0.0
    fits: Literal["yes", "tight", "no"] = "yes"
    fit_reason: str = ""
    memory_needed: int = 0
    files: tuple[str, ...] = ()


class ModelList(msgspec.Struct, frozen=True):
    models: tuple[ModelEntry, ...]


class AddModel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """POST /node/v1/models/add: a file or folder on this machine; 202 with a Transfer."""

    path: str
    name: str | None = None
    copy: bool = False  # keep a copy of our own instead of a link or reference
    label: str = "device"


class PullModel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """POST /node/v1/models/pull: 202 with a Transfer."""

    ref: str  # an URL, hf:owner/repo/file.gguf, or owner/repo/file.gguf
    name: str | None = None
    sha256: str | None = None  # hex; refused when the bytes differ
    label: str = "device"


class AdoptModels(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """POST /node/v1/models/adopt: look where other programs keep models; answers Adopted at once.

    Each model that is new here is hashed by a transfer of its own."""

    source: Literal["all", "ollama", "huggingface", "lmstudio"] = "all"
    folder: str | None = None  # instead of the program's usual folder
    dry_run: bool = False


class AdoptedModel(msgspec.Struct, frozen=True):
    name: str
    path: str
    source: str
    size: int
    state: Literal["found", "adding", "known", "refused"]  # found: by a dry run
    reason: str = ""
    transfer: str = ""  # the id of the one that adds it


class Adopted(msgspec.Struct, frozen=True):
    models: tuple[AdoptedModel, ...]


class SetDefault(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """PUT /node/v1/models/default"""

    name: str


class Transfer(msgspec.Struct, frozen=True):
    """Long work on a model: a pull or an add. GET /node/v1/transfers, /node/v1/transfers/{id};
    GET /node/v1/transfers/{id}/events streams them; DELETE stops one (a pull can go on later);
    POST /node/v1/transfers/{id}/forget stops it, deletes what it has fetched, and lists it no more."""

    id: str
    kind: Literal["add", "pull"]
    ref: str
    name: str
    state: Literal["waiting", "running", "checking", "done", "failed", "stopped"]
    done: int = 0
    total: int | None = None
    rate: float = 0.0  # bytes a second, over the last seconds; 0 when it stalls
    eta_s: float | None = None
    message: str = ""  # what it is doing, or why it failed
    model: str = ""  # the name of the finished model
    started_at: float = 0.0


class TransferList(msgspec.Struct, frozen=True):
    transfers: tuple[Transfer, ...]


class Removed(msgspec.Struct, frozen=True):
    """DELETE /node/v1/models/{name}: 0 bytes when the file belongs to somebody else."""

    name: str
    freed: int
