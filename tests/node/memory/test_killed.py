"""kill -9 at any moment: what was typed is there, what was answered so far is there, nothing hangs."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

from protocols.http.control import ChatMessage
from tests.node.memory.house import OWNER, Engine, a_database, conversations
from tests.node.memory.killed import WORD, play

KILLS = 8


def kill_one(root: Path, after_s: float) -> list[list[str]]:
    """Let a child talk for so long after its first words, then kill it; what it had told by then."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.node.memory.killed", str(root)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
    ) as child:
        assert child.stdout is not None
        first = child.stdout.readline()
        time.sleep(after_s)
        child.kill()
        rest = child.stdout.read()
    lines = (first + rest).splitlines()
    return [line.split(" ", 3) for line in lines if line.count(" ") >= 1]


async def test_nothing_that_was_told_is_lost(tmp_path: Path) -> None:
    chance, root = random.Random(8), tmp_path / "home"
    told = [line for _ in range(KILLS) for line in kill_one(root, chance.uniform(0.0, 1.2))]
    questions = {
        line[1]: (line[2], line[3]) for line in told if line[0] == "said" and len(line) > 3
    }
    done = {line[1] for line in told if line[0] == "done"}
    assert questions

    with a_database(root) as database:
        found = await conversations(database, Engine(play))
        messages: dict[str, ChatMessage] = {}
        for each in await found.list(500, None, OWNER):
            whole = await found.get(each.id, OWNER)
            assert whole.head is None or whole.head in {m.id for m in whole.messages}
            messages |= {message.id: message for message in whole.messages}
    for question, (answer, text) in questions.items():
        assert messages[question].text == text
        assert messages[answer].parent == question
    for message in messages.values():
        assert message.state in ("done", "unfinished")
        if message.role == "assistant":
            assert message.text == WORD * (len(message.text) // len(WORD))
            if message.id in done:
                assert (message.state, len(message.text)) == ("done", 300 * len(WORD))
    unfinished = [m for m in messages.values() if m.state == "unfinished"]
    assert any(message.text for message in unfinished), "no kill came in the middle of an answer"


async def test_after_a_kill_the_conversation_goes_on(tmp_path: Path) -> None:
    root = tmp_path / "home"
    kill_one(root, 0.7)
    with a_database(root) as database:
        found = await conversations(database, Engine(play))
        (one,) = await found.list(1, None, OWNER)
        whole = await found.get(one.id, OWNER)
        assert whole.messages[-1].state in ("done", "unfinished")
