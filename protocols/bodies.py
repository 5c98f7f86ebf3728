"""What the records of a feed say: one frozen type per record type.

An owner's chain holds only the types in `OWNER_BODIES`, a device's feed only those in
`DEVICE_BODIES`. A type in neither table is unknown: verified, kept in the chain and ignored. A known
type never gains fields: what needs more becomes a type with a new name.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta

from protocols import cid, ids, limits
from protocols.errors import Malformed
from protocols.strict import Message

Hash = Annotated[bytes, Meta(min_length=32, max_length=32)]
Key = Annotated[bytes, Meta(min_length=32, max_length=32)]
Seq = Annotated[int, Meta(ge=0, le=limits.CHAIN_SEQ)]
Name = Annotated[str, Meta(min_length=1, max_length=limits.NAME_CHARS)]
Note = Annotated[str, Meta(max_length=limits.NOTE_CHARS)]
Slug = Annotated[str, Meta(pattern=r"\A[a-z0-9][a-z0-9-]{0,63}\Z")]
Part = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Version = tuple[Part, Part, Part]
Size = Annotated[int, Meta(ge=0, le=limits.FILE_BYTES)]
CidBytes = Annotated[bytes, Meta(min_length=34, max_length=36)]

ArtifactKind = Literal[
    "model",
    "adapter",
    "plugin",
    "persona",
    "prompt",
    "dataset",
    "index",
    "workflow",
    "evalset",
    "page",
    "policy",
]


class Genesis(Message, frozen=True):
    """The first record of an owner; the hash of its payload is the owner's id."""

    key: Key  # signs from now on
    next: Hash  # sha256 of the key that may rotate
    recovery: Annotated[tuple[Hash, ...], Meta(max_length=limits.OWNER_RECOVERY)] = ()

    def __post_init__(self) -> None:
        ids.check_key(self.key)


class Rotate(Message, frozen=True):
    """The committed next key takes over and commits to one after it. Signed by the new key."""

    key: Key
    next: Hash

    def __post_init__(self) -> None:
        ids.check_key(self.key)


class DeviceAdd(Message, frozen=True):
    """The owner certifies a device."""

    device: Key
    name: Name
    #: The envelope of the device's genesis: the device says itself that it belongs to this owner,
    #: and the one feed it may write is named by it.
    cert: Annotated[bytes, Meta(max_length=limits.HEAD_BYTES)]

    def __post_init__(self) -> None:
        ids.check_key(self.device)


class Kept(Message, frozen=True):
    """A place in a device's feed."""

    seq: Seq
    hash: Hash


class DeviceRevoke(Message, frozen=True):
    """The device is no longer the owner's. Its records after `keep` are void; without `keep`, all."""

    device: Key
    why: Note = ""
    keep: Kept | None = None


class DeviceGenesis(Message, frozen=True):
    """The first record of a device's feed."""

    device: Key
    owner: Hash

    def __post_init__(self) -> None:
        ids.check_key(self.device)


class Publish(Message, frozen=True):
    """A version of an artifact exists: its manifest is this one."""

    kind: ArtifactKind
    name: Slug
    version: Version
    manifest: CidBytes
    size: Size  # bytes of the manifest and all it names

    def __post_init__(self) -> None:
        cid.from_bytes(self.manifest)


class Yank(Message, frozen=True):
    """A version should no longer be installed."""

    kind: ArtifactKind
    name: Slug
    version: Version
    why: Note = ""


class Endorse(Message, frozen=True):
    """'I vouch for exactly this manifest.'"""

    manifest: CidBytes
    note: Note = ""

    def __post_init__(self) -> None:
        cid.from_bytes(self.manifest)


class Rate(Message, frozen=True):
    """An opinion of one manifest, 1 to 5."""

    manifest: CidBytes
    stars: Annotated[int, Meta(ge=1, le=5)]
    text: Note = ""

    def __post_init__(self) -> None:
        cid.from_bytes(self.manifest)


class Member(Message, frozen=True):
    """The device's owner is, or is no longer, in a mesh."""

    mesh: Annotated[str, Meta(min_length=1, max_length=limits.MESH_ID_CHARS)]
    joined: bool


OwnerBody = Genesis | Rotate | DeviceAdd | DeviceRevoke
DeviceBody = DeviceGenesis | Publish | Yank | Endorse | Rate | Member
Body = OwnerBody | DeviceBody

OWNER_BODIES: Final[dict[str, type[OwnerBody]]] = {
    "genesis": Genesis,
    "rotate": Rotate,
    "device_add": DeviceAdd,
    "device_revoke": DeviceRevoke,
}
DEVICE_BODIES: Final[dict[str, type[DeviceBody]]] = {
    "device_genesis": DeviceGenesis,
    "publish": Publish,
    "yank": Yank,
    "endorse": Endorse,
    "rate": Rate,
    "member": Member,
}
_TYPES: Final = {kind: name for name, kind in (OWNER_BODIES | DEVICE_BODIES).items()}


def type_of(body: Body) -> str:
    """The record type that a body belongs to."""
    name = _TYPES.get(type(body))
    if name is None:
        raise Malformed(f"{type(body).__name__} is no record body")
    return name
