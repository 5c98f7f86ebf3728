"""The channel between a job and its reader: ordered, bounded, with exactly one end."""

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from node.serving.answer import Answer
from protocols.jobs import Ended, Failed, Piece, Started, TokenLogprob, Usage, Vectors

END = Ended("stop", Usage(1, 1))


def released(**bounds: int) -> Answer:
    answer = Answer(**bounds)  # type: ignore[arg-type]
    answer.release()
    return answer


async def test_events_come_in_order_and_the_channel_ends_after_the_last_one() -> None:
    answer = released()
    answer.put(Started(3))
    answer.put(Piece("a", (1,)))
    answer.finish(END)
    assert [event async for event in answer] == [Started(3), Piece("a", (1,)), END]
    with pytest.raises(trio.EndOfChannel):
        await answer.receive()


async def test_only_the_first_end_counts_and_nothing_comes_after_it() -> None:
    answer = released()
    answer.finish(END)
    answer.finish(Failed("internal", "too late"))
    answer.put(Piece("too late"))
    assert [event async for event in answer] == [END]


async def test_nothing_is_handed_out_before_the_release() -> None:
    answer = Answer()
    answer.put(Piece("secret"))
    with trio.move_on_after(0.01) as scope:
        await answer.receive()
    assert scope.cancelled_caught
    with pytest.raises(trio.WouldBlock):
        answer.receive_nowait()
    answer.release()
    assert await answer.receive() == Piece("secret")


async def test_a_waiting_reader_is_woken() -> None:
    answer, got = released(), []

    async def read() -> None:
        got.append(await answer.receive())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await wait_all_tasks_blocked()
        answer.put(Piece("now"))
    assert got == [Piece("now")]


async def test_behind_a_slow_reader_pieces_grow_together_and_nothing_is_lost() -> None:
    answer = released(max_events=4)
    answer.put(Started(1))
    for number in range(1000):
        logprob = TokenLogprob(str(number), -0.5, b"x")
        answer.put(Piece(f"{number} ", (number,), (logprob,)))
    answer.finish(END)
    events = [event async for event in answer]
    pieces = [event for event in events if isinstance(event, Piece)]
    assert len(events) < 10
    assert "".join(piece.text for piece in pieces) == "".join(f"{n} " for n in range(1000))
    assert [token for piece in pieces for token in piece.tokens] == list(range(1000))
    assert sum(len(piece.logprobs) for piece in pieces) == 1000
    assert events[-1] == END


async def test_a_reader_that_reads_nothing_fails_the_job_at_a_bound() -> None:
    calls = []
    answer = Answer(lambda: calls.append("full"), max_events=4, max_bytes=10_000)
    answer.release()
    for _ in range(200):
        answer.put(Piece("x" * 100))
    assert calls == ["full"]
    answer.finish(Failed("overloaded", "slow"))
    events = [event async for event in answer]
    assert events[-1] == Failed("overloaded", "slow")
    assert sum(len(event.text) for event in events if isinstance(event, Piece)) <= 10_000


def test_what_was_read_no_longer_counts_against_the_bound() -> None:
    calls = []
    answer = Answer(lambda: calls.append("full"), max_events=2, max_bytes=2_000)
    answer.release()
    for _ in range(1000):
        answer.put(Piece("x" * 100))
        answer.put(Piece("y" * 100))
        answer.put(Piece("z" * 100))
        while True:
            try:
                answer.receive_nowait()
            except trio.WouldBlock:
                break
    assert calls == []


async def test_a_job_can_begin_again_while_nothing_of_the_answer_was_read() -> None:
    answer = released()
    answer.put(Started(3, 0, 9))
    answer.put(Piece("lost", (1,)))
    assert await answer.receive() == Started(3, 0, 9)
    assert answer.rewind()
    answer.put(Started(3, 0, 9))
    answer.put(Piece("kept", (2,)))
    answer.finish(END)
    assert [event async for event in answer] == [Piece("kept", (2,)), END]


@pytest.mark.parametrize("content", [Piece("a"), Vectors(((1.0,),))])
async def test_once_a_part_of_the_answer_was_read_there_is_no_second_beginning(
    content: Piece | Vectors,
) -> None:
    answer = released()
    answer.put(content)
    await answer.receive()
    assert not answer.rewind()


async def test_tokens_are_counted_even_for_a_reader_that_left() -> None:
    answer = released()
    answer.put(Started(5, 2))
    answer.put(Piece("a b", (1, 2)))
    assert answer.so_far == Usage(5, 2, 2)
    await answer.aclose()
    with pytest.raises(trio.ClosedResourceError):
        await answer.receive()
    answer.put(Piece("ignored", (3,)))
    answer.finish(END)
    with pytest.raises(trio.ClosedResourceError):
        answer.receive_nowait()


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.text(max_size=20), max_size=60),
    st.lists(st.booleans(), max_size=60),
    st.integers(1, 6),
)
def test_whatever_the_pace_the_text_is_whole(
    texts: list[str], reads: list[bool], bound: int
) -> None:
    answer, got = released(max_events=bound), []
    for number, text in enumerate(texts):
        answer.put(Piece(text, (number,)))
        if number < len(reads) and reads[number]:
            got.append(answer.receive_nowait())
    answer.finish(END)
    while got[-1:] != [END]:
        got.append(answer.receive_nowait())
    pieces = [event for event in got if isinstance(event, Piece)]
    assert "".join(piece.text for piece in pieces) == "".join(texts)
    assert [token for piece in pieces for token in piece.tokens] == list(range(len(texts)))
