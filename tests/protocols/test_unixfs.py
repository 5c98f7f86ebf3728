from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols import limits, unixfs
from protocols.cid import DAG_PB, RAW, Cid
from protocols.dagpb import Link, decode_node, encode_node
from protocols.errors import Malformed, Refused
from protocols.unixfs import (
    V0_2015,
    V1_2025,
    Built,
    DirectoryNode,
    FileHasher,
    FileNode,
    Part,
    Profile,
    directory_block,
    hash_bytes,
    read_node,
)

MIB = 1 << 20
VECTORS = json.loads((Path(__file__).parent / "vectors" / "unixfs.json").read_text())


def pieces(vector: dict[str, Any]) -> Iterator[bytes]:
    seed, size = vector["seed"].encode(), vector["size"]
    if vector["bytes"] == "text":
        yield seed
    elif vector["bytes"] == "sha":
        count = -(-size // 32)
        yield b"".join(hashlib.sha256(b"%s:%d" % (seed, i)).digest() for i in range(count))[:size]
    else:
        key = hashlib.sha256(seed).digest()
        stream = Cipher(algorithms.ChaCha20(key, bytes(16)), mode=None).encryptor()
        for start in range(0, size, MIB):
            yield stream.update(bytes(min(MIB, size - start)))


def name_of(vector: dict[str, Any]) -> str:
    return (
        f"{vector['size']}-{vector['seed']}-{vector['chunk']}-{vector['links']}-{vector['leaves']}"
    )


@pytest.mark.parametrize("vector", VECTORS["files"], ids=name_of)
def test_the_cid_is_what_other_ipfs_programs_found(vector: dict[str, Any]) -> None:
    raw = vector["leaves"] == "raw"
    hasher = FileHasher(Profile("test", vector["chunk"], vector["links"], raw, int(raw)))
    for piece in pieces(vector):
        hasher.update(piece)
    built = hasher.finish()
    assert str(built.cid) == vector["cid"]
    assert built.size == vector["size"]
    assert built.leaves == max(1, -(-vector["size"] // vector["chunk"]))


def test_the_profiles_are_the_ratified_ones() -> None:
    assert (V1_2025.chunk, V1_2025.links, V1_2025.raw_leaves, V1_2025.cid_version) == (
        MIB,
        1024,
        True,
        1,
    )
    assert (V0_2015.chunk, V0_2015.links, V0_2015.raw_leaves, V0_2015.cid_version) == (
        MIB // 4,
        174,
        False,
        0,
    )


SMALL = Profile("small", 7, 3, raw_leaves=True, cid_version=1)
SMALL_OLD = Profile("small old", 7, 3, raw_leaves=False, cid_version=0)


def build_by_levels(data: bytes, profile: Profile) -> tuple[Cid, dict[bytes, bytes]]:
    """The same tree built the plain way: all leaves, then level by level, everything in memory."""
    blocks: dict[bytes, bytes] = {}

    def put(codec: int, block: bytes) -> Cid:
        cid = Cid.of(codec, block, version=profile.cid_version)
        blocks[cid.digest] = block
        return cid

    level = []
    for start in range(0, len(data), profile.chunk) or [0]:
        chunk = data[start : start + profile.chunk]
        block = chunk if profile.raw_leaves else unixfs.wrapped_leaf(chunk)
        level.append((put(RAW if profile.raw_leaves else DAG_PB, block), len(block), len(chunk)))
    while len(level) > 1:
        groups = [level[i : i + profile.links] for i in range(0, len(level), profile.links)]
        level = []
        for group in groups:
            links = [Link(cid, "", tsize) for cid, tsize, _ in group]
            block = encode_node(links, unixfs.file_data(size for _, _, size in group))
            total = len(block) + sum(tsize for _, tsize, _ in group)
            level.append((put(DAG_PB, block), total, sum(size for _, _, size in group)))
    return level[0][0], blocks


@given(
    st.binary(max_size=600),
    st.lists(st.integers(1, 50), max_size=10),
    st.sampled_from([SMALL, SMALL_OLD]),
)
@settings(max_examples=80, deadline=None)
def test_one_pass_finds_the_same_tree_however_the_bytes_arrive(
    data: bytes, cuts: list[int], profile: Profile
) -> None:
    root, blocks = build_by_levels(data, profile)
    leaves: list[tuple[int, int, bytes]] = []
    nodes: dict[bytes, bytes] = {}
    hasher = FileHasher(
        profile,
        on_leaf=lambda *leaf: leaves.append(leaf),
        on_node=lambda cid, block: nodes.update({cid.digest: block}),
    )
    rest = data
    for cut in cuts:
        hasher.update(rest[:cut])
        rest = rest[cut:]
    hasher.update(bytearray(rest))
    assert hasher.finish().cid == root
    for offset, length, digest in leaves:
        content = data[offset : offset + length]
        nodes[digest] = content if profile.raw_leaves else unixfs.wrapped_leaf(content)
    assert nodes == blocks
    assert b"".join(data[o : o + n] for o, n, _ in leaves) == data


@given(st.binary(max_size=600), st.sampled_from([SMALL, SMALL_OLD]))
@settings(max_examples=60, deadline=None)
def test_a_file_is_read_back_from_its_blocks(data: bytes, profile: Profile) -> None:
    root, blocks = build_by_levels(data, profile)

    def content(cid: Cid) -> bytes:
        block = blocks[cid.digest]
        if cid.codec == RAW:
            return block
        node = read_node(block)
        assert isinstance(node, FileNode)
        if not node.parts:
            return node.data
        out = b""
        for part in node.parts:
            assert part.offset == len(out)
            out += content(part.cid)
            assert part.offset + part.size == len(out)
        assert node.size == len(out)
        return out

    assert content(root) == data


def test_memory_does_not_grow_with_the_file() -> None:
    hasher = FileHasher(SMALL)
    for _ in range(3000):
        hasher.update(b"0123456789")
    levels = hasher._levels
    assert sum(len(level) for level in levels) <= SMALL.links * len(levels)
    assert hasher.finish().leaves == -(-30000 // 7)


def test_a_finished_file_takes_no_more() -> None:
    hasher = FileHasher(V1_2025)
    hasher.finish()
    with pytest.raises(RuntimeError):
        hasher.update(b"x")
    with pytest.raises(RuntimeError):
        hasher.finish()


@pytest.mark.parametrize("parts", [(0, 174, True, 1), (1, 1, True, 1), (1, 2, True, 0)])
def test_a_profile_that_builds_no_tree_is_an_error(parts: tuple[int, int, bool, int]) -> None:
    with pytest.raises(ValueError, match="profile"):
        Profile("bad", *parts)


def entry(name: str, text: bytes = b"x") -> Link:
    built = hash_bytes(text)
    return Link(built.cid, name, built.tsize)


def test_the_empty_directory_is_the_known_one() -> None:
    assert str(directory_block([])[0].cid) == VECTORS["empty_directory"]["v1"]
    assert str(directory_block([], V0_2015)[0].cid) == VECTORS["empty_directory"]["v0"]


def test_a_directory_does_not_depend_on_the_order_of_its_entries() -> None:
    links = [entry("b"), entry("\uffee"), entry("\U0001f600"), entry("a", b"y")]
    built, block = directory_block(links)
    assert directory_block(list(reversed(links))) == (built, block)
    node = read_node(block)
    assert isinstance(node, DirectoryNode)
    assert [link.name for link in node.links] == ["a", "b", "\uffee", "\U0001f600"]
    assert built.cid.matches(block)
    assert built == Built(built.cid, 0, len(block) + 4, 0, 1)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\0", "n" * 256, "\u00e9" * 128, "\ud800"])
def test_a_name_that_no_directory_can_hold_is_refused(name: str) -> None:
    with pytest.raises(Malformed):
        directory_block([entry(name)])


def test_a_name_comes_once() -> None:
    with pytest.raises(Malformed, match="twice"):
        directory_block([entry("a"), entry("a", b"y")])


@pytest.mark.parametrize("profile", [V1_2025, V0_2015], ids=lambda profile: profile.name)
def test_a_directory_that_ipfs_would_split_is_refused(profile: Profile) -> None:
    # name + CID: 264 (v0) or 266 (v1) bytes each, and 14 more in the block
    links = [Link(hash_bytes(b"").cid, f"{i:0228d}", 0) for i in range(900)]
    directory_block(links, profile)
    with pytest.raises(Refused, match="use folders inside it"):
        directory_block(links + [Link(link.cid, f"x{link.name}", 0) for link in links], profile)


def test_very_many_short_names_are_refused_too() -> None:
    with pytest.raises(Refused, match="too large"):
        directory_block(Link(hash_bytes(b"").cid, f"{i}", 0) for i in range(8193))


CHILD = Link(hash_bytes(b"12345").cid, "", 5)
FILE5 = bytes.fromhex("0802180520") + b"\x05"


def test_a_file_node_tells_where_its_parts_are() -> None:
    node = read_node(encode_node([CHILD, CHILD], bytes.fromhex("0802180a20052005")))
    assert node == FileNode(10, (Part(CHILD.cid, 0, 5), Part(CHILD.cid, 5, 5)))


@pytest.mark.parametrize(
    ("links", "data", "message"),
    [
        ([], None, "no data"),
        ([], b"", "what it is"),
        ([CHILD], bytes.fromhex("0802180a2005"), "add up"),
        ([], bytes.fromhex("0802"), "add up"),
        ([], FILE5, "1 sizes"),
        ([CHILD], bytes.fromhex("08021805"), "1 links"),
        ([entry("a", b"12345")], FILE5, "name"),
        ([CHILD], bytes.fromhex("18050802"), "order"),
        ([CHILD], bytes.fromhex("08020802"), "order"),
        ([CHILD], bytes.fromhex("08021805180520") + b"\x05", "order"),
        ([CHILD], bytes.fromhex("0802180522") + b"\x01\x05", "field 4"),
        ([CHILD], bytes.fromhex("0a0102"), "field 1"),
        ([CHILD], bytes.fromhex("0802180520053005"), "field 6"),
        ([], bytes.fromhex("0809"), "not known"),
        ([], bytes.fromhex("08011800"), "directory"),
        ([entry("a"), entry("a")], bytes.fromhex("0801"), "twice"),
        ([entry("..")], bytes.fromhex("0801"), "name"),
    ],
)
def test_a_bad_node_is_malformed(links: list[Link], data: bytes | None, message: str) -> None:
    with pytest.raises(Malformed, match=message):
        read_node(encode_node(links, data))


@pytest.mark.parametrize(
    ("links", "data", "message"),
    [
        ([], bytes.fromhex("0804"), "symlink"),
        ([], bytes.fromhex("0805"), "HAMT"),
        ([], bytes.fromhex("080218003801"), "mode"),
        ([CHILD], bytes.fromhex("0802120161180620") + b"\x05", "both"),
    ],
)
def test_other_kinds_of_node_are_refused_by_name(
    links: list[Link], data: bytes, message: str
) -> None:
    with pytest.raises(Refused, match=message):
        read_node(encode_node(links, data))


def test_a_built_node_reads_as_a_dag_pb_node_with_its_sizes() -> None:
    blocks: list[bytes] = []
    hasher = FileHasher(SMALL, on_node=lambda cid, block: blocks.append(block))
    hasher.update(bytes(20))
    built = hasher.finish()
    (block,) = blocks
    assert [link.tsize for link in decode_node(block).links] == [7, 7, 6]
    assert built.tsize == 20 + len(block)
    assert (built.leaves, built.nodes) == (3, 1)


def test_a_file_has_a_largest_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "FILE_BYTES", 10)
    hasher = FileHasher(SMALL)
    hasher.update(bytes(10))
    with pytest.raises(Malformed, match="at most 10 bytes"):
        hasher.update(b"x")
