from __future__ import annotations

import json
import time
import tracemalloc
from pathlib import Path
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols import strict
from protocols.errors import Malformed
from tests.protocols.values import MAX, values

VECTORS = json.loads((Path(__file__).parent / "vectors" / "strict.json").read_text())


def from_json(value: Any) -> Any:
    if isinstance(value, dict) and "$hex" in value:
        return bytes.fromhex(value["$hex"])
    if isinstance(value, dict):
        return {key: from_json(item) for key, item in value.items()}
    return [from_json(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize(("value", "encoding"), VECTORS["good"], ids=lambda v: str(v)[:30])
def test_every_golden_value_has_exactly_its_encoding(value: Any, encoding: str) -> None:
    assert strict.encode(from_json(value)).hex() == encoding
    assert strict.decode(bytes.fromhex(encoding), max_bytes=MAX) == from_json(value)


@pytest.mark.parametrize(("why", "encoding"), VECTORS["bad"])
def test_every_bad_encoding_is_refused(why: str, encoding: str) -> None:
    with pytest.raises(Malformed):
        strict.decode(bytes.fromhex(encoding), max_bytes=MAX)


@given(values(floats=False))
def test_signed_values_come_back_as_they_went(value: Any) -> None:
    assert strict.decode(strict.encode(value), max_bytes=MAX) == value


@given(values(floats=True))
def test_frames_with_floats_come_back_as_they_went(value: Any) -> None:
    data = strict.encode(value, floats=True)
    assert repr(strict.decode(data, max_bytes=MAX, floats=True)) == repr(_sorted(value))


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(item) for item in value] if isinstance(value, list) else value


@given(st.dictionaries(st.text("abcdef", max_size=3), st.integers(0, 9), min_size=2))
def test_the_order_in_which_a_map_was_made_does_not_matter(value: dict[str, int]) -> None:
    backwards = dict(reversed(value.items()))
    assert strict.encode(value) == strict.encode(backwards)


@given(values(floats=True))
def test_whatever_decodes_is_canonical(value: Any) -> None:
    """Any msgpack of any value either is the one encoding, or is refused."""
    data = msgpack.packb(value)
    try:
        decoded = strict.decode(data, max_bytes=MAX, floats=True)
    except Malformed:
        assert data != strict.encode(value, floats=True)
    else:
        assert strict.encode(decoded, floats=True) == data


def test_text_that_people_typed_passes_only_in_unsigned_frames() -> None:
    typed = "Cafe\u0301"  # as some keyboards send it
    assert strict.decode(strict.encode(typed, floats=True), max_bytes=9, floats=True) == typed
    with pytest.raises(Malformed, match="normal form"):
        strict.encode(typed)
    with pytest.raises(Malformed, match="normal form"):
        strict.encode({typed: 1}, floats=True)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_only_finite_floats_travel(number: float) -> None:
    with pytest.raises(Malformed, match="finite"):
        strict.encode(number, floats=True)
    with pytest.raises(Malformed, match="finite"):
        strict.decode(msgpack.packb(number), max_bytes=9, floats=True)


def test_a_float_stays_a_float_and_an_integer_an_integer() -> None:
    back = strict.decode(strict.encode([1, 1.0, -0.0], floats=True), max_bytes=99, floats=True)
    assert repr(back) == "[1, 1.0, -0.0]"


@pytest.mark.parametrize(
    "value", [{1: 2}, {b"a": 1}, {1, 2}, bytearray(b"x"), object(), 2**63, -(2**63) - 1, "\ud800"]
)
def test_what_the_profile_lacks_is_not_encoded(value: Any) -> None:
    with pytest.raises(Malformed):
        strict.encode(value)


def test_depth_is_counted_in_containers() -> None:
    value: Any = 1
    for _ in range(16):
        value = [value]
    assert strict.decode(strict.encode(value), max_bytes=99) == value
    with pytest.raises(Malformed, match="deep"):
        strict.encode([value])
    with pytest.raises(Malformed, match="deep"):
        strict.decode(strict.encode([[1]]), max_bytes=99, max_depth=1)


def test_a_value_that_contains_itself_is_refused() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(Malformed, match="deep"):
        strict.encode(value)


def test_size_is_checked_before_anything_else() -> None:
    data = strict.encode("x" * 100)
    assert strict.decode(data, max_bytes=len(data)) == "x" * 100
    with pytest.raises(Malformed, match="over the limit"):
        strict.decode(data, max_bytes=len(data) - 1)


@given(values(floats=True), st.integers(0, 40))
@settings(max_examples=60)
def test_values_are_counted_with_map_keys(value: Any, limit: int) -> None:
    data = strict.encode(value, floats=True)
    if _count(value) <= limit:
        assert (
            strict.decode(data, max_bytes=MAX, max_items=limit, floats=True) is not NotImplemented
        )
    else:
        with pytest.raises(Malformed, match=f"more than {limit} values"):
            strict.decode(data, max_bytes=MAX, max_items=limit, floats=True)


def _count(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + sum(1 + _count(item) for item in value.values())
    return 1 + sum(_count(item) for item in value) if isinstance(value, list) else 1


@pytest.mark.parametrize(
    "data",
    [
        b"\xdd\xff\xff\xff\xff" * 200,  # arrays inside arrays, each claiming 4 Gi values
        b"\xdd\x00\x00\xc3\x50" * 1000 + b"\xc0" * 50_000,  # each claims what lies after it
        b"\xdd\x00\x10\x00\x00" + b"\x90" * (1 << 20),  # a million empty lists in a megabyte
        b"\x91" * (1 << 20),
        b"\xdf\xff\xff\xff\xff" * 200,
        b"\xdc\xff\xff" * 1000,
    ],
    ids=["claims", "shared", "many", "deep", "maps", "wide"],
)
def test_lying_lengths_and_floods_cost_neither_memory_nor_time(data: bytes) -> None:
    tracemalloc.start()
    started = time.perf_counter()
    with pytest.raises(Malformed):
        strict.decode(data, max_bytes=2 << 20)
    took = time.perf_counter() - started
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 << 20
    assert took < 1.0


class Point(strict.Message, frozen=True):
    x: int
    tag: bytes = b""


class Line(strict.Message, frozen=True):
    ends: tuple[Point, Point]


def test_messages_go_to_plain_values_and_back() -> None:
    line = Line((Point(1, b"\0"), Point(2)))
    data = strict.encode(strict.from_struct(line))
    assert strict.to_struct(Line, strict.decode(data, max_bytes=99)) == line


@pytest.mark.parametrize(
    "value",
    [
        {"x": 1, "y": 2},  # unknown field
        {"tag": b""},  # missing field
        {"x": "1"},  # text is no number
        {"x": True},  # nor is a truth value
        {"x": 1, "tag": "aGk="},  # text is not bytes, base64 or not
        [1, b""],
        None,
    ],
)
def test_a_wrong_shape_is_malformed(value: Any) -> None:
    with pytest.raises(Malformed):
        strict.to_struct(Point, value)


def test_unknown_fields_are_refused_in_the_depth_too() -> None:
    with pytest.raises(Malformed, match=r"unknown field `z`"):
        strict.to_struct(Line, {"ends": [{"x": 1}, {"x": 2, "z": 3}]})


class Circle(strict.Message, frozen=True, tag="circle", tag_field="kind"):
    radius: int


class Square(strict.Message, frozen=True, tag="square", tag_field="kind"):
    side: int


def test_one_of_several_messages_is_told_by_its_tag() -> None:
    value = strict.from_struct(Square(2))
    assert value == {"kind": "square", "side": 2}
    assert strict.to_struct(Circle | Square, value) == Square(2)
    with pytest.raises(Malformed):
        strict.to_struct(Circle | Square, {"kind": "line", "side": 2})
