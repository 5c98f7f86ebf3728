"""Writes the golden vectors of signed things from fixed keys and times: `python -m tests.protocols.make_vectors`.

A difference in what it writes is a change of the protocol.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from protocols import heads, ids, records
from protocols.bodies import Endorse, Kept, Member, Publish, Rate, Yank
from protocols.cid import RAW, Cid
from protocols.envelope import pae, sign
from protocols.heads import Head, sign_head
from tests.protocols.feeds import NET, NOW, DeviceFeed, Owner
from tests.protocols.keys import key, pub

HERE = Path(__file__).parent / "vectors"
MANIFEST = Cid.of(RAW, b"manifest").bytes
KEYS = "the key of a name is the Ed25519 seed sha256('test key ' + name)"


def envelopes() -> dict[str, Any]:
    good = []
    for name, domain, payload in (
        ("empty", records.DOMAIN, b""),
        ("text", "application/vnd.kith.test.v1+msgpack", b"hello world"),
    ):
        good.append(
            {
                "name": name,
                "key": "ann0",
                "domain": domain,
                "payload": payload.hex(),
                "signed_bytes": pae(domain, payload).hex(),
                "envelope": sign(key("ann0"), domain, payload).hex(),
            }
        )
    return {"about": f"Signed envelopes; {KEYS}.", "good": good}


def chains() -> dict[str, Any]:
    owner = Owner("ann")
    feed = DeviceFeed(owner, "laptop")
    for body in (
        Publish("model", "small-talk", (1, 0, 0), MANIFEST, 12345),
        Yank("model", "small-talk", (1, 0, 0), "wrong file"),
        Endorse(MANIFEST, "read it all"),
        Rate(MANIFEST, 4, "works well on my pi"),
        Member("home", joined=True),
    ):
        feed.add(body)
    kept = feed.state.head
    owner.rotate()
    owner.revoke("laptop", Kept(kept.seq, kept.hash))
    head = Head(
        net=NET, feed=owner.state.feed, seq=owner.state.seq, hash=owner.state.hash, at=NOW, ttl=1000
    )
    return {
        "about": f"An owner's chain, one device's feed and a head; {KEYS}.",
        "net": NET,
        "now_ms": NOW,
        "owner_id": ids.owner_text(owner.state.feed),
        "device_id": ids.device_id(pub("laptop")),
        "owner_chain": [envelope.hex() for envelope in owner.log],
        "owner_head": {"seq": owner.state.seq, "hash": owner.state.hash.hex()},
        "device_feed": [envelope.hex() for envelope in feed.log],
        "device_head": {"seq": feed.state.seq, "hash": feed.state.hash.hex()},
        "head_domain": heads.DOMAIN,
        "head": sign_head(owner.key, head).hex(),
    }


def main() -> None:
    for name, content in (("envelope", envelopes()), ("records", chains())):
        (HERE / f"{name}.json").write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
