"""Conversations over HTTP."""

from __future__ import annotations

import json
from functools import partial

import pytest
import trio

from node.store import Database, StoreFull
from protocols.http import control, requests
from protocols.http.requests import ApiProblem
from protocols.jobs import Chat, Ended, Failed, Piece, Started, Usage
from tests.node.api.house import Api, Script, until


async def begin(api: Api, **what: str) -> control.Conversation:
    made = await api.call(requests.new_conversation(control.NewConversation(**what)))
    assert isinstance(made, control.Conversation)
    return made


async def test_a_conversation_is_made_said_in_shown_and_deleted(api: Api) -> None:
    made = await begin(api, system="be brief")
    events = await api.stream(requests.say(made.id, control.Say("  Tell me\na joke  ")))
    assert [type(event) for event in events] == [
        control.Said,
        control.AnswerText,
        control.AnswerText,
        control.AnswerDone,
    ]
    assert events[0].question.text == "  Tell me\na joke  "
    assert (events[-1].message.text, events[-1].finish) == ("Hello world", "stop")
    work = api.serving.jobs[0].work
    assert isinstance(work, Chat)
    assert [m.role for m in work.messages] == ["system", "user"]
    shown: control.Conversation = await api.call(requests.conversation(made.id))
    assert shown.title == "Tell me"
    assert [m.role for m in shown.messages] == ["system", "user", "assistant"]
    assert shown.messages[-1] == events[-1].message
    assert shown.messages[-1].job == api.serving.jobs[0].id
    assert shown.head == shown.messages[-1].id
    listed: control.ConversationList = await api.call(requests.conversations())
    assert [(c.id, c.message_count, c.messages) for c in listed.conversations] == [(made.id, 3, ())]
    await api.call(requests.delete_conversation(made.id))
    with pytest.raises(ApiProblem) as caught:
        await api.call(requests.conversation(made.id))
    assert caught.value.status == 404


async def test_closing_the_stream_stops_the_answer_and_keeps_what_came(api: Api) -> None:
    made = await begin(api)

    async def play(script: Script) -> None:
        await script.say(Started(1), Piece("half a "))
        await trio.sleep_forever()

    api.serving.play = play
    two = trio.Event()

    def seen(found: list[object]) -> None:
        if len(found) == 2:
            two.set()

    async def last() -> control.ChatMessage:
        return (await api.call(requests.conversation(made.id))).messages[-1]  # type: ignore[no-any-return]

    async def is_over() -> bool:
        return (await last()).state != "running"

    async with trio.open_nursery() as nursery:
        ask = requests.say(made.id, control.Say("hi"))
        nursery.start_soon(partial(api.stream, ask, seen=seen))
        await two.wait()
        nursery.cancel_scope.cancel()
    await until(is_over)
    assert api.serving.left[api.serving.jobs[0].id].is_set()
    assert ((await last()).state, (await last()).text) == ("unfinished", "half a ")


async def test_two_answers_at_the_end_of_one_conversation_are_refused(api: Api) -> None:
    made, gate = await begin(api), trio.Event()

    async def play(script: Script) -> None:
        await script.say(Started(1))
        await gate.wait()
        await script.say(Ended("stop", Usage(1, 0)))

    api.serving.play = play

    async def is_asked() -> bool:
        return bool(api.serving.jobs)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(api.stream, requests.say(made.id, control.Say("one")))
        await until(is_asked)
        with pytest.raises(ApiProblem) as second:
            await api.stream(requests.say(made.id, control.Say("two")))
        with pytest.raises(ApiProblem) as deleted:
            await api.call(requests.delete_conversation(made.id))
        for caught in (second, deleted):
            assert (caught.value.status, caught.value.problem.code) == (409, "conversation_busy")
        gate.set()


