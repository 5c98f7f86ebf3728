"""UnixFS: files and directories as IPFS blocks, byte for byte as current Kubo makes them.

`FileHasher` is told the bytes of a file in any pieces and finds its CID in one pass, holding no more
than one unfinished node per level of the tree (and one chunk, with the old profile). It tells its
caller every leaf and every node, so that the file itself can serve as the store.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Protocol

from protocols import limits, varint
from protocols.cid import DAG_PB, RAW, Cid
from protocols.dagpb import Link, decode_node, encode_node, fields
from protocols.errors import Malformed, Refused

_DIRECTORY: Final = 1
_FILE: Final = 2
_KINDS: Final = {0: "raw", 3: "metadata", 4: "symlink", 5: "split directory (HAMT)"}
_DIRECTORY_DATA: Final = b"\x08\x01"


@dataclass(frozen=True, slots=True)
class Profile:
    """How a file is cut and its tree built. The same bytes under another profile have another CID."""

    name: str
    chunk: int  # bytes in a leaf
    links: int  # children of a node
    raw_leaves: bool
    cid_version: int

    def __post_init__(self) -> None:
        if self.chunk < 1 or self.links < 2 or (self.raw_leaves and self.cid_version == 0):
            raise ValueError(f"profile {self.name!r} cannot build a tree")


#: What this project writes (IPIP-0499).
V1_2025: Final = Profile("unixfs-v1-2025", 1024 * 1024, 1024, raw_leaves=True, cid_version=1)
#: What older tools wrote, for recognising their CIDs.
V0_2015: Final = Profile("unixfs-v0-2015", 256 * 1024, 174, raw_leaves=False, cid_version=0)


@dataclass(frozen=True, slots=True)
class Built:
    """A finished file or directory."""

    cid: Cid
    size: int  # bytes of content
    tsize: int  # bytes of all blocks, as a link to it says
    leaves: int
    nodes: int  # dag-pb blocks above the leaves


#: Told each leaf: its offset in the file, its length, the sha256 of its block.
OnLeaf = Callable[[int, int, bytes], None]
#: Told each dag-pb node above the leaves: its CID and its block.
OnNode = Callable[[Cid, bytes], None]


@dataclass(frozen=True, slots=True)
class _Entry:
    cid: Cid
    tsize: int
    size: int


class _Leaf(Protocol):
    """The leaf that is being filled."""

    def update(self, data: memoryview) -> None: ...

    def finish(self) -> tuple[bytes, int]:
        """The sha256 and the length of the block."""
        ...


class FileHasher:
    """Finds the CID of a file from its bytes in order. Not usable any more after `finish`."""

    def __init__(
        self, profile: Profile, *, on_leaf: OnLeaf | None = None, on_node: OnNode | None = None
    ) -> None:
        self._profile = profile
        self._on_leaf = on_leaf
        self._on_node = on_node
        self._leaf = self._new_leaf()
        self._filled = 0  # bytes in the current leaf
        self._size = 0  # bytes in finished leaves
        self._leaves = 0
        self._nodes = 0
        self._levels: list[list[_Entry]] = [[]]
        self._finished = False

    def update(self, data: bytes | bytearray | memoryview) -> None:
        """The next bytes of the file, as many as there are. Raises `Malformed` above the largest file."""
        if self._finished:
            raise RuntimeError("this file was finished")
        rest = memoryview(data).cast("B")
        if self._size + self._filled + len(rest) > limits.FILE_BYTES:
            raise Malformed(f"a file has at most {limits.FILE_BYTES} bytes")
        while rest:
            if self._filled == self._profile.chunk:
                self._finish_leaf()  # only now: the last leaf ends with the file, not with its chunk
            piece = rest[: self._profile.chunk - self._filled]
            self._leaf.update(piece)
            self._filled += len(piece)
            rest = rest[len(piece) :]

    def finish(self) -> Built:
        """The file's CID. The last leaf and the nodes above it are told before this returns."""
        if self._finished:
            raise RuntimeError("this file was finished")
        self._finish_leaf()
        self._finished = True
        level = 0
        while len(self._levels) > level + 1 or len(self._levels[level]) > 1:
            entries, self._levels[level] = self._levels[level], []
            self._push(level + 1, self._node(entries))
            level += 1
        root = self._levels[level][0]
        return Built(root.cid, root.size, root.tsize, self._leaves, self._nodes)

    def _new_leaf(self) -> _Leaf:
        return _RawLeaf() if self._profile.raw_leaves else _WrappedLeaf()

    def _finish_leaf(self) -> None:
        digest, tsize = self._leaf.finish()
        codec = RAW if self._profile.raw_leaves else DAG_PB
        cid = Cid(self._profile.cid_version, codec, digest)
        if self._on_leaf is not None:
            self._on_leaf(self._size, self._filled, digest)
        self._push(0, _Entry(cid, tsize, self._filled))
        self._leaves += 1
        self._size += self._filled
        self._filled = 0
        self._leaf = self._new_leaf()

    def _push(self, level: int, entry: _Entry) -> None:
        if level == len(self._levels):
            self._levels.append([])
        if len(self._levels[level]) == self._profile.links:
            full, self._levels[level] = self._levels[level], []
            self._push(level + 1, self._node(full))
        self._levels[level].append(entry)

    def _node(self, entries: list[_Entry]) -> _Entry:
        links = [Link(entry.cid, "", entry.tsize) for entry in entries]
        block = encode_node(links, file_data([entry.size for entry in entries]))
        cid = Cid.of(DAG_PB, block, version=self._profile.cid_version)
        self._nodes += 1
        if self._on_node is not None:
            self._on_node(cid, block)
        tsize = len(block) + sum(entry.tsize for entry in entries)
        return _Entry(cid, tsize, sum(entry.size for entry in entries))


