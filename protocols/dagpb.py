"""dag-pb: the protobuf that IPFS uses for nodes above leaves, in the one form that has one CID.

Links come before Data, each link's fields in order, varints in their shortest form, links sorted by
the bytes of their names. A block in any other form is refused: read and written again it would have
another CID.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from protocols import cid, limits, varint
from protocols.cid import Cid
from protocols.errors import Malformed

_VARINT: Final = 0
_BYTES: Final = 2
Field = tuple[int, int | bytes]


@dataclass(frozen=True, slots=True)
class Link:
    """A child: its CID, its name in a directory, and the bytes of its block and all below it."""

    cid: Cid
    name: str | None = ""
    tsize: int | None = 0


@dataclass(frozen=True, slots=True)
class Node:
    links: tuple[Link, ...]
    data: bytes | None


def encode_node(links: Sequence[Link], data: bytes | None) -> bytes:
    """The block of a node. Raises `Malformed` for links that are out of order or out of bounds."""
    _check_links(links)
    parts = [_encode_link(link) for link in links]
    if data is not None:
        parts += [b"\x0a", varint.encode(len(data)), data]
    block = b"".join(parts)
    if len(block) > limits.BLOCK_BYTES:
        raise Malformed(f"block of {len(block)} bytes is over the limit of {limits.BLOCK_BYTES}")
    return block


def decode_node(block: bytes) -> Node:
    """The node in a block. Raises `Malformed`."""
    if len(block) > limits.BLOCK_BYTES:
        raise Malformed(f"block of {len(block)} bytes is over the limit of {limits.BLOCK_BYTES}")
    links: list[Link] = []
    data: bytes | None = None
    for number, value in fields(block):
        if not isinstance(value, bytes) or number not in (1, 2):
            raise Malformed(f"a dag-pb node has no field {number} of this kind")
        if data is not None:
            raise Malformed("in a dag-pb node, Data comes once and after the links")
        if number == 1:
            data = value
        elif len(links) == limits.BLOCK_LINKS:
            raise Malformed(f"more than {limits.BLOCK_LINKS} links in one block")
        else:
            links.append(_decode_link(value))
    _check_links(links)
    return Node(tuple(links), data)


def fields(message: bytes) -> Iterator[Field]:
    """The fields of a protobuf message that has only varints and byte strings. Raises `Malformed`."""
    position = 0
    while position < len(message):
        key, position = varint.decode(message, position)
        value, position = varint.decode(message, position)
        if key & 7 == _VARINT:
            yield key >> 3, value
        elif key & 7 == _BYTES:
            end = position + value
            if end > len(message):
                raise Malformed("a protobuf field is cut")
            yield key >> 3, message[position:end]
            position = end
        else:
            raise Malformed(f"protobuf wire type {key & 7} has no place here")


def _encode_link(link: Link) -> bytes:
    hash_bytes = link.cid.bytes
    body = b"\x0a" + varint.encode(len(hash_bytes)) + hash_bytes
    if link.name is not None:
        name = link.name.encode()
        body += b"\x12" + varint.encode(len(name)) + name
    if link.tsize is not None:
        body += b"\x18" + varint.encode(link.tsize)
    return b"\x12" + varint.encode(len(body)) + body


def _decode_link(message: bytes) -> Link:
    found: dict[int, int | bytes] = {}
    for number, value in fields(message):
        if number not in (1, 2, 3) or isinstance(value, int) != (number == 3):
            raise Malformed(f"a dag-pb link has no field {number} of this kind")
        if found and number <= max(found):
            raise Malformed("the fields of a dag-pb link are out of order")
        found[number] = value
    hash_bytes, name, tsize = found.get(1), found.get(2), found.get(3)
    if not isinstance(hash_bytes, bytes):
        raise Malformed("a dag-pb link names no CID")
    return Link(
        cid.from_bytes(hash_bytes),
        _decode_name(name) if isinstance(name, bytes) else None,
        tsize if isinstance(tsize, int) else None,
    )


def _decode_name(name: bytes) -> str:
    try:
        return name.decode()
    except UnicodeDecodeError as error:
        raise Malformed("the name of a dag-pb link is not UTF-8") from error


def _check_links(links: Sequence[Link]) -> None:
    if len(links) > limits.BLOCK_LINKS:
        raise Malformed(f"{len(links)} links in one block; the limit is {limits.BLOCK_LINKS}")
    previous = b""
    for link in links:
        try:
            name = (link.name or "").encode()
        except UnicodeEncodeError as error:
            raise Malformed(f"the name {link.name!a} is not UTF-8") from error
        if len(name) > limits.DIRECTORY_NAME_BYTES:
            raise Malformed(f"a name has at most {limits.DIRECTORY_NAME_BYTES} bytes")
        if name < previous:
            raise Malformed("the links of a dag-pb node are not sorted by name")
        if link.tsize is not None and not 0 <= link.tsize < 2**63:
            raise Malformed("the size of a dag-pb link is out of range")
        previous = name
