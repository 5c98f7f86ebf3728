"""An owner and a device that write records by hand, honest or not."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from nacl.signing import SigningKey

from protocols.bodies import Body, DeviceAdd, DeviceGenesis, Genesis, Publish, Rotate
from protocols.records import NET, key_hash, make_record, open_record, sign_record
from tests.node.owner.house import START

AT = int(START * 1000)


def key(number: int) -> SigningKey:
    return SigningKey(bytes([number]) * 32)


def public(secret: SigningKey) -> bytes:
    return bytes(secret.verify_key)


@dataclass
class Chain:
    """What one writer has written: the envelopes in order."""

    envelopes: list[bytes] = field(default_factory=list)

    @property
    def feed(self) -> bytes:
        return open_record(self.envelopes[0]).hash

    def record(self, signer: SigningKey, body: Body | dict[str, Any], **changes: Any) -> bytes:
        """The envelope that would come next, with anything changed."""
        last = open_record(self.envelopes[-1]) if self.envelopes else None
        fields: dict[str, Any] = {
            "net": NET,
            "seq": last.record.seq + 1 if last else 0,
            "at": AT,
            "feed": self.feed if last else None,
            "prev": last.hash if last else None,
        }
        return sign_record(signer, make_record(body, **(fields | changes)))

    def add(self, signer: SigningKey, body: Body | dict[str, Any], **changes: Any) -> bytes:
        self.envelopes.append(self.record(signer, body, **changes))
        return self.envelopes[-1]


def owner_chain() -> Chain:
    """Keys 1, 2, 3 are the owner's, one after the other."""
    chain = Chain()
    chain.add(key(1), Genesis(key=public(key(1)), next=key_hash(public(key(2)))))
    return chain


def rotation(new: int, after: int) -> Rotate:
    return Rotate(key=public(key(new)), next=key_hash(public(key(after))))


def device_chain(owner: Chain, secret: SigningKey) -> Chain:
    """The device's feed, and its certificate in the owner's chain (signed by key 1)."""
    chain = Chain()
    cert = chain.add(secret, DeviceGenesis(device=public(secret), owner=owner.feed))
    owner.add(key(1), DeviceAdd(device=public(secret), name="device", cert=cert))
    return chain


def publish(name: str, version: tuple[int, int, int] = (1, 0, 0)) -> Publish:
    manifest = bytes.fromhex("01551220") + bytes(32)
    return Publish(kind="model", name=name, version=version, manifest=manifest, size=1)
