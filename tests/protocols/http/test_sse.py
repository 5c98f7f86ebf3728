"""Event streams: written as browsers read them, read in pieces of any size, never without a bound."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.errors import Malformed
from protocols.http import sse


def read(data: bytes) -> list[sse.Event]:
    return sse.Parser().feed(data)


def feed_often(parser: sse.Parser, chunk: bytes) -> None:
    for _ in range(200):
        parser.feed(chunk)


def test_an_event_survives_the_way() -> None:
    assert read(sse.encode(b'{"a":1}')) == [sse.Event('{"a":1}')]


def test_name_and_id_survive_too() -> None:
    assert read(sse.encode(b"x", event="error", id="7")) == [sse.Event("x", "error", "7")]


def test_line_ends_inside_the_data_become_lines() -> None:
    assert read(sse.encode(b"a\nb\r\nc\rd")) == [sse.Event("a\nb\nc\nd")]


def test_comments_and_unknown_fields_are_skipped() -> None:
    assert read(sse.COMMENT + b"retry: 10\nfoo\ndata: x\n\n") == [sse.Event("x")]


def test_an_event_without_data_is_none() -> None:
    assert read(b"event: ping\n\ndata: x\n\n") == [sse.Event("x")]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_all_three_line_ends_are_known(end: bytes) -> None:
    parser = sse.Parser()
    found = parser.feed(b"data: a" + end + b"data: b" + end + end + b"data: c" + end + end)
    assert found == [sse.Event("a\nb"), sse.Event("c")]


def test_one_byte_at_a_time_gives_the_same() -> None:
    stream = b"\xef\xbb\xbfdata: \xc3\xa4\r\n\r\n: c\rdata:b\r\rdata: [DONE]\n\n"
    parser = sse.Parser()
    found = [event for i in range(len(stream)) for event in parser.feed(stream[i : i + 1])]
    assert found == [sse.Event("ä"), sse.Event("b"), sse.Event("[DONE]")]


def test_a_line_without_end_is_refused_at_the_bound() -> None:
    parser = sse.Parser(max_line=100)
    with pytest.raises(Malformed, match="longer than 100"):
        feed_often(parser, b"x" * 10)


def test_a_long_line_that_ends_is_refused_too() -> None:
    with pytest.raises(Malformed, match="longer than 100"):
        sse.Parser(max_line=100).feed(b"data: " + b"x" * 200 + b"\n\n")


def test_an_event_of_endless_lines_is_refused() -> None:
    parser = sse.Parser(max_line=100, max_event=1000)
    with pytest.raises(Malformed, match="larger than 1000"):
        feed_often(parser, b"data: " + b"x" * 10 + b"\n")


def test_bytes_that_are_no_utf8_are_refused() -> None:
    with pytest.raises(Malformed, match="UTF-8"):
        read(b"data: \xff\n\n")


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text()), st.lists(st.integers(1, 20), min_size=1))
def test_any_split_of_any_stream_reads_the_same(texts: list[str], cuts: list[int]) -> None:
    stream = b"".join(sse.encode(text.encode()) for text in texts)
    parser, found, at, turn = sse.Parser(), [], 0, 0
    while at < len(stream):
        size = cuts[turn % len(cuts)]
        found += parser.feed(stream[at : at + size])
        at, turn = at + size, turn + 1
    lines = [text.replace("\r\n", "\n").replace("\r", "\n") for text in texts]
    assert [event.data for event in found] == lines


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_give_events_or_malformed(data: bytes) -> None:
    with suppress(Malformed):
        read(data)
