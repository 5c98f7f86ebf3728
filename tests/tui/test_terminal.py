"""The real command in a real terminal, against a real node with the starter model."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from protocols.http import requests
from protocols.http.control import NewConversation
from tests.support.node_process import NodeProcess, a_node

pytestmark = [
    pytest.mark.terminal,
    pytest.mark.native,
    pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed"),
]
PATIENCE_S = 60.0
SIZES = pytest.mark.parametrize("size", [(80, 24), (200, 60)], ids=["80x24", "200x60"])


@dataclass
class Terminal:
    """One tmux server of its own with one window."""

    socket: Path
    node: NodeProcess

    def tmux(self, *words: str) -> str:
        found = subprocess.run(
            ["tmux", "-S", str(self.socket), "-f", "/dev/null", *words],
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
            env={**self.node.env, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8"},
        )
        return found.stdout

    def open(self, command: str, size: tuple[int, int]) -> None:
        """Run it, then say how it ended and wait: the pane shows what it left behind."""
        width, height = map(str, size)
        script = f"echo BEFORE; {command}; echo ENDED $?; cat"
        self.tmux("new-session", "-d", "-s", "kith", "-x", width, "-y", height, script)

    def send(self, *keys: str) -> None:
        self.tmux("send-keys", "-t", "kith", *keys)

    def text(self) -> str:
        return self.tmux("capture-pane", "-p", "-t", "kith")

    def until(self, true: Callable[[str], bool], what: str) -> str:
        deadline = time.monotonic() + PATIENCE_S
        while not true(text := self.text()):
            assert time.monotonic() < deadline, f"never saw {what}:\n{text}"
            time.sleep(0.05)
        return text

    def until_shown(self, words: str) -> str:
        return self.until(lambda text: words in text, words)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    with a_node(tmp_path_factory.mktemp("tui")) as running:
        yield running


@pytest.fixture
def terminal(node: NodeProcess, tmp_path: Path) -> Iterator[Terminal]:
    made = Terminal(tmp_path / "s", node)
    yield made
    subprocess.run(
        ["tmux", "-S", str(made.socket), "kill-server"], capture_output=True, check=False
    )


def command(node: NodeProcess, **env: str) -> str:
    """`node tui` as a shell runs it in this repository."""
    words = [f"{name}={value}" for name, value in env.items()]
    words += [f"PYTHONPATH={Path.cwd()}", sys.executable, "-P", "-m", "node.cli.main"]
    return shlex.join(["env", *words, "tui", "--home", str(node.home.root)])


@SIZES
def test_ask_look_at_the_models_and_leave(terminal: Terminal, size: tuple[int, int]) -> None:
    node = terminal.node
    terminal.open(command(node), size)
    terminal.until_shown("You ask starter")
    terminal.send("tell me a joke", "Enter")
    text = terminal.until_shown("this machine |")
    assert "tell me a joke" in text
    assert len(text.splitlines()) == size[1]
    terminal.send("F3")
    terminal.until_shown("[2 Models]")
    terminal.until_shown("loaded, default, starter")
    terminal.send("C-q")
    text = terminal.until_shown("ENDED 0")
    assert "BEFORE" in text  # the screen from before is back
    assert "[2 Models]" not in text
    assert terminal.tmux("display", "-p", "-t", "kith", "#{alternate_on} #{cursor_flag}") == "0 1\n"
    assert node.client().call(requests.status()).default_model == "starter"


def test_the_answer_is_kept_by_the_node_after_the_interface_is_killed(terminal: Terminal) -> None:
    terminal.open(command(terminal.node), (80, 24))
    terminal.until_shown("You ask starter")
    terminal.send("what leaves my machine?", "Enter")
    terminal.until_shown("this machine |")
    terminal.tmux("kill-session", "-t", "kith")
    kept = terminal.node.client().call(requests.conversations()).conversations
    assert kept[0].title == "what leaves my machine?"


def test_hostile_titles_send_no_escapes(terminal: Terminal) -> None:
    client = terminal.node.client()
    client.call(requests.new_conversation(NewConversation(title="plain \u202eevil [bold]x")))
    terminal.open(command(terminal.node), (80, 24))
    terminal.until_shown("You ask starter")
    terminal.send("\x1b[200~a\x1b]0;owned\x07b\x1b[201~")
    terminal.send("C-o")
    text = terminal.until_shown("[bold]x")
    assert "\u202e" not in text
    assert "owned" not in terminal.tmux("display", "-p", "-t", "kith", "#{pane_title}")
    terminal.send("Escape", "C-q")
    terminal.until_shown("ENDED 0")


def test_without_colour_and_utf8_it_can_be_read(terminal: Terminal) -> None:
    terminal.open(command(terminal.node, NO_COLOR="1", LC_ALL="C"), (80, 24))
    terminal.until_shown("You ask starter")
    shown = terminal.tmux("capture-pane", "-e", "-p", "-t", "kith")
    assert shown.isascii()
    assert "[38;" not in shown
    assert "[48;" not in shown
    terminal.send("C-q")
    terminal.until_shown("ENDED 0")


def test_a_terminal_that_cannot_move_its_cursor_is_told_what_to_use(terminal: Terminal) -> None:
    terminal.open(command(terminal.node, TERM="dumb"), (80, 24))
    text = terminal.until_shown("ENDED 2")
    assert "node chat" in text


def test_the_program_itself_wants_a_terminal(node: NodeProcess) -> None:
    words = ["--address", node.node.address, "--token-file", node.node.token_file]
    found = subprocess.run(
        [sys.executable, "-m", "tui", *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "TERM": "xterm"},
    )
    assert found.returncode == 2
    assert "it needs a terminal" in found.stderr
