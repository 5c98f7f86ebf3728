"""The chat screen against a node whose tokens come one by one."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import msgspec
from textual.widget import Widget
from textual.widgets.text_area import Selection

from protocols.http.control import Problem
from tests.support.fake_node import Wrong
from tests.tui.driving import Driver, driven, in_asyncio, until
from tui.chat.past import PastList, PastScreen
from tui.chat.screen import ChatScreen
from tui.chat.turns import Done, Question
from tui.dialogs import Confirm, Help
from tui.models.screen import ModelsScreen


@in_asyncio
async def test_a_question_is_sent_and_its_answer_grows_token_by_token(tmp_path: Path) -> None:
    async with driven(tmp_path) as it:
        await it.write("tell me a joke")
        await it.press("enter")
        await until(lambda: it.node.said)
        assert it.node.said[0].text == "tell me a joke"
        assert it.chat.prompt.text == ""
        it.node.release(2)
        await until(lambda: "Why did" in it.shown())
        assert "it?" not in it.shown()
        it.node.release(2)
        await it.answered()
        await until(lambda: "Why did it?" in it.shown())
        assert "this machine | 3 tok" in it.shown()
        await until(lambda: "tell me a joke" in it.line("navigation"))


@in_asyncio
async def test_esc_keeps_exactly_the_tokens_that_came_and_closes_the_request(
    tmp_path: Path,
) -> None:
    async with driven(tmp_path) as it:
        it.node.tokens = [f"w{n} " for n in range(20)]
        await it.ask("go")
        it.node.release(3)
        await until(lambda: "w2" in it.shown())
        await it.press("escape")
        await it.answered()
        await until(lambda: it.node.closed_early == 1)
        message = it.chat.transcript.messages[-1]
        assert message.text == "w0 w1 w2 "
        assert message.state == "unfinished"
        await until(lambda: "stopped: what came is kept" in it.shown())
        assert "w3" not in it.shown()


@in_asyncio
async def test_ctrl_c_stops_the_answer_and_never_quits(tmp_path: Path) -> None:
    async with driven(tmp_path) as it:
        await it.ask("go")
        await it.press("ctrl+c")
        await it.answered()
        await until(lambda: it.node.closed_early == 1)
        await it.press("ctrl+c")
        await until(lambda: "Ctrl+Q leaves" in it.shown())
        assert it.app.is_running


@in_asyncio
async def test_ctrl_c_copies_what_is_selected_and_leaves_the_answer_alone(tmp_path: Path) -> None:
    async with driven(tmp_path) as it:
        await it.ask("go")
        await it.write("copy me")
        await it.press("shift+home", "ctrl+c")
        await until(lambda: it.app.clipboard == "copy me")
        assert it.chat.answering
        await until(lambda: "copied 7 characters" in it.shown())


@in_asyncio
async def test_ctrl_j_begins_a_new_line_and_the_whole_draft_is_sent(tmp_path: Path) -> None:
    async with driven(tmp_path) as it:
        await it.write("one")
        await it.press("ctrl+j")
        await it.write("two")
        await it.press("enter")
        await until(lambda: it.node.said)
        assert it.node.said[0].text == "one\ntwo"


@in_asyncio
async def test_up_on_an_empty_prompt_brings_back_what_was_asked(tmp_path: Path) -> None:
    async with driven(tmp_path) as it:
        for text in ("first", "second"):
            it.node.release(4)
            await it.ask(text)
            await it.answered()
        await it.press("up")
        assert it.chat.prompt.text == "second"
        await it.press("up")
        assert it.chat.prompt.text == "first"
        await it.press("down", "down")
        assert it.chat.prompt.text == ""
        await it.write("x")
        await it.press("up")
        assert it.chat.prompt.text == "x"


@in_asyncio
async def test_a_second_question_waits_for_the_first_answer(tmp_path: Path) -> None:
    async with driven(tmp_path) as it:
        await it.ask("one")
        await it.write("two")
        await it.press("enter")
        await until(lambda: "An answer is being written" in it.shown())
        assert it.chat.prompt.text == "two"
        assert len(it.node.said) == 1


@in_asyncio
async def test_an_empty_draft_is_not_sent(tmp_path: Path) -> None:
    async with driven(tmp_path) as it:
        await it.press("space", "enter")
        await it.pilot.pause()
        assert it.node.log.count("POST /node/v1/conversations") == 0


@in_asyncio
async def test_a_new_chat_begins_empty_and_the_old_one_is_found_again(tmp_path: Path) -> None:
    async with driven(tmp_path) as it:
        it.node.release(4)
        await it.ask("about cats")
        await it.answered()
        await it.press("ctrl+n")
        await until(lambda: "You ask starter" in it.shown())
        assert "new chat" in it.line("navigation")
        await it.press("ctrl+o")
        await until(lambda: isinstance(it.app.screen, PastScreen))
        await it.write("cats")
        await it.press("enter")
        await until(lambda: "Why did it?" in it.shown())
        assert "about cats" in it.line("navigation")


@in_asyncio
async def test_past_conversations_are_searched_by_title(tmp_path: Path) -> None:
    async with driven(tmp_path) as it:
        it.node.conversation("about dogs", ("woof", "yes"), at=1.0)
        it.node.conversation("about cats", ("meow", "no"), at=2.0)
        await it.press("ctrl+o")
        await until(lambda: isinstance(it.app.screen, PastScreen))
        found = it.app.screen.query_one(PastList)
        assert found.option_count == 2
        await it.write("dog")
        await until(lambda: found.option_count == 1)
        await it.write("x")
        await until(lambda: "No title holds" in it.shown())
        await it.press("escape")
        await until(lambda: it.app.screen is it.app.screen_stack[0])


@in_asyncio
async def test_deleting_a_conversation_asks_first(tmp_path: Path) -> None:
    async with driven(tmp_path) as it:
        made = it.node.conversation("about dogs", ("woof", "yes"))
        expected: list[tuple[str, set[str]]] = [("n", {made.id}), ("y", set())]
        for answer, left in expected:
            await it.press("ctrl+o")
            await until(lambda: isinstance(it.app.screen, PastScreen))
            await it.press("ctrl+d")
            await until(lambda: isinstance(it.app.screen, Confirm))
            await it.press(answer)
            await until(partial(lambda left: set(it.node.conversations) == left, left))
            await until(lambda: it.app.screen is it.app.screen_stack[0])


@in_asyncio
async def test_the_first_screen_says_who_is_asked_and_what_to_try(tmp_path: Path) -> None:
    async with driven(tmp_path) as it:
        await until(lambda: "You ask starter" in it.shown())
        for words in (
            "do not leave this machine",
            "tell me a joke",
            "starter model",
            "nothing leaves this machine",
        ):
            await until(partial(lambda words: words in it.shown(), words), words)


@in_asyncio
async def test_a_refused_question_comes_back_to_the_prompt(tmp_path: Path) -> None:
    async with driven(tmp_path) as it:
        conversation = it.node.conversation("x", ("a", "b"))
        await it.chat._open(conversation.id)
        it.node.problem = Wrong(400, "context_length_exceeded", "too long", "shorten it")
        await it.write("hello")
        await it.press("enter")
        await until(lambda: "too long: shorten it" in it.shown())
        assert it.chat.prompt.text == "hello"
        assert "Nothing was sent" in it.shown()


@in_asyncio
async def test_a_failed_answer_keeps_what_came_and_says_why(tmp_path: Path) -> None:
    async with driven(tmp_path) as it:
        it.node.fails_with = Problem("worker_died", "the model's process ended", "ask again")
        it.node.release(4)
        await it.ask("go")
        await it.answered()
        await until(lambda: "the model's process ended: ask again" in it.shown())
        assert "Why did it?" in it.shown()
        assert "failed" in it.shown()


@in_asyncio
async def test_a_connection_that_breaks_keeps_what_came(tmp_path: Path) -> None:
    async with driven(tmp_path) as it:
        it.node.cut_after = 2
        it.node.release(2)
        await it.ask("go")
        await it.answered()
        await until(lambda: "what came of the answer are kept" in it.shown())
        assert it.chat.transcript.messages[-1].text == "Why did"


@in_asyncio
async def test_a_node_that_goes_away_is_waited_for_and_the_draft_is_safe(tmp_path: Path) -> None:
    async with driven(tmp_path) as it:
        it.node.release(4)
        await it.ask("before")
        await it.answered()
        await it.write("my draft")
        await it.node.stop()
        await until(lambda: "reconnecting, try 2" in it.line("status"))
        await it.press("enter")
        await until(lambda: "Not sent" in it.shown())
        assert it.chat.prompt.text == "my draft"
        await it.node.start()
        await until(lambda: "nothing leaves this machine" in it.line("status"))
        assert it.chat.prompt.text == "my draft"
        it.node.release(4)
        await it.press("enter")
        await until(lambda: len(it.node.said) == 2)
        await it.answered()


@in_asyncio
async def test_a_node_that_dies_mid_answer_leaves_the_partial_answer(tmp_path: Path) -> None:
    async with driven(tmp_path) as it:
        await it.ask("go")
        it.node.release(1)
        await until(lambda: "Why" in it.shown())
        await it.node.stop()
        await until(lambda: "reconnecting" in it.line("status"))
        await it.answered()
        assert it.chat.transcript.messages[-1].state == "unfinished"
        await until(lambda: "Why" in it.shown())
        await it.node.start()
        await until(lambda: it.app.link.up)
        await until(lambda: not it.chat.note.display)
        await until(lambda: "stopped: what came is kept" in it.shown())


@in_asyncio
async def test_a_wrong_token_is_said_and_a_new_one_is_read(tmp_path: Path) -> None:
    async with driven(tmp_path) as it:
        it.node.token = "kith_other"
        await until(lambda: it.app.link.tries > 0)
        await until(lambda: "refuses this program: the token is wrong" in it.line("status"))
        (tmp_path / "token").write_text("kith_other", encoding="ascii")
        await until(lambda: it.app.link.up)


@in_asyncio
async def test_only_forty_messages_have_widgets_and_older_ones_come_on_demand(
    tmp_path: Path,
) -> None:
    async with driven(tmp_path) as it:
        texts = tuple(f"number {n}." for n in range(120))
        made = it.node.conversation("long", texts)
        await it.chat._open(made.id)
        transcript = it.chat.transcript
        await until(lambda: "number 119." in it.shown())
        assert len(transcript.query(".turn")) == 40
        assert "number 79." not in [turn.message.text for turn in transcript.query(Question)]
        it.chat.transcript.focus()
        await it.press("g")
        await until(lambda: _first(it) == "number 70.", "older ones come")
        assert len(transcript.query(".turn")) == 40
        await until(lambda: transcript.scroll_y > 0, "the view stays where it was")
        await it.press("G")
        await until(lambda: _last(it) == "number 119.", "the end is back")
        assert len(transcript.query(".turn")) == 40


def _first(it: Driver) -> str:
    return _text(it.chat.transcript.query(".turn").first())


def _last(it: Driver) -> str:
    return _text(it.chat.transcript.query(".turn").last())


def _text(turn: Widget) -> str:
    assert isinstance(turn, Question | Done)
    return turn.message.text


@in_asyncio
async def test_finished_answers_are_one_widget_each(tmp_path: Path) -> None:
    async with driven(tmp_path) as it:
        it.node.tokens = [
            "# Title\n\n",
            "- a\n- b\n\n",
            "```python\nprint(1)\n```\n",
            "|x|y|\n|-|-|\n|1|2|\n",
        ]
        for text in ("one", "two"):
            it.node.release(5)
            await it.ask(text)
            await it.answered()
        done = it.chat.transcript.query_one(Done)
        assert not done.children
        text = str(done.render())
        for part in ("Title", "a", "print(1)", "x"):
            assert part in text
        assert done.size.height == text.count("\n") + 1


@in_asyncio
async def test_a_large_paste_shows_as_a_stand_in_and_is_sent_whole(tmp_path: Path) -> None:
    async with driven(tmp_path) as it:
        pasted = "\n".join(f"line {n}" for n in range(340))
        it.chat.prompt._take(pasted)
        await it.write(" summarise")
        assert it.chat.prompt.text == "[Paste 1: 340 lines, 3KB] summarise"
        await it.press("enter")
        await until(lambda: it.node.said)
        assert it.node.said[0].text == f"{pasted} summarise"
        await until(lambda: "340 lines, 3KB in all; all of it was sent" in it.shown())


@in_asyncio
async def test_deleting_into_a_stand_in_takes_all_of_it(tmp_path: Path) -> None:
    async with driven(tmp_path) as it:
        it.chat.prompt._take("x" * 5000)
        await it.press("backspace")
        assert it.chat.prompt.text == ""
        await it.write("hi")
        await it.press("enter")
        await until(lambda: it.node.said)
        assert it.node.said[0].text == "hi"


@in_asyncio
async def test_esc_moves_between_prompt_and_transcript_where_letters_are_keys(
    tmp_path: Path,
) -> None:
    async with driven(tmp_path) as it:
        await it.write("1?")
        assert it.chat.prompt.text == "1?"
        await it.press("escape")
        assert it.chat.transcript.has_focus
        await it.press("question_mark")
        await until(lambda: isinstance(it.app.screen, Help))
        await it.press("escape")
        await until(lambda: not isinstance(it.app.screen, Help))
        await it.press("2")
        await until(lambda: isinstance(it.app.screen, ModelsScreen))
        await it.press("1")
        await until(lambda: it.app.screen is it.chat)
        await it.press("escape")
        assert it.chat.prompt.has_focus
        assert it.chat.prompt.text == "1?"


@in_asyncio
async def test_y_copies_the_source_of_the_last_answer(tmp_path: Path) -> None:
    async with driven(tmp_path) as it:
        it.node.tokens = ["**bold** ", "text"]
        it.node.release(3)
        await it.ask("go")
        await it.answered()
        await it.press("escape", "y")
        await until(lambda: it.app.clipboard == "**bold** text")


@in_asyncio
async def test_leaving_mid_answer_closes_the_request_and_ends_well(tmp_path: Path) -> None:
    async with driven(tmp_path) as it:
        await it.ask("go")
        it.node.release(1)
        await until(lambda: "Why" in it.shown())
        await it.press("ctrl+q")
        await until(lambda: it.node.closed_early == 1)
        await until(lambda: not it.app.is_running)
    assert it.app.return_code == 0


@in_asyncio
async def test_leaving_works_from_the_help_page_too(tmp_path: Path) -> None:
    async with driven(tmp_path) as it:
        await it.press("f1")
        await until(lambda: isinstance(it.app.screen, Help))
        assert "Ctrl+J" in it.shown()
        await it.press("ctrl+q")
        await until(lambda: not it.app.is_running)


@in_asyncio
async def test_ctrl_c_closes_a_page_in_front_and_nothing_else(tmp_path: Path) -> None:
    async with driven(tmp_path) as it:
        await it.ask("go")
        for key, kind in (("f1", Help), ("ctrl+o", PastScreen)):
            await it.press(key)
            await until(partial(lambda kind: isinstance(it.app.screen, kind), kind))
            await it.press("ctrl+c")
            await until(lambda: it.app.screen is it.app.screen_stack[0])
        assert it.chat.answering


@in_asyncio
async def test_a_shortened_chat_says_so_until_the_next_question(tmp_path: Path) -> None:
    async with driven(tmp_path) as it:
        it.node.notice = "2 messages at the start no longer fit"
        it.node.release(4)
        await it.ask("go")
        await it.answered()
        await until(lambda: "no longer fit" in it.shown())
        it.node.notice = ""
        await it.ask("again")
        assert "no longer fit" not in it.shown()


@in_asyncio
async def test_a_conversation_with_a_model_of_its_own_says_who_is_asked(tmp_path: Path) -> None:
    async with driven(tmp_path) as it:
        made = it.node.conversation("x", ("a", "b"))
        it.node.conversations[made.id] = msgspec.structs.replace(
            it.node.conversations[made.id], model="qwen3"
        )
        await it.chat._open(made.id)
        await until(lambda: "to: qwen3 on this machine" in it.shown())


@in_asyncio
async def test_a_new_chat_during_an_answer_stops_it_and_keeps_it(tmp_path: Path) -> None:
    async with driven(tmp_path) as it:
        await it.ask("go")
        it.node.release(1)
        await until(lambda: "Why" in it.shown())
        await it.press("ctrl+n")
        await until(lambda: it.node.closed_early == 1)
        await until(lambda: "You ask starter" in it.shown())
        [kept] = it.node.conversations.values()
        assert kept.messages[-1].text == "Why"
        it.node.tokens = ["fresh"]
        it.node.release(2)
        await it.ask("new")
        await it.answered()
        assert len(it.node.conversations) == 2


@in_asyncio
async def test_opening_another_conversation_during_an_answer_stops_it(tmp_path: Path) -> None:
    async with driven(tmp_path, (200, 60)) as it:
        other = it.node.conversation("other", ("a", "the other answer"))
        await it.ask("go")
        await it.chat._list()
        await it.press("ctrl+o")
        await until(lambda: isinstance(it.app.screen, PastScreen))
        await it.write("other")
        await it.press("enter")
        await until(lambda: "the other answer" in it.shown())
        assert it.node.closed_early == 1
        assert it.chat.conversation is not None
        assert it.chat.conversation.id == other.id


@in_asyncio
async def test_the_answer_goes_on_while_the_models_are_looked_at(tmp_path: Path) -> None:
    async with driven(tmp_path) as it:
        await it.ask("go")
        await it.to(ModelsScreen, "f3")
        it.node.release(4)
        await it.to(ChatScreen, "f2")
        await it.answered()
        await until(lambda: "Why did it?" in it.shown())
        assert it.node.closed_early == 0


@in_asyncio
async def test_paste_keys_and_alt_enter_work_in_the_prompt(tmp_path: Path) -> None:
    async with driven(tmp_path) as it:
        it.app.copy_to_clipboard("from\r\nelsewhere")
        await it.press("ctrl+v", "alt+enter")
        assert it.chat.prompt.text == "from\nelsewhere\n"
        await it.press("up", "up", "down", "down")
        await it.write("x")
        assert it.chat.prompt.text == "from\nelsewhere\nx"


@in_asyncio
async def test_a_stand_in_between_lines_is_taken_whole_by_a_selection(tmp_path: Path) -> None:
    async with driven(tmp_path) as it:
        it.chat.prompt._take("x" * 3000)
        await it.press("ctrl+j")
        await it.write("tail")
        end = it.chat.prompt.document.end
        it.chat.prompt.selection = Selection((0, 4), end)
        await it.press("backspace")
        assert it.chat.prompt.text == ""


@in_asyncio
async def test_text_that_the_mouse_selected_is_copied(tmp_path: Path) -> None:
    async with driven(tmp_path) as it:
        it.node.tokens = ["select these words"]
        it.node.release(2)
        await it.ask("go")
        await it.answered()
        await until(lambda: "select these words" in it.shown())
        row, text = next((n, row) for n, row in enumerate(it.grid()) if "select these" in row)
        start = text.index("these")
        await it.pilot.mouse_down(offset=(start, row))
        await it.pilot.hover(offset=(start + 4, row))
        await it.pilot.mouse_up(offset=(start + 4, row))
        await until(lambda: it.app.screen.get_selected_text())
        await it.press("ctrl+c")
        await until(lambda: "these" in it.app.clipboard)
