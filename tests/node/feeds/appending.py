"""Adds records to the device's feed of a home until it is killed; says each place once it is kept."""

from __future__ import annotations

import sys
from pathlib import Path

import trio

from tests.node.feeds.writers import Chain, device_chain, key, owner_chain, publish
from tests.node.owner.house import house


async def main(root: Path) -> None:
    with house(root) as here:
        owner = owner_chain()
        device: Chain = device_chain(owner, key(7))
        await here.feeds.append(*owner.envelopes)
        await here.feeds.append(*device.envelopes)
        print(device.feed.hex(), flush=True)
        for number in range(1, 10_000):
            await here.feeds.append(device.add(key(7), publish(f"m{number}")))
            print(number, flush=True)


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]))
