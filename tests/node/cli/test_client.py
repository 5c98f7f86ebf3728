"""The command line's connection to the node."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from node.cli.client import Client
from node.cli.errors import NOT_RUNNING, CliError
from node.running import RunningNode
from protocols.http import requests


def test_an_answer_that_is_cut_off_says_that_the_node_stopped(tmp_path: Path) -> None:
    """As when the node is killed while it answers."""
    token = tmp_path / "token"
    token.write_text("secret")
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")

        thread = threading.Thread(target=answer)
        thread.start()
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        client = Client(RunningNode(1, "0", address, "", str(token), 0.0))
        with pytest.raises(CliError, match="stopped answering") as caught:
            client.call(requests.status())
        thread.join(10)
    assert caught.value.exit_code == NOT_RUNNING