class _RawLeaf:
    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._length = 0

    def update(self, data: memoryview) -> None:
        self._hash.update(data)
        self._length += len(data)

    def finish(self) -> tuple[bytes, int]:
        return self._hash.digest(), self._length


class _WrappedLeaf:
    """A leaf inside a dag-pb node: its length stands before its bytes, so they have to be kept."""

    def __init__(self) -> None:
        self._data = bytearray()

    def update(self, data: memoryview) -> None:
        self._data += data

    def finish(self) -> tuple[bytes, int]:
        head, tail = _wrapping(len(self._data))
        whole = hashlib.sha256(head)
        whole.update(self._data)
        whole.update(tail)
        return whole.digest(), len(head) + len(self._data) + len(tail)


def hash_bytes(data: bytes, profile: Profile = V1_2025) -> Built:
    """The CID of a file that is in memory."""
    hasher = FileHasher(profile)
    hasher.update(data)
    return hasher.finish()


def wrapped_leaf(data: bytes) -> bytes:
    """The block of a leaf in a profile without raw leaves."""
    head, tail = _wrapping(len(data))
    return head + data + tail


def _wrapping(length: int) -> tuple[bytes, bytes]:
    """What stands before and after the bytes of a wrapped leaf."""
    size = varint.encode(length)
    head = b"\x08\x02" + (b"\x12" + size if length else b"")
    tail = b"\x18" + size
    return b"\x0a" + varint.encode(len(head) + length + len(tail)) + head, tail


def file_data(sizes: Iterable[int]) -> bytes:
    """The UnixFS data of a file's node: the size of the file and of each child's part of it."""
    sizes = list(sizes)
    parts = [b"\x08\x02\x18", varint.encode(sum(sizes))]
    for size in sizes:
        parts += [b"\x20", varint.encode(size)]
    return b"".join(parts)


@dataclass(frozen=True, slots=True)
class Part:
    """A child of a file's node and the bytes of the file that it holds."""

    cid: Cid
    offset: int  # from the start of the node's own part
    size: int


@dataclass(frozen=True, slots=True)
class FileNode:
    size: int
    parts: tuple[Part, ...]
    data: bytes = b""  # content in the node itself: only in a leaf without parts


@dataclass(frozen=True, slots=True)
class DirectoryNode:
    links: tuple[Link, ...]


