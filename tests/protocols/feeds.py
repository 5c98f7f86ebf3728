"""Writers of feeds for the tests: they sign whatever they are told, right or wrong."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from nacl.signing import SigningKey

from protocols import chain, records, strict
from protocols.bodies import Body, DeviceAdd, DeviceRevoke, Kept, Rotate
from protocols.chain import ChainState
from protocols.envelope import sign
from protocols.records import DOMAIN, sign_record
from tests.protocols.keys import key, pub

NET = "test"
NOW = 1_800_000_000_000


def forge(signer: SigningKey, fields: dict[str, Any], *also: SigningKey) -> bytes:
    """An envelope of any fields at all, properly signed."""
    return sign(signer, DOMAIN, strict.encode(fields), also=also)


def fields_of(envelope: bytes) -> dict[str, Any]:
    """The plain fields of a record, to change and sign again."""
    payload = strict.decode(envelope, max_bytes=1 << 16)["p"]
    found: dict[str, Any] = strict.decode(payload, max_bytes=1 << 16)
    return found


def take(
    state: ChainState | None,
    envelope: bytes,
    *,
    now_ms: int = NOW,
    net: str = NET,
    owner: ChainState | None = None,
    stored: bytes | None = None,
    pin: Kept | None = None,
) -> ChainState:
    return chain.apply(state, envelope, now_ms=now_ms, net=net, owner=owner, stored=stored, pin=pin)


@dataclass
class Owner:
    """An owner's chain with keys `<name>0`, `<name>1` ..."""

    name: str = "ann"
    log: list[bytes] = field(default_factory=list)
    state: ChainState = field(init=False)
    turn: int = 0

    def __post_init__(self) -> None:
        genesis = records.owner_genesis(pub(self.key_name(0)), pub(self.key_name(1)), net=NET)
        self.log = [sign_record(self.key, genesis)]
        self.state = take(None, self.log[0])

    def key_name(self, turn: int) -> str:
        return f"{self.name}{turn}"

    @property
    def key(self) -> SigningKey:
        return key(self.key_name(self.turn))

    @property
    def next_key(self) -> SigningKey:
        return key(self.key_name(self.turn + 1))

    def draft(self, body: Body, *, at: int = NOW) -> dict[str, Any]:
        """The fields of the record that this owner would add now."""
        made: dict[str, Any] = strict.from_struct(chain.next_record(self.state, body, at=at))
        return made

    def append(self, envelope: bytes) -> bytes:
        self.state = take(self.state, envelope)
        self.log.append(envelope)
        return envelope

    def add(self, body: Body, *, at: int = NOW) -> bytes:
        return self.append(forge(self.key, self.draft(body, at=at)))

    def rotation(self) -> Rotate:
        return Rotate(
            bytes(self.next_key.verify_key), records.key_hash(pub(self.key_name(self.turn + 2)))
        )

    def rotate(self) -> bytes:
        envelope = self.append(forge(self.next_key, self.draft(self.rotation())))
        self.turn += 1
        return envelope

    def certify(self, device: str, *, name: str = "laptop") -> bytes:
        return self.add(DeviceAdd(pub(device), name, device_genesis(device, self.state.feed)))

    def revoke(self, device: str, keep: Kept | None = None) -> bytes:
        return self.add(DeviceRevoke(pub(device), "lost", keep))


def device_genesis(device: str, owner_feed: bytes, *, at: int = NOW, net: str = NET) -> bytes:
    return sign_record(key(device), records.device_genesis(pub(device), owner_feed, net=net, at=at))


@dataclass
class DeviceFeed:
    """The feed of a device that the owner has just certified."""

    owner: Owner
    device: str = "laptop"
    log: list[bytes] = field(default_factory=list)
    state: ChainState = field(init=False)

    def __post_init__(self) -> None:
        self.owner.certify(self.device)
        self.log = [device_genesis(self.device, self.owner.state.feed)]
        self.state = take(None, self.log[0], owner=self.owner.state)

    def draft(self, body: Body, *, at: int = NOW) -> dict[str, Any]:
        made: dict[str, Any] = strict.from_struct(chain.next_record(self.state, body, at=at))
        return made

    def add(self, body: Body) -> bytes:
        envelope = forge(key(self.device), self.draft(body))
        self.state = take(self.state, envelope, owner=self.owner.state)
        self.log.append(envelope)
        return envelope
