"""What the screens say, as plain functions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.http.control import ChatMessage, Conversation, Memory, Removed, Status, Transfer
from tests.support.fake_node import FakeNode, model
from tui.chat import view as chat
from tui.chat.pastes import History, Pastes
from tui.link import Link, Pace
from tui.models import view as models
from tui.view import (
    asked,
    fitting,
    in_bytes,
    minutes,
    navigation,
    one_line,
    size,
    status_line,
)


def message(id: str, parent: str | None = None, **facts: Any) -> ChatMessage:
    plain: dict[str, object] = {"role": "assistant", "text": "hello", "at": 0.0}
    return msgspec.convert({"id": id, "parent": parent, **plain, **facts}, ChatMessage)


def conversation(*messages: ChatMessage, head: str | None = None, title: str = "") -> Conversation:
    return Conversation("c", title, 0.0, 0.0, "device", "", head, messages=messages)


def status(**facts: object) -> Status:
    return msgspec.structs.replace(FakeNode().status(), **facts)


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0B"), (999, "999B"), (1000, "1K"), (1_200_000, "1.2M"), (4.7e9, "4.7G"), (3e12, "3.0T")],
)
def test_sizes_are_short(count: float, text: str) -> None:
    assert size(count) == text
    assert in_bytes(count).endswith("B")


def test_long_waits_are_in_minutes() -> None:
    assert minutes(45) == "45 s"
    assert minutes(600) == "10 min"


def test_one_line_has_no_line_ends_and_shows_what_is_cut() -> None:
    assert one_line("a\n b\tc") == "a b c"
    assert one_line("x" * 50, 10) == "x" * 9 + "…"


@given(st.text(max_size=80), st.integers(20, 220))
def test_the_navigation_is_never_wider_than_the_screen(title: str, width: int) -> None:
    line = navigation("chat", title, width)
    assert line.startswith("[1 Chat]")
    assert len(line) <= max(width, len("[1 Chat]  2 Models  "))


def test_the_status_line_says_what_leaves_before_anything_else_and_never_cuts_it() -> None:
    network = "nothing leaves this machine but the pulls you ask for"
    link = Link(status(network=network, backed_up=False, jobs_running=2))
    assert status_line(link, 60) == network
    assert status_line(link, 200).startswith(network)
    assert "no backup yet" in status_line(link, 200)
    assert "2 answering" in status_line(link, 200)


def test_a_node_that_is_gone_is_named_with_the_number_of_tries() -> None:
    line = status_line(Link(status(), tries=3), 80)
    assert "reconnecting, try 3" in line
    assert "draft is safe" in line


def test_before_the_first_answer_it_connects() -> None:
    assert "connecting" in status_line(Link(), 80)
    assert asked(Link()) == "to: not connected"


def test_who_is_asked_and_that_the_starter_is_a_starter() -> None:
    assert "tiny" in asked(Link(status(default_model="starter")))
    assert asked(Link(status(default_model="qwen3"))) == "to: qwen3 on this machine"
    assert "no model" in asked(Link(status(default_model="")))


def test_a_key_line_drops_the_last_keys_first() -> None:
    keys = [("a", "add"), ("p", "pull"), ("x", "remove")]
    assert fitting(keys, 80) == keys
    assert fitting(keys, 14) == keys[:2]
    assert fitting(keys, 3) == []


def test_waiting_grows_with_each_try_up_to_a_bound() -> None:
    pace = Pace(calm=3, first=0.5, longest=5)
    assert pace.after(Link(status())) == 3
    waits = [pace.after(Link(None, tries=n)) for n in range(1, 2000)]
    assert waits[0] == 0.5
    assert waits == sorted(waits)
    assert waits[-1] == 5


def test_the_branch_goes_from_the_root_to_the_head() -> None:
    tree = [message("a"), message("b", "a"), message("other", "a"), message("c", "b")]
    found = chat.branch(conversation(*tree, head="c"))
    assert [each.id for each in found] == ["a", "b", "c"]


def test_a_branch_that_is_a_ring_ends() -> None:
    tree = [message("a", "b"), message("b", "a")]
    assert len(chat.branch(conversation(*tree, head="a"))) == 2


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"state": "running"}, "another program"),
        ({"state": "unfinished"}, "what came is kept"),
        ({"state": "failed", "error": "no memory"}, "failed: no memory"),
        ({"state": "failed"}, "failed"),
        (
            {"tokens": 5, "tokens_per_s": 31.4, "first_token_s": 0.44},
            "5 tok | 31 tok/s | first 440 ms",
        ),
    ],
)
def test_below_an_answer_stands_how_it_went(facts: dict[str, Any], words: str) -> None:
    assert words in chat.answered(message("a", **facts))


def test_a_long_message_is_shortened_on_the_screen_with_its_measure() -> None:
    text = "\n".join(f"line {n}" for n in range(340))
    shown, rest = chat.shortened(text)
    assert text.startswith(shown)
    assert shown.count("\n") == chat.SHOWN_LINES - 1
    assert "340 lines" in rest
    assert chat.shortened("short") == ("short", "")


def test_past_conversations_are_latest_first_and_hold_every_word() -> None:
    made = [
        msgspec.structs.replace(conversation(title=title), id=title, updated_at=at)
        for title, at in (("Cats and dogs", 1.0), ("cats", 3.0), ("birds", 2.0))
    ]
    assert [each[0] for each in chat.past(made, "", 0.0)] == ["cats", "birds", "Cats and dogs"]
    assert [each[0] for each in chat.past(made, "dogs cats", 0.0)] == ["Cats and dogs"]


@given(st.integers(0, 300), st.lists(st.booleans(), max_size=40))
def test_a_window_never_holds_more_than_its_most_and_stays_inside(
    count: int, moves: list[bool]
) -> None:
    window = chat.Window.at_end(count)
    for older in moves:
        window = window.older() if older else window.newer(count)
        assert 0 <= window.start <= window.end <= count
        assert window.end - window.start <= chat.Window.MOST
        assert window.end - window.start >= min(count, chat.Window.MOST)


def test_models_come_default_first_and_transfers_before_them() -> None:
    transfer = Transfer("t", "pull", "hf:a/b/c.gguf", "c", "running", 41, 100, 6.1e6, 420.0)
    done = Transfer("u", "pull", "x", "x", "done")
    rows = models.rows(
        [model("zeta"), model("alpha"), model("beta", default=True)], [transfer, done]
    )
    assert [row.key for row in rows] == ["transfer:t", "model:beta", "model:alpha", "model:zeta"]
    assert rows[0].cells[1] == "41 %, 6.1M/s, 7 min left"
    assert models.rows([model("alpha"), model("beta")], [], "ALP")[0].cells[0] == "alpha"
    assert models.rows([model("alpha")], [], "gone") == []


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"state": "waiting"}, "waiting"),
        ({"state": "checking"}, "checking the file"),
        ({"state": "failed"}, "failed"),
        ({"state": "running", "done": 5000}, "5K so far, stalled"),
        ({"state": "running", "done": 1, "total": 2, "rate": 0.0}, "50 %, stalled"),
    ],
)
def test_progress_is_words(facts: dict[str, object], words: str) -> None:
    plain: dict[str, object] = {"id": "t", "kind": "pull", "ref": "r", "name": "n"}
    assert models.progress(msgspec.convert({**plain, **facts}, Transfer)) == words


def test_a_stopped_pull_says_that_it_goes_on_where_it_was() -> None:
    pull = Transfer("t", "pull", "r", "n", "stopped")
    assert "Enter goes on" in models.next_step(pull)
    assert "tries again" in models.next_step(msgspec.structs.replace(pull, kind="add"))
    assert "s stops" in models.next_step(msgspec.structs.replace(pull, state="running"))


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"storage": "own"}, "1.2MB are freed"),
        ({"storage": "linked"}, "the file you added stays"),
        ({"storage": "reference"}, "belongs to another program"),
        ({"starter": True}, "built-in starter"),
    ],
)
def test_the_question_before_removal_says_what_is_lost(
    facts: dict[str, object], words: str
) -> None:
    assert words in models.question_before_removal(model("m", **facts))


def test_after_removal_the_freed_bytes_are_named() -> None:
    assert models.removed(Removed("m", 0)) == "m is removed; no file was deleted"
    assert "4.7GB freed" in models.removed(Removed("m", 4_700_000_000))


def test_a_model_in_words() -> None:
    row = models.model_row(
        model("m", architecture="llama", parameters=1_100_000, licence="mit", fit_reason="fits")
    )
    for words in ("llama", "1.1 M parameters", "mit", "fits", "label device"):
        assert words in row.detail
    assert "free 4.0GB" in models.memory_line(Memory(8 * 10**9, 4 * 10**9, 3 * 10**9, 0))


def test_a_typed_path_becomes_absolute_here() -> None:
    home, here = Path("/home/me"), Path("/there")
    assert models.path_of("~/m.gguf", home, here) == "/home/me/m.gguf"
    assert models.path_of(" 'a b.gguf' ", home, here) == "/there/a b.gguf"
    assert models.path_of("/x/y", home, here) == "/x/y"
    assert models.path_of("~", home, here) == "/home/me"


def test_each_stand_in_is_replaced_where_it_stands() -> None:
    pastes = Pastes()
    one, two = pastes.keep("A" * 3000), pastes.keep("B\n" * 30)
    assert (
        pastes.expand(f"x {two} y {one} z")
        == f"x {'B' + chr(10)}" + "B\n" * 29 + " y " + "A" * 3000 + " z"
    )
    pastes.clear()
    assert pastes.expand(one) == one


def test_a_stand_in_whose_text_names_another_is_not_expanded_twice() -> None:
    pastes = Pastes()
    first = pastes.keep("x" * 3000)
    second = pastes.keep(first + "y" * 3000)
    assert pastes.expand(second) == first + "y" * 3000


def test_edits_take_stand_ins_whole() -> None:
    pastes = Pastes()
    token = pastes.keep("A" * 3000)
    line = f"ab{token}cd"
    end = 2 + len(token)
    assert pastes.around(line, 0, 1) == (0, 1)
    assert pastes.around(line, 1, 4) == (1, end)
    assert pastes.around(line, end - 1, end + 1) == (2, end + 1)
    assert pastes.around(line, 5, 5) == (end, end)
    assert pastes.around(line, 2, 2) == (2, 2)


def test_history_ends_at_the_draft() -> None:
    past = History()
    assert past.older() is None
    past.fill(["a", "b"])
    past.add("b")
    assert [past.older(), past.older(), past.older()] == ["b", "a", None]
    assert [past.newer(), past.newer(), past.newer()] == ["b", "", ""]
    assert not past.browsing
