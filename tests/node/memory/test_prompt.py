"""What a model is asked, and how a chat that outgrew its context is shortened."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from node.memory.prompt import as_asked, branch, joined, reserve, shorten
from protocols.http.control import ChatMessage
from protocols.jobs import Message


def message(id: str, parent: str | None, role: str = "user", text: str = "x") -> ChatMessage:
    return ChatMessage(id, parent, role, text, 0.0)  # type: ignore[arg-type]


async def words(messages: tuple[Message, ...]) -> int:
    """A tokenizer for tests: a word is a token, and each message costs one more."""
    return sum(len(each.content.split()) + 1 for each in messages)


def chat(turns: int, system: bool = True) -> tuple[Message, ...]:
    start = (Message("system", "be brief"),) if system else ()
    pairs = [
        each
        for turn in range(turns)
        for each in (Message("user", f"question {turn}"), Message("assistant", f"answer {turn}"))
    ]
    return (*start, *pairs, Message("user", "last question"))


def test_a_branch_is_the_way_from_the_root() -> None:
    tree = [message("a", None), message("b", "a"), message("c", "a"), message("d", "c")]
    assert [each.id for each in branch(tree, "d")] == ["a", "c", "d"]
    assert branch(tree, None) == []


def test_a_damaged_tree_still_ends() -> None:
    assert len(branch([message("a", "b"), message("b", "a")], "a")) == 2


def test_empty_answers_are_left_out_and_questions_joined() -> None:
    asked = as_asked([message("a", None), message("b", "a", "assistant", ""), message("c", "b")])
    assert joined(asked) == (Message("user", "x\n\nx"),)


async def test_a_question_that_never_fitted_does_not_block_the_next() -> None:
    asked = (Message("system", "be brief"), Message("user", "w " * 500), Message("user", "next"))
    prompt = await shorten(asked, lambda: 64, None, words)
    assert (prompt.messages, prompt.dropped) == ((asked[0], asked[2]), 1)


def test_the_answer_never_reserves_more_than_half_the_context() -> None:
    assert reserve(4096, None) == 1024
    assert reserve(512, None) == 128
    assert reserve(512, 10_000) == 256
    assert reserve(512, 100) == 100


async def test_what_fits_is_not_touched() -> None:
    prompt = await shorten(chat(3), lambda: 4096, None, words)
    assert (prompt.messages, prompt.dropped, prompt.notice) == (chat(3), 0, "")


async def test_the_oldest_turns_go_the_system_message_and_question_stay() -> None:
    prompt = await shorten(chat(20), lambda: 64, 20, words)
    assert prompt.messages[0] == Message("system", "be brief")
    assert prompt.messages[1].role == "user"
    assert prompt.messages[-1] == Message("user", "last question")
    assert prompt.dropped == len(chat(20)) - len(prompt.messages)
    assert f"oldest {prompt.dropped} messages" in prompt.notice


async def test_a_question_that_is_too_long_alone_is_left_to_the_model() -> None:
    long = (Message("user", "old"), Message("assistant", "old"), Message("user", "w " * 500))
    prompt = await shorten(long, lambda: 64, None, words)
    assert prompt.messages == long[2:]


async def test_without_a_known_context_nothing_is_dropped() -> None:
    assert (await shorten(chat(500), lambda: None, None, words)).dropped == 0


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 40), st.integers(16, 300), st.booleans())
async def test_as_few_turns_as_possible_are_dropped(turns: int, context: int, system: bool) -> None:
    whole = chat(turns, system)
    prompt = await shorten(whole, lambda: context, None, words)
    room = context - reserve(context, None)
    fits = await words(prompt.messages) <= room
    assert fits or len([each for each in prompt.messages if each.role == "user"]) == 1
    if prompt.dropped:
        head = len(whole) - len(prompt.messages) + int(system) - 2
        one_more = (*whole[: int(system)], *whole[head:])
        assert await words(one_more) > room