async def test_a_failed_answer_says_why_and_is_kept_as_failed(api: Api) -> None:
    made = await begin(api)

    async def play(script: Script) -> None:
        await script.say(Started(1), Piece("so far"), Failed("worker_died", "it was killed", True))

    api.serving.play = play
    last = (await api.stream(requests.say(made.id, control.Say("hi"))))[-1]
    assert isinstance(last, control.AnswerFailed)
    assert (last.error.code, last.message.state) == ("worker_died", "failed")
    kept = (await api.call(requests.conversation(made.id))).messages[-1]
    assert (kept.text, kept.error) == ("so far", "it was killed")


@pytest.mark.parametrize(
    ("what", "status"),
    [
        (control.Say(""), 400),
        (control.Say("x", temperature=9.0), 400),
        (control.Say("x", max_tokens=0), 400),
        (control.Say("x", seed=-1), 400),
        (control.Say("x", parent="msg_none"), 404),
        (control.Say("x", model="m" * 200), 400),
    ],
)
async def test_what_cannot_be_said_stores_nothing(api: Api, what: control.Say, status: int) -> None:
    made = await begin(api)
    with pytest.raises(ApiProblem) as caught:
        await api.stream(requests.say(made.id, what))
    assert caught.value.status == status
    assert (await api.call(requests.conversation(made.id))).messages == ()


async def test_titles_models_and_heads_change_within_bounds(api: Api) -> None:
    made = await begin(api, title="old")
    change = control.ChangeConversation(title=" new \n title ", model="vectors")
    changed: control.Conversation = await api.call(requests.change_conversation(made.id, change))
    assert (changed.title, changed.model) == ("new title", "vectors")
    for bad, status in (
        (control.ChangeConversation(title="x" * 201), 400),
        (control.ChangeConversation(head="msg_none"), 404),
    ):
        with pytest.raises(ApiProblem) as caught:
            await api.call(requests.change_conversation(made.id, bad))
        assert caught.value.status == status


async def test_a_key_sees_only_what_its_ceiling_allows(api: Api) -> None:
    private = await begin(api)
    wide = await begin(api, label="fleet")
    made = await api.call(requests.new_grant(control.NewKey("k", may=("conversations", "chat"))))
    listed = await api.call(requests.conversations(), made.secret)
    assert [each.id for each in listed.conversations] == [private.id]
    for request in (requests.conversation(wide.id), requests.delete_conversation(wide.id)):
        with pytest.raises(ApiProblem) as caught:
            await api.call(request, made.secret)
        assert caught.value.status == 403
    with pytest.raises(ApiProblem):
        await api.stream(requests.say(wide.id, control.Say("hi")), made.secret)
    assert api.serving.jobs == []


async def test_exports_are_markdown_or_json(api: Api) -> None:
    made = await begin(api, title="A title")
    await api.stream(requests.say(made.id, control.Say("question")))
    text = await api.call(requests.export_conversation(made.id))
    assert text.startswith("# A title\n")
    assert "question" in text
    assert "Hello world" in text
    tree = json.loads(await api.call(requests.export_conversation(made.id, "json")))
    assert [m["text"] for m in tree["messages"]] == ["question", "Hello world"]
    answer = await api.get(f"/node/v1/conversations/{made.id}/export?format=pdf")
    assert answer.status_code == 400


async def test_the_list_goes_on_where_it_ended(api: Api) -> None:
    ids = [(await begin(api, title=str(number))).id for number in range(3)]
    first = await api.call(requests.conversations(limit=2))
    rest = await api.call(
        requests.conversations(limit=2, before=first.conversations[-1].updated_at)
    )
    assert [c.id for c in (*first.conversations, *rest.conversations)] == ids[::-1]


async def test_a_full_disk_is_told_and_no_job_begins(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await begin(api)

    async def full(*_: object) -> None:
        raise StoreFull("no space left for state.db: free some space")

    with monkeypatch.context() as patch:
        patch.setattr(Database, "run", full)
        with pytest.raises(ApiProblem) as caught:
            await api.stream(requests.say(made.id, control.Say("hi")))
    assert (caught.value.status, caught.value.problem.code) == (507, "disk_full")
    assert "free some space" in caught.value.problem.message
    assert api.serving.jobs == []
    await api.stream(requests.say(made.id, control.Say("again")))
