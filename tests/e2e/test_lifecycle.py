"""Start, stop, crash, and everything that can be in the way of it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from node.cli.errors import NOT_RUNNING, USAGE
from node.running import find_running, is_held
from protocols.http import requests
from tests.node.store.disks import fill, small_disk
from tests.support.node_process import PROGRAM, NodeProcess, a_node


def test_start_status_stop(tmp_path: Path) -> None:
    with a_node(tmp_path, start=False) as node:
        assert node.kith("status").returncode == NOT_RUNNING
        started = node.kith("start")
        assert started.returncode == 0, started.stderr
        assert started.stdout.startswith("running: http://127.0.0.1:")
        assert "already running" in node.kith("start").stdout
        ignored = node.kith("start", "--port", "1")
        assert ignored.returncode == USAGE
        assert "--port 1 changes nothing while it runs" in ignored.stderr
        status = json.loads(node.kith("status", "--json").stdout)
        assert status["home"] == str(node.home.root)
        assert Path(status["token_file"]).stat().st_mode & 0o777 == 0o600
        assert (
            "Nothing leaves this machine" in status["network"]
            or "nothing" in status["network"].lower()
        )
        begun = time.monotonic()
        assert node.kith("stop").stdout == "stopped\n"
        assert time.monotonic() - begun < 10
        assert not is_held(node.home)
        assert node.kith("stop").stdout == "no node runs\n"


def test_another_command_starts_the_node_and_says_so(tmp_path: Path) -> None:
    with a_node(tmp_path, start=False) as node:
        listed = node.kith("models", "list", "--json")
        assert "starting it in the background" in listed.stderr
        assert json.loads(listed.stdout)[0]["name"] == "starter"


def test_a_home_has_one_node(own_node: NodeProcess) -> None:
    second = own_node.kith("start", "--foreground")
    assert second.returncode == 1
    assert "already runs" in second.stderr
    assert second.stderr.count("\n") == 1


def test_a_killed_node_leaves_nothing_in_the_way(own_node: NodeProcess) -> None:
    own_node.kill()
    assert find_running(own_node.home) is None
    own_node.start()
    assert own_node.kith("status").returncode == 0


@pytest.mark.native
def test_no_worker_outlives_a_killed_node(own_node: NodeProcess) -> None:
    own_node.client().call(requests.load_model("starter"))
    workers = psutil.Process(own_node.node.pid).children(recursive=True)
    assert workers
    own_node.kill()
    _, alive = psutil.wait_procs(workers, timeout=10)
    assert alive == []


@pytest.mark.native
def test_it_stops_within_five_seconds_even_during_an_answer(own_node: NodeProcess) -> None:
    asking = subprocess.Popen(
        [*PROGRAM, "chat", "x", "--max-tokens", "5000"],
        env=own_node.env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert asking.stdout is not None
    asking.stdout.read(1)
    begun = time.monotonic()
    own_node.stop()
    assert time.monotonic() - begun < 5
    asking.communicate(timeout=10)
    assert not own_node.home.node_file.exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_stop_it_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    with a_node(tmp_path) as node:
        assert node.process is not None
        node.process.send_signal(number)
        assert node.process.wait(10) == 0
        assert "Traceback" not in node.output()


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other, a_node(tmp_path, start=False) as node:
        port = other.getsockname()[1]
        done = node.kith("start", "--port", str(port))
        assert done.returncode == 1
        assert str(port) in done.stderr
        assert "taken" in done.stderr
        assert done.stderr.count("\n") == 1


def test_a_home_of_a_newer_version_is_refused_untouched(tmp_path: Path) -> None:
    with a_node(tmp_path) as node:
        node.stop()
        node.home.version_file.write_text("99\n")
        done = node.kith("start")
        assert done.returncode == 1
        assert "newer version" in done.stderr
        assert node.home.version_file.read_text() == "99\n"


def test_a_wrong_setting_is_said_in_one_line(tmp_path: Path) -> None:
    with a_node(tmp_path, start=False) as node:
        node.home.root.mkdir(parents=True)
        node.home.config_file.write_text("[api]\nprot = 1\n")
        done = node.kith("start")
        assert done.returncode == 1
        assert "prot" in done.stderr
        assert done.stderr.count("\n") == 1


@pytest.mark.namespace
@pytest.mark.skipif(os.geteuid() != 0, reason="a read-only mount needs root")
def test_a_read_only_home_is_said(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(home)], check=True)
    try:
        with a_node(tmp_path, start=False) as node:
            for words in (("start", "--foreground"), ("start",), ("models", "list")):
                done = node.kith(*words)
                assert done.returncode == 1
                assert "cannot be written" in done.stderr
                assert "--home" in done.stderr
                assert "Traceback" not in done.stderr
    finally:
        subprocess.run(["umount", str(home)], check=True)


@pytest.mark.namespace
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_a_full_disk_is_said_at_the_start_and_in_a_chat_and_nothing_is_lost(
    tmp_path: Path,
) -> None:
    with (
        small_disk(tmp_path / "disk", megabytes=24) as disk,
        a_node(disk, start=False) as node,
    ):
        ballast = fill(disk)
        for words in (("start", "--foreground"), ("start",)):
            done = node.kith(*words)
            assert done.returncode == 1
            assert "space" in done.stderr
            assert "Traceback" not in done.stderr
        ballast.unlink()
        node.start()
        assert node.kith("chat", "tell me a joke").returncode == 0
        ballast = fill(disk)
        done = node.kith("chat", "tell me a joke")
        assert done.returncode == 1
        assert "no space left" in done.stderr
        assert done.stderr.count("\n") == 1
        ballast.unlink()
        assert node.kith("chat", "tell me a joke").returncode == 0
        assert node.kith("audit", "verify").returncode == 0
        assert node.stop() == 0


def test_an_offline_node_opens_no_socket_but_the_api(tmp_path: Path) -> None:
    with a_node(tmp_path, "--offline") as node:
        listening = [
            c.laddr
            for c in psutil.Process(node.node.pid).net_connections("inet")
            if c.status == psutil.CONN_LISTEN
        ]
        assert [address.ip for address in listening] == ["127.0.0.1"]