def read_node(block: bytes) -> FileNode | DirectoryNode:
    """A file's or a directory's dag-pb block. Raises `Malformed`, or `Refused` for other kinds."""
    node = decode_node(block)
    if node.data is None:
        raise Malformed("a UnixFS node has no data")
    kind, size, data, sizes = _read_data(node.data)
    if kind == _DIRECTORY:
        if size is not None or data or sizes:
            raise Malformed("a directory has neither content nor sizes")
        _check_names([link.name or "" for link in node.links])
        return DirectoryNode(node.links)
    if len(node.links) != len(sizes):
        raise Malformed(f"a file node with {len(node.links)} links tells {len(sizes)} sizes")
    if data and sizes:
        raise Refused("a file node with both content and children is not supported")
    if size != sum(sizes) + len(data) or size > limits.FILE_BYTES:
        raise Malformed("the sizes in a file node do not add up")
    parts, offset = [], 0
    for link, part in zip(node.links, sizes, strict=True):
        if link.name:
            raise Malformed("a file node has a child with a name")
        parts.append(Part(link.cid, offset, part))
        offset += part
    return FileNode(size, tuple(parts), data)


def directory_block(links: Iterable[Link], profile: Profile = V1_2025) -> tuple[Built, bytes]:
    """A directory and its block, from links with names in any order.

    Raises `Malformed` for a name that no directory can hold or that comes twice, and `Refused` for a
    directory so large that IPFS would split it: that is another format, which is not written here.
    """
    ordered = sorted(links, key=lambda link: (link.name or "").encode("utf-8", "surrogatepass"))
    names = [link.name or "" for link in ordered]
    _check_names(names)
    if len(ordered) > limits.BLOCK_LINKS:
        raise Refused(f"a directory of {len(ordered)} entries is too large", rule="directory")
    block = encode_node(ordered, _DIRECTORY_DATA)
    weight = len(block)
    if profile.cid_version == 0:  # the old profile estimates
        weight = sum(len(name.encode()) for name in names)
        weight += sum(len(link.cid.bytes) for link in ordered)
    if weight > limits.DIRECTORY_BYTES:
        raise Refused(
            f"a directory of {len(ordered)} entries and {weight} bytes is too large: "
            f"the limit is {limits.DIRECTORY_BYTES} bytes; use folders inside it",
            rule="directory",
        )
    tsize = len(block) + sum(link.tsize or 0 for link in ordered)
    cid = Cid.of(DAG_PB, block, version=profile.cid_version)
    return Built(cid, 0, tsize, leaves=0, nodes=1), block


def _read_data(message: bytes) -> tuple[int, int | None, bytes, list[int]]:
    """Kind, size, content and children's sizes of a UnixFS data message, in this order only."""
    kind: int | None = None
    size: int | None = None
    data = b""
    sizes: list[int] = []
    last = 0
    for number, value in fields(message):
        if number in (7, 8):
            raise Refused("files with a mode or a time inside are not supported", rule="metadata")
        if number not in (1, 2, 3, 4) or isinstance(value, bytes) != (number == 2):
            raise Malformed(f"a UnixFS node has no field {number} of this kind")
        if number < last or (number == last and number != 4):
            raise Malformed("the fields of a UnixFS node are out of order")
        last = number
        if isinstance(value, bytes):
            data = value
        elif number == 1:
            kind = _check_kind(value)
        elif number == 3:
            size = value
        else:
            sizes.append(value)
    if kind is None:
        raise Malformed("a UnixFS node does not say what it is")
    return kind, size, data, sizes


def _check_kind(kind: int) -> int:
    if kind in (_DIRECTORY, _FILE):
        return kind
    if kind in _KINDS:
        raise Refused(f"a UnixFS {_KINDS[kind]} is not supported", rule="kind")
    raise Malformed(f"UnixFS kind {kind} is not known")


def _check_names(names: list[str]) -> None:
    """Names of a directory, in order."""
    previous: str | None = None
    for name in names:
        if name in ("", ".", "..") or "/" in name or "\0" in name:
            raise Malformed(f"{name!a} cannot be a name in a directory")
        if name == previous:
            raise Malformed(f"{name!a} comes twice in a directory")
        previous = name
