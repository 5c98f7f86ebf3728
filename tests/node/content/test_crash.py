"""Killed with -9 at any point, or out of space: nothing is lost, nothing half done is shown."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from protocols.http.control import AddModel, PullModel
from tests.node.content.conftest import opened
from tests.node.content.test_pull import OWNER, pulling
from tests.support.gguf_maker import llama_file
from tests.support.hub import Fault, Hub

MIB = 1024 * 1024
HERE = Path(__file__).resolve().parents[3]
POINTS = [
    "node.content.staging:Staging.write_plan:before",
    "node.content.staging:Staging.write_plan:after",
    "node.content.staging:Staging.move:after",
    "node.content.staging:Staging.discard:before",
]


@pytest.fixture(scope="module")
def data() -> bytes:
    return llama_file(seed=31).to_bytes() + bytes(5 * MIB)


def child(*words: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.node.content.child", *words]
    return subprocess.Popen(command, cwd=HERE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


async def killed(*words: str) -> None:
    """Run a child that kills itself."""
    with child(*words) as process, trio.fail_after(60):
        output, _ = await trio.to_thread.run_sync(process.communicate)
    assert process.returncode == -signal.SIGKILL, output.decode()


async def test_a_killed_pull_goes_on_and_fetches_nothing_twice(
    root: Path, starter: Path, hub: Hub, data: bytes
) -> None:
    ref = hub.put("ann/tiny", "t.gguf", data)
    hub.fail(Fault(hold_after=4 * MIB))
    partial = root / "partial"
    with child("pull", str(root), str(starter), hub.endpoint, ref) as process:
        assert process.stdout is not None
        with trio.fail_after(60):
            while have(partial) < 3 * MIB:
                line = await trio.to_thread.run_sync(process.stdout.readline)
                assert line, "the child ended by itself"
            os.kill(process.pid, signal.SIGKILL)
            await trio.to_thread.run_sync(process.wait)
    kept, sent = have(partial), hub.downloads()[0].sent
    assert list((root / "models").iterdir()) == []
    hub.release()
    async with pulling(root, starter, hub) as node:
        assert (await node.pull(ref)).state == "done"
        assert (await node.place.library.find("t")).path.read_bytes() == data
    _, second = hub.downloads()
    assert second.range_start == kept
    assert second.sent == len(data) - kept
    assert sent - kept < MIB  # what lay in sockets and memory, not yet handed to the disk


def have(partial: Path) -> int:
    return sum(path.stat().st_size for path in partial.rglob("t.gguf"))


@pytest.mark.parametrize("point", POINTS)
async def test_a_pull_killed_while_it_is_put_in_place_is_whole_afterwards(
    root: Path, starter: Path, hub: Hub, data: bytes, point: str
) -> None:
    ref = hub.put("ann/tiny", "t.gguf", data)
    await killed("pull", str(root), str(starter), hub.endpoint, ref, point)
    async with pulling(root, starter, hub) as node:
        done = await node.pull(ref)
        assert (done.state, done.model) == ("done", "t")
        model = await node.place.library.find("t")
        assert model.path.read_bytes() == data
        assert len(await node.place.happened("model.pulled")) == 1
        assert await node.place.events.verify() is None
    assert hub.body_bytes() == len(data)
    assert [path.name for path in (root / "models").rglob("*.gguf")] == ["t.gguf"]
    assert list((root / "partial").iterdir()) == []


@pytest.mark.parametrize("point", POINTS)
async def test_a_killed_copy_is_either_not_there_or_whole(
    root: Path, starter: Path, hub: Hub, data: bytes, tmp_path: Path, point: str
) -> None:
    path = tmp_path / "t.gguf"
    path.write_bytes(data)
    await killed("copy", str(root), str(starter), hub.endpoint, str(path), point)
    async with opened(root, starter) as place:
        assert list(place.home.partial.iterdir()) == []
        model = await place.library.add(path, copy=True)
        assert (model.name, model.storage) == ("t", "own")
        assert len(await place.happened("model.added")) == 2  # the starter, and this one
    assert [path.name for path in (root / "models").rglob("*.gguf")] == ["t.gguf"]


# --- a full disk ----------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 40 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    if os.geteuid() != 0 or mount is None:
        pytest.skip("making a small disk needs root and mount")
    done = subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=40m", "kith-test", str(folder)], capture_output=True
    )
    if done.returncode != 0:
        pytest.skip(f"a small disk cannot be mounted here: {done.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.namespace
async def test_a_disk_that_fills_up_stops_the_pull_and_later_it_goes_on(
    small_disk: Path, starter: Path, hub: Hub
) -> None:
    data = llama_file(seed=31).to_bytes() + bytes(12 * MIB)
    ref = hub.put("ann/tiny", "t.gguf", data)
    hub.fail(Fault(hold_after=5 * MIB))
    hog = small_disk / "hog"
    async with pulling(small_disk / "home", starter, hub) as node:
        begun = await node.transfers.start_pull(PullModel(ref=ref), OWNER)
        await node.until(begun.id, 3 * MIB)
        hog.write_bytes(bytes(18 * MIB))
        hub.release()
        failed = await node.end(begun.id)
        assert failed.state == "failed"
        assert "not enough space on the disk" in failed.message
        assert "pull again" in failed.message
        kept = have(node.place.home.partial)
        assert kept >= 3 * MIB
        assert await node.place.happened("transfer.failed")  # the databases still have room
        again = await node.pull(ref)
        assert "not enough space" in again.message  # told before anything is fetched
        hog.unlink()
        done = await node.pull(ref)
        assert (done.state, done.id) == ("done", begun.id)
        assert hub.downloads()[-1].range_start == kept


@pytest.mark.namespace
async def test_without_room_nothing_is_fetched_or_copied(
    small_disk: Path, starter: Path, hub: Hub, tmp_path: Path
) -> None:
    data = llama_file(seed=31).to_bytes() + bytes(30 * MIB)
    (tmp_path / "t.gguf").write_bytes(data)
    async with pulling(small_disk / "home", starter, hub) as node:
        failed = await node.pull(hub.put("ann/tiny", "t.gguf", data))
        assert "not enough space" in failed.message
        assert hub.body_bytes() == 0
        begun = await node.transfers.start_add(
            AddModel(path=str(tmp_path / "t.gguf"), copy=True), OWNER
        )
        assert "without a copy" in (await node.end(begun.id)).message
        assert not list(node.place.home.partial.rglob("*.gguf"))
        added = await node.transfers.start_add(AddModel(path=str(tmp_path / "t.gguf")), OWNER)
        assert (await node.end(added.id)).state == "done"
