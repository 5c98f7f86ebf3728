"""The copy of an owner's chain that a person keeps with the words: base64 text, nothing secret in it."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Annotated, Literal

from msgspec import Meta

from node.owner.errors import OwnerError
from protocols import limits, strict
from protocols.errors import Malformed


class _Chain(strict.Message, frozen=True):
    v: Literal[1]
    records: Annotated[tuple[bytes, ...], Meta(min_length=1)]


def pack(envelopes: Sequence[bytes]) -> str:
    data = strict.encode({"v": 1, "records": list(envelopes)})
    return base64.b64encode(data).decode("ascii")


def unpack(text: str) -> list[bytes]:
    """The envelopes, not verified yet. Raises `OwnerError` ("bad_chain"); white space does not matter."""
    if len(text) > 2 * limits.OWNER_CHAIN_BYTES:
        raise OwnerError(
            "bad_chain", f"the chain is larger than {limits.OWNER_CHAIN_BYTES >> 20} MiB"
        )
    try:
        data = base64.b64decode("".join(text.split()), validate=True)
        value = strict.decode(data, max_bytes=limits.OWNER_CHAIN_BYTES)
        return list(strict.to_struct(_Chain, value).records)
    except (binascii.Error, ValueError, Malformed) as error:
        raise OwnerError(
            "bad_chain",
            f"that is no copy of an owner's chain ({error}):"
            " give the file that `node identity backup` wrote, whole",
        ) from error
