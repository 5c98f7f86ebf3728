"""`node models` by its commands: add, pull, adopt, default, remove; bad files; nothing stored twice."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import pytest

from tests.support.gguf_maker import tiny_llama
from tests.support.hub import Fault, Hub
from tests.support.node_process import PROGRAM, NodeProcess, a_node

pytestmark = pytest.mark.native


@pytest.fixture(scope="module")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("files") / "Tiny-Test.Q8_0.gguf"
    tiny_llama(file)
    return file


def listed(node: NodeProcess) -> dict[str, dict[str, object]]:
    return {m["name"]: m for m in json.loads(node.kith("models", "list", "--json").stdout)}


def test_a_file_is_added_in_place_asked_made_default_and_removed(
    own_node: NodeProcess, gguf: Path
) -> None:
    added = own_node.kith("models", "add", str(gguf), "--name", "tiny", "--json")
    assert added.returncode == 0, added.stderr
    model = json.loads(added.stdout)
    assert model["storage"] == "reference"
    assert model["path"] == str(gguf)
    assert not any(own_node.home.models.iterdir())
    again = own_node.kith("models", "add", str(gguf), "--json")
    assert json.loads(again.stdout)["cid"] == model["cid"]
    assert len(listed(own_node)) == 2
    asked = own_node.kith("chat", "-m", "tiny", "hello", "--max-tokens", "8")
    assert asked.returncode == 0, asked.stderr
    assert own_node.kith("models", "default", "tiny").stdout == "default: tiny\n"
    assert (
        json.loads(own_node.kith("chat", "--json", "hello", "--max-tokens", "4").stdout)["model"]
        == "tiny"
    )
    shown = own_node.kith("models", "show", "tiny").stdout
    assert model["cid"] in shown
    assert own_node.kith("models", "unload", "tiny").returncode == 0
    removed = own_node.kith("models", "rm", "tiny")
    assert removed.returncode == 0, removed.stderr
    assert gguf.exists()
    assert own_node.kith("models", "default").stdout == "default: starter\n"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.gguf", b""),
        ("text.gguf", b"hello"),
        ("cut.gguf", b"GGUF\x03\x00\x00\x00"),
        ("hang.gguf", b"GGUF\x03\x00\x00\x00" + b"\xff" * 45),
        ("model.pt", b"\x80\x02}q\x00."),
        ("model.safetensors", b"\x02\x00\x00\x00\x00\x00\x00\x00{}"),
    ],
)
def test_bad_files_are_refused_in_one_line(
    node: NodeProcess, tmp_path: Path, name: str, content: bytes
) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    done = node.kith("models", "add", str(file))
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1, done.stderr
    assert list(listed(node)) == ["starter"]


def test_a_file_that_is_not_there_is_said(node: NodeProcess, tmp_path: Path) -> None:
    done = node.kith("models", "add", str(tmp_path / "no.gguf"))
    assert done.returncode != 0
    assert "no.gguf" in done.stderr
    assert done.stderr.count("\n") == 1


def test_ctrl_c_during_an_add_leaves_nothing_in_the_way(
    own_node: NodeProcess, tmp_path: Path
) -> None:
    big = tmp_path / "big.gguf"
    tiny_llama(big)
    add = subprocess.Popen(
        [*PROGRAM, "models", "add", str(big)],
        env=own_node.env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    add.send_signal(signal.SIGINT)
    add.wait(30)
    done = own_node.kith("models", "add", str(big), "--name", "big")
    assert done.returncode == 0, done.stderr


def test_an_interrupted_pull_survives_a_restart_and_can_be_forgotten(
    tmp_path: Path, gguf: Path
) -> None:
    with Hub() as hub:
        hub.fail(Fault(hold_after=500_000))
        ref = hub.put("ann/tiny", "big.gguf", gguf.read_bytes())
        with a_node(tmp_path, KITH_CONTENT_HUB_ENDPOINT=hub.endpoint) as node:
            pull = subprocess.Popen(
                [*PROGRAM, "models", "pull", ref],
                env=node.env,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            assert hub.held.wait(60)
            node.kill()
            assert pull.wait(30) != 0
            node.start()
            (left,) = json.loads(node.kith("models", "transfers", "--json").stdout)
            assert (left["name"], left["state"]) == ("big", "stopped")
            assert node.kith("models", "transfers", "--forget", "absent").returncode != 0
            assert node.kith("models", "transfers", "--forget", "big").stdout == "big: forgotten\n"
            assert list(node.home.partial.iterdir()) == []
            assert "nothing" in node.kith("models", "transfers").stdout


def test_what_another_program_keeps_is_adopted_and_told(own_node: NodeProcess, gguf: Path) -> None:
    (gguf.parent / "bad.gguf").write_bytes(b"GGUF")
    words = ("models", "adopt", "lmstudio", "--folder", str(gguf.parent))
    for state in ("added", "known"):
        done = own_node.kith(*words, "--json")
        assert done.returncode == 0, done.stderr
        told = {model["name"]: model["state"] for model in json.loads(done.stdout)}
        assert told == {"tiny-test.q8_0": state, "bad": "refused"}
    assert "tiny-test.q8_0" in own_node.kith(*words).stdout
