"""The control API under `/node/v1`: what its answers and bodies hold. JSON on the wire.

Server (node.api), command line and terminal interface share these; the OpenAPI document is
generated from them. Sizes are bytes, times are seconds since 1970 unless a name says otherwise.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from protocols.jobs import Role


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """What went wrong: in a word, in a sentence, and what to do about it."""

    code: str
    message: str
    hint: str = ""


class ProblemAnswer(msgspec.Struct, frozen=True):
    """Every answer with a status of 400 or more, in OpenAI's shape too (`error.message`)."""

    error: Problem


# --- the node -------------------------------------------------------------------------------------


class Memory(msgspec.Struct, frozen=True):
    total: int
    available: int
    models_budget: int
    models_used: int


class Status(msgspec.Struct, frozen=True):
    """GET /node/v1/status"""

    version: str
    pid: int
    home: str
    addresses: tuple[str, ...]  # base URLs and "unix:PATH"
    token_file: str
    owner: str  # owner id
    device: str  # device id
    device_name: str
    backed_up: bool  # whether the owner key's words were ever shown
    offline: bool
    network: str  # in words: what, if anything, leaves this machine
    default_model: str
    loaded: tuple[str, ...]
    jobs_running: int
    jobs_waiting: int
    uptime_s: float
    memory: Memory
    warnings: tuple[str, ...] = ()


class Finding(msgspec.Struct, frozen=True):
    """One thing that `node doctor` looked at."""

    check: str
    state: Literal["ok", "warning", "problem"]
    message: str
    fix: str = ""


class Doctor(msgspec.Struct, frozen=True):
    """GET /node/v1/doctor"""

    findings: tuple[Finding, ...]


class Setting(msgspec.Struct, frozen=True):
    name: str
    value: Any
    default: Any
    help: str = ""


class Config(msgspec.Struct, frozen=True):
    """GET /node/v1/config"""

    file: str
    settings: tuple[Setting, ...]


