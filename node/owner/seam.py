"""What the owner room needs of the feeds room above it; the daemon brings both together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import sqlite_utils
from nacl.signing import SigningKey

from protocols.bodies import Body
from protocols.chain import ChainState, Equivocation


class FeedWriter(Protocol):
    """Stored feeds. Every method works inside the caller's transaction of state.db."""

    @property
    def net(self) -> str: ...

    def state(self, tables: sqlite_utils.Database, feed: bytes) -> ChainState | None:
        """The feed up to its newest record, or None when nothing of it is stored."""

    def read(self, tables: sqlite_utils.Database, feed: bytes) -> list[bytes]:
        """Every envelope of the feed, first to newest."""

    def extend(
        self, tables: sqlite_utils.Database, envelopes: Sequence[bytes]
    ) -> ChainState | Equivocation:
        """Verify and add records of one feed; those already stored are passed over.

        Raises `Malformed` or `Refused`, and then nothing may be kept: let it end the transaction. An
        `Equivocation` is returned and not raised, so that its proof is committed.
        """

    def write(
        self, tables: sqlite_utils.Database, feed: bytes, key: SigningKey, body: Body
    ) -> ChainState:
        """Add a record of our own, signed by `key`. Raises `Refused` ("unseen") when the feed is known
        to go on elsewhere."""
