"""The protobuf walker: both forms of lists, and messages that lie about their size."""

import io

import pytest

from models.errors import BadModel
from models.onnxgraph import Graph, GraphReader
from models.protobuf import BYTES, VARINT, Field, Walker
from models.reading import Cursor


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*out, number))


def part(number: int, data: bytes) -> bytes:
    return varint(number << 3 | BYTES) + varint(len(data)) + data


def number(field: int, value: int) -> bytes:
    return varint(field << 3 | VARINT) + varint(value)


def walker(data: bytes) -> Walker:
    return Walker(Cursor(io.BytesIO(data), len(data)))


def graph(*parts: bytes) -> Graph:
    data = part(7, b"".join(parts))
    return GraphReader(walker(data)).read(len(data))


def test_fields_are_read_and_unknown_ones_passed() -> None:
    data = number(1, 300) + part(99, b"abc") + b"\x11" + b"\0" * 8 + b"\x1d" + b"\0" * 4
    fields = list(walker(data).fields(len(data)))
    assert fields == [Field(1, 0, 300), Field(99, 2, 3), Field(2, 1, 0), Field(3, 5, 0)]


def test_a_shape_may_be_packed_or_not() -> None:
    packed = graph(part(5, part(1, varint(3) + varint(200)) + number(2, 1)))
    single = graph(part(5, number(1, 3) + number(1, 200) + number(2, 1)))
    assert packed.parameters == single.parameters == 600
    assert packed.bits_by_type == {1: 600 * 32}


@pytest.mark.parametrize(
    "tensor",
    [
        part(1, varint(3) * 65),
        number(1, 3) * 65,
        part(1, varint(1 << 40) * 2),
        part(1, b"\x80"),
        part(8, b"a") * 2,
        part(8, b"\xff"),
        part(8, b"a" * 5000),
    ],
)
def test_a_senseless_tensor_is_refused(tensor: bytes) -> None:
    with pytest.raises(BadModel):
        graph(part(5, tensor))


def test_too_many_tensors_in_other_files_are_refused() -> None:
    with pytest.raises(BadModel, match="in other files"):
        graph(part(5, number(14, 1)) * ((1 << 16) + 1))


@pytest.mark.parametrize(
    "data",
    [
        b"\x00\x00",
        b"\x0c",
        b"\x08" + b"\xff" * 9 + b"\x02",
        b"\x08" + b"\xff" * 10,
        part(7, b"") * 2,
        part(7, part(5, b"\x0a\x7f")),
        part(7, b"\x2a\x02\x08"),
    ],
)
def test_a_message_that_lies_is_refused(data: bytes) -> None:
    with pytest.raises(BadModel):
        GraphReader(walker(data)).read(len(data))


def test_two_halves_of_one_tensor_are_not_merged() -> None:
    attribute = part(5, part(13, b"")) + part(5, number(1, 4))
    with pytest.raises(BadModel, match="belongs there once"):
        graph(part(1, part(5, attribute)))


def test_a_dimension_that_may_vary_has_no_length() -> None:
    shape = part(1, number(1, 4)) + part(1, part(2, b"n")) + part(1, number(1, (1 << 64) - 1))
    port = part(1, b"x") + part(2, part(1, number(1, 7) + part(2, shape)))
    assert graph(part(11, port)).inputs[0].dims == (4, None, None)