class ChangeSetting(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """PATCH /node/v1/config: write one setting into the settings file. Only with the owner's own token."""

    name: str
    value: str  # as TOML, or plain text


class ChangedSetting(msgspec.Struct, frozen=True):
    """What was written; it takes effect at the next start."""

    name: str
    value: str
    file: str


class EventEntry(msgspec.Struct, frozen=True):
    seq: int
    at: float
    kind: str
    subject: str
    facts: dict[str, Any]


class EventList(msgspec.Struct, frozen=True):
    """GET /node/v1/events?after=N&limit=N&kind=PREFIX&subject=ID"""

    events: tuple[EventEntry, ...]
    broken_at: int | None = None  # with ?verify=1: the first event that does not fit its chain


# --- models ---------------------------------------------------------------------------------------

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


# --- conversations --------------------------------------------------------------------------------


class ChatMessage(msgspec.Struct, frozen=True):
    id: str
    parent: str | None
    role: Role
    text: str
    at: float
    state: Literal["done", "running", "unfinished", "failed"] = "done"
    model: str = ""
    job: str = ""
    error: str = ""
    tokens: int = 0
    tokens_per_s: float = 0.0
    first_token_s: float = 0.0


class Conversation(msgspec.Struct, frozen=True):
    """GET /node/v1/conversations (without messages), /node/v1/conversations/{id} (with them)."""

    id: str
    title: str
    created_at: float
    updated_at: float
    label: str
    model: str
    head: str | None  # the message at the end of the branch that is shown
    message_count: int = 0
    messages: tuple[ChatMessage, ...] = ()  # the whole tree, oldest first


class ConversationList(msgspec.Struct, frozen=True):
    conversations: tuple[Conversation, ...]


class NewConversation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """POST /node/v1/conversations"""

    title: str = ""
    model: str = ""  # empty: the default model at each turn
    label: str = ""  # empty: the caller's default label
    system: str = ""


class ChangeConversation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """PATCH /node/v1/conversations/{id}"""

    title: str | None = None
    model: str | None = None
    head: str | None = None


class Say(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """POST /node/v1/conversations/{id}/messages: store what the person typed, then answer it.

    Answers an event stream of `Said`, `Answer*`; closing it stops the answer, what came so far is kept.
    """

    text: str
    parent: str | None = None  # default: the conversation's head
    model: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    seed: int | None = None


class Said(msgspec.Struct, frozen=True, tag="said"):
    """What the person typed is stored; the answer will be this message."""

    question: ChatMessage
    answer: ChatMessage
    dropped: int = 0  # messages at the start of the chat that no longer fit the context
    notice: str = ""  # says so in words


class AnswerText(msgspec.Struct, frozen=True, tag="text"):
    text: str


class AnswerDone(msgspec.Struct, frozen=True, tag="done"):
    message: ChatMessage
    finish: str


class AnswerFailed(msgspec.Struct, frozen=True, tag="failed"):
    message: ChatMessage
    error: Problem


AnswerEvent = Said | AnswerText | AnswerDone | AnswerFailed


# --- who may do what ------------------------------------------------------------------------------


class Identity(msgspec.Struct, frozen=True):
    """GET /node/v1/identity"""

    owner: str
    device: str
    device_name: str
    created_at: float
    rotations: int
    backed_up: bool
    key_on_device: bool  # False after `node identity backup --forget`
    passphrase: bool
    devices: tuple[DeviceEntry, ...]
    pending: str = ""  # why this device is not certified yet, and what to do


class DeviceEntry(msgspec.Struct, frozen=True):
    id: str
    name: str
    state: Literal["certified", "revoked", "pending"]
    this: bool
    since: float


class BackupIdentity(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """POST /node/v1/identity/backup: answers BackupWords. Only with the owner's own token."""

    passphrase: str | None = None  # the one that protects the keys on disk, when there is one
    forget: bool = False  # afterwards keep no owner key on this device


class BackupWords(msgspec.Struct, frozen=True):
    words: str  # 24 words
    chain: str  # base64 of the owner's chain: not secret, makes restoring complete


class RestoreIdentity(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """POST /node/v1/identity/restore: become a new device of the owner that these words belong to."""

    words: str  # empty: this device is the owner's already and only waits for the chain
    chain: str | None = None
    device_name: str | None = None
    passphrase: str | None = None  # of the owner key on this device's disk, not of the words


class RotateIdentity(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """POST /node/v1/identity/rotate: the next key becomes the key."""

    words: str | None = None  # when no owner key is kept on this device
    passphrase: str | None = None


class ProtectIdentity(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """POST /node/v1/identity/protect: seal the owner key on this disk with a passphrase, or take it off."""

    passphrase: str | None = None  # the one of now, when there is one
    new: str | None = None  # None: none any more


class RevokeDevice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """POST /node/v1/identity/revoke: a device is no longer the owner's."""

    device: str  # its id or name
    why: str = ""
    words: str | None = None  # when no owner key is kept on this device
    passphrase: str | None = None


class Key(msgspec.Struct, frozen=True):
    """An API key (a grant). GET /node/v1/grants"""

    id: str
    name: str
    label: str  # the label of what is asked with it
    ceiling: str  # no wider than this
    may: tuple[str, ...]  # actions, e.g. "chat", "models.read", "*"
    created_at: float
    expires_at: float | None = None
    revoked_at: float | None = None
    last_used_at: float | None = None


class KeyList(msgspec.Struct, frozen=True):
    grants: tuple[Key, ...]


class NewKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """POST /node/v1/grants: answers MadeKey; the secret is shown once."""

    name: str
    label: str = "device"
    ceiling: str = "device"
    may: tuple[str, ...] = ("chat", "embed", "models.read")
    expires_in_s: float | None = None


class MadeKey(msgspec.Struct, frozen=True):
    key: Key
    secret: str


class JobWhy(msgspec.Struct, frozen=True):
    """GET /node/v1/jobs/{id}: the whole way of one job, from the event log."""

    id: str
    events: tuple[EventEntry, ...]


class LogTail(msgspec.Struct, frozen=True):
    """GET /node/v1/logs?lines=N: the end of the node's log, oldest line first."""

    file: str
    lines: tuple[str, ...]


class Removed(msgspec.Struct, frozen=True):
    """DELETE /node/v1/models/{name}: 0 bytes when the file belongs to somebody else."""

    name: str
    freed: int
