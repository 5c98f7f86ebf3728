"""The owner's keys and devices, and the API keys of others."""

from __future__ import annotations

from typing import Literal

import msgspec


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
