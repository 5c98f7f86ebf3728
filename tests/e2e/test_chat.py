"""`node chat` as a person uses it, against a real node with the starter model."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time

import pytest

from node.cli.errors import NOT_FOUND, USAGE
from protocols.http import requests
from tests.support.node_process import PROGRAM, NodeProcess

pytestmark = pytest.mark.native


def test_one_question_one_answer(node: NodeProcess) -> None:
    done = node.kith("chat", "tell me a joke", "--seed", "1")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.strip()) > 10


def test_the_same_seed_gives_the_same_answer(node: NodeProcess) -> None:
    answers = {node.kith("chat", "tell me a joke", "--seed", "7").stdout for _ in range(2)}
    assert len(answers) == 1


def test_a_pipe_is_a_question(node: NodeProcess) -> None:
    done = node.kith("chat", stdin="tell me a joke\n")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_the_answer_as_json_says_who_answered(node: NodeProcess) -> None:
    message = json.loads(node.kith("chat", "--json", "hello").stdout)
    assert message["role"] == "assistant"
    assert message["state"] == "done"
    assert message["model"] == "starter"
    assert message["job"]


def test_going_on_with_the_last_conversation_keeps_one_tree(node: NodeProcess) -> None:
    node.kith("chat", "hello")
    node.kith("chat", "-c", "tell me a joke")
    latest = node.client().call(requests.conversations(limit=1)).conversations[0]
    tree = node.client().call(requests.conversation(latest.id)).messages
    assert [m.role for m in tree] == ["user", "assistant", "user", "assistant"]
    assert [m.parent for m in tree][1:] == [m.id for m in tree][:-1]


def test_an_unknown_model_is_named_with_the_nearest(node: NodeProcess) -> None:
    done = node.kith("chat", "-m", "startr", "hello")
    assert done.returncode == NOT_FOUND
    assert done.stderr.count("\n") == 1
    assert "startr" in done.stderr
    assert "starter" in done.stderr


def test_nothing_to_ask_is_said(node: NodeProcess) -> None:
    done = node.kith("chat", stdin="")
    assert done.returncode == USAGE
    assert "nothing to ask" in done.stderr


def test_why_tells_the_way_of_an_answer(node: NodeProcess) -> None:
    message = json.loads(node.kith("chat", "--json", "hello").stdout)
    done = node.kith("why", message["job"])
    assert done.returncode == 0, done.stderr
    assert "job.admitted" in done.stdout
    assert "owner-all" in done.stdout
    assert "job.ended" in done.stdout


def _until(terminal: int, pattern: str, seconds: float = 60) -> str:
    """Read the terminal until the pattern is there."""
    seen, deadline = "", time.monotonic() + seconds
    while time.monotonic() < deadline:
        if select.select([terminal], [], [], 0.2)[0]:
            try:
                seen += os.read(terminal, 65536).decode("utf-8", "replace")
            except OSError:
                break
        if re.search(pattern, seen):
            return seen
    raise AssertionError(f"{pattern!r} did not come in {seen!r}")


def test_a_conversation_by_hand_on_a_terminal(node: NodeProcess) -> None:
    ours, theirs = pty.openpty()
    chat = subprocess.Popen(
        [*PROGRAM, "chat"],
        env={**node.env, "TERM": "xterm"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    try:
        greeting = _until(ours, r"/new begins")
        assert "starter" in greeting
        os.write(ours, b"tell me a joke\n")
        _until(ours, r"tell me a joke\r\n.{10,}\r\n> ")
        os.write(ours, b"/new\n")
        _until(ours, r"a new conversation\)\r\n.*> ")  # the prompt is there, so that Ctrl-D is read
        os.write(ours, b"\x04")
        assert chat.wait(30) == 0
    finally:
        if chat.poll() is None:
            chat.kill()
            chat.wait()
        os.close(ours)


def test_ctrl_c_during_an_answer_keeps_what_came(own_node: NodeProcess) -> None:
    chat = subprocess.Popen(
        [*PROGRAM, "chat", "count for me", "--max-tokens", "4000"],
        env=own_node.env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert chat.stdout is not None
    chat.stdout.read(1)
    chat.send_signal(signal.SIGINT)
    status = chat.wait(10)
    chat.communicate()
    assert status in (0, 130)  # a short answer may have been whole already
    assert own_node.kith("status").returncode == 0


def test_past_conversations_are_listed_shown_and_deleted(node: NodeProcess) -> None:
    node.kith("chat", "tell me a joke")
    latest = json.loads(node.kith("chat", "--list", "--json").stdout)[0]["id"]
    assert latest in node.kith("chat", "--list").stdout.splitlines()[1]
    assert "## You" in node.kith("chat", "--show", latest).stdout
    assert latest in node.kith("chat", "--delete", latest).stdout
    assert latest not in node.kith("chat", "--list").stdout
    gone = node.kith("chat", "--show", latest)
    assert (gone.returncode, gone.stderr.count("\n")) == (NOT_FOUND, 1)


def test_a_question_that_is_refused_leaves_no_empty_conversation(node: NodeProcess) -> None:
    before = node.kith("chat", "--list", "--json").stdout
    assert node.kith("chat", "--temperature", "9", "hello").returncode == USAGE
    assert node.kith("chat", "--list", "--json").stdout == before


@pytest.mark.skipif(sys.platform != "linux", reason="arguments are bytes on Linux only")
def test_a_question_that_is_no_utf8_is_asked_as_far_as_it_can_be_read(node: NodeProcess) -> None:
    done = subprocess.run(
        [*(word.encode() for word in PROGRAM), b"chat", b"--json", b"hello \xff"],
        env={**node.env, "LC_ALL": "C", "PYTHONUTF8": "0"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    asked = node.kith("chat", "--show", _latest(node)).stdout
    assert "hello \N{REPLACEMENT CHARACTER}" in asked


def _latest(node: NodeProcess) -> str:
    return node.client().call(requests.conversations(limit=1)).conversations[0].id


def test_the_log_tells_of_an_answer_in_words(node: NodeProcess) -> None:
    job = json.loads(node.kith("chat", "--json", "hello").stdout)["job"]
    log = node.kith("logs", "-n", "1000").stdout
    assert f"job.ended {job}  stop: " in log
    assert "model starter" in log
    assert "tokens in" in node.kith("why", job).stdout
