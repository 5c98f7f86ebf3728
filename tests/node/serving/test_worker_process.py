"""Workers that behave badly, and what is left of any worker afterwards: nothing."""

import logging
import os
import signal
import sys
from pathlib import Path

import pytest
import trio

from node.serving import JobFailed, Launcher, default_launcher
from node.serving.worker_process import describe_exit
from protocols.jobs import Ended, Failed, Message
from tests.node.serving.kit import Log, Shelf, ask, chat, open_files, served, until, worker_pids

ROOT = Path(__file__).parents[3]


def fake(how: str) -> Launcher:
    """The misbehaving worker of tests/support."""
    command = (sys.executable, str(ROOT / "tests/support/fake_worker.py"), how)
    return Launcher(command, {"PYTHONPATH": str(ROOT)})


@pytest.mark.parametrize("how", ["nonsense", "huge"])
async def test_a_worker_that_talks_nonsense_is_ended(shelf: Shelf, how: str) -> None:
    shelf.add("m")
    async with served(shelf, launcher=fake(how)) as serving:
        _, last = await ask(serving, chat("x"))
        assert isinstance(last, Failed)
        assert last.code == "worker_died"
        assert "no message" in last.message
        await until(lambda: worker_pids() == [])


async def test_the_last_words_of_a_worker_are_told(shelf: Shelf) -> None:
    shelf.add("m")
    async with served(shelf, launcher=fake("dying")) as serving:
        _, last = await ask(serving, chat("x"))
        assert isinstance(last, Failed)
        assert "left with status 1; its last words: out of magic smoke" in last.message
        with pytest.raises(JobFailed, match="magic smoke"):
            await serving.count("m", [Message("user", "x")])


async def test_a_worker_that_ends_a_job_twice_ends_it_once(shelf: Shelf) -> None:
    shelf.add("m")
    async with served(shelf, launcher=fake("double")) as serving:
        for _ in range(3):
            text, last = await ask(serving, chat("x"))
            assert text == "fake"
            assert isinstance(last, Ended)
            assert last.finish == "stop"


async def test_a_worker_that_will_not_leave_is_killed_within_the_bound(shelf: Shelf) -> None:
    shelf.add("m")
    async with served(shelf, launcher=fake("stubborn")) as serving:
        assert (await ask(serving, chat("x")))[0] == "fake"
        began = trio.current_time()
        assert await serving.unload("m")
        assert trio.current_time() - began < 4
        assert worker_pids() == []
        assert (await ask(serving, chat("x")))[0] == "fake"
        began = trio.current_time()
    assert trio.current_time() - began < 4


async def test_a_worker_that_never_loads_is_ended(shelf: Shelf) -> None:
    shelf.add("m")
    async with served(shelf, launcher=fake("silent"), load_timeout_s=0.5) as serving:
        _, last = await ask(serving, chat("x"))
        assert isinstance(last, Failed)
        assert last.code == "model_failed"


async def test_what_a_worker_prints_is_logged_within_a_bound(
    shelf: Shelf, caplog: pytest.LogCaptureFixture
) -> None:
    shelf.add("m")
    with caplog.at_level(logging.DEBUG, "node.serving"):
        async with served(shelf, launcher=fake("chatty")) as serving:
            assert (await ask(serving, chat("x")))[0] == "fake"
    lines = [record.getMessage() for record in caplog.records]
    assert 2000 <= len(lines) < 2050
    assert max(len(line) for line in lines) < 1100
    assert any("left out" in line for line in lines)


async def test_no_process_and_no_open_file_is_left_after_many_lives(shelf: Shelf) -> None:
    shelf.add("m", {"match": "die", "then": "abort", "reply": "a b c", "after": 1}, {"reply": "x"})
    async with served(shelf) as serving:
        await ask(serving, chat("x"))
        await serving.unload("m")
        before = open_files()
        for _ in range(5):
            await ask(serving, chat("die"))
            await ask(serving, chat("x"))
            await serving.unload("m")
        assert worker_pids() == []
        assert open_files() == before


async def test_the_worker_lives_in_a_session_of_its_own_with_a_minimal_environment(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KITH_CONTENT_HUB_TOKEN", "secret")
    shelf.add("m", {"reply": "x"})
    async with served(shelf) as serving:
        await serving.load("m")
        (pid,) = worker_pids()
        assert os.getsid(pid) == pid
        environment = _environment(pid)
        assert "GGML_NO_BACKTRACE=1" in environment
        assert "secret" not in environment
        os.kill(pid, signal.SIGINT)  # what Ctrl-C would do, were it in our session
        assert (await ask(serving, chat("x")))[0] == "x"


def _environment(pid: int) -> str:
    return Path(f"/proc/{pid}/environ").read_text()


def test_only_what_a_worker_needs_is_passed_on() -> None:
    launcher = default_launcher({"PATH": "/bin", "HOME": "/root", "AWS_SECRET": "x"})
    assert dict(launcher.env) == {"PATH": "/bin", "GGML_NO_BACKTRACE": "1"}
    assert launcher.command[1:] == ("-P", "-m", "models.worker")


async def test_the_worker_ends_when_the_node_is_killed(tmp_path: Path) -> None:
    """Its socket ends, and that is enough: nobody is left to clear it away."""
    script = (
        "import sys, trio, pathlib\n"
        "from tests.node.serving.kit import *\n"
        "async def main():\n"
        "    shelf = Shelf(pathlib.Path(sys.argv[1]))\n"
        "    shelf.add('m', {'reply': 'x'})\n"
        "    async with served(shelf) as serving:\n"
        "        await serving.load('m')\n"
        "        print(worker_pids()[0], flush=True)\n"
        "        await trio.sleep_forever()\n"
        "trio.run(main)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    node = await trio.lowlevel.open_process(command, stdout=-1, cwd=ROOT)
    assert node.stdout is not None
    with trio.fail_after(20):
        worker = int(await node.stdout.receive_some())
        node.kill()
        await node.wait()
        await node.stdout.aclose()
        await until(lambda: not _alive(worker))


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


async def test_a_worker_in_the_event_log_is_known_by_its_process(shelf: Shelf) -> None:
    shelf.add("m", {"reply": "x"})
    log = Log()
    async with served(shelf, log) as serving:
        await serving.load("m")
        (started,) = log.facts("worker.started", "bafkm")
        assert [started["pid"]] == worker_pids()
    (stopped,) = log.facts("worker.stopped", "bafkm")
    assert stopped == {"name": "m", "pid": started["pid"], "returncode": 0}


def test_exits_are_told_in_words() -> None:
    assert describe_exit(0) == "left with status 0"
    assert describe_exit(-9) == "was ended by SIGKILL"
    assert describe_exit(-200) == "was ended by signal 200"
    assert describe_exit(None) == "did not end"
