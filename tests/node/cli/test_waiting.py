"""A person is told what they wait for."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import msgspec
import pytest

from node.cli.client import Client
from node.cli.waiting import Waiting
from node.running import RunningNode
from protocols.http import control

MODEL = control.ModelEntry(
    name="big",
    cid="bafy",
    kind="gguf",
    size=2_600_000_000,
    state="loading",
    default=True,
    starter=False,
    embedding=False,
    label="device",
    source="here",
    storage="own",
    path="/big.gguf",
    added_at=0.0,
)


class _Says(BaseHTTPRequestHandler):
    asked = threading.Event()

    def do_GET(self) -> None:
        body = msgspec.json.encode(MODEL)
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.asked.set()

    def log_message(self, *_: object) -> None:
        """Nothing to tell."""


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    (tmp_path / "token").write_text("t")
    with HTTPServer(("127.0.0.1", 0), _Says) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        yield Client(RunningNode(1, "1", address, "", str(tmp_path / "token"), 0.0))
        server.shutdown()


def test_loading_is_told_when_it_takes_a_while(
    client: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    _Says.asked.clear()
    with Waiting(client, "", patience=0.01):
        assert _Says.asked.wait(20)
    assert capsys.readouterr().err == "loading big (2.6 GB) …\n"


def test_a_quick_answer_needs_no_words(client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    with Waiting(client, "big", patience=60) as waiting:
        waiting.over()
    assert capsys.readouterr().err == ""
