"""Kill the node at every step of what changes its identity: the next start is whole, before or after."""

import subprocess
import sys
from pathlib import Path

import pytest

from node.owner import Identity, OwnerError, chainfile, words
from protocols import ids
from protocols.chain import ChainState
from protocols.http.control import RotateIdentity
from protocols.records import open_record
from tests.node.owner.house import House, house

ROOT = Path(__file__).parents[3]


def kill_at_every_step(scenario: str, folder: Path, *, least: int) -> list[Path]:
    """The homes that the killed runs left; the last one was not killed."""
    ended = subprocess.run(
        [sys.executable, "-m", "tests.node.owner.killed", scenario, str(folder)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=150,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    runs = int(ended.stdout)
    assert runs > least, "the steps are not seen any more"
    return [folder / str(number) for number in range(1, runs + 1)]


async def sound(here: House) -> tuple[Identity, ChainState]:
    """Start on what a killed run left, twice, and check everything that can be checked."""
    identity = await here.identity()
    assert (await here.identity()).describe() == identity.describe()
    chain = await here.feeds.head(ids.parse_owner_id(identity.owner_id))
    assert chain is not None
    assert await here.feeds.verify(chain.feed) is None
    for device in chain.devices:
        if device.key == ids.parse_device_id(identity.device_id):
            assert await here.feeds.verify(device.feed) is None
    assert await here.events.verify() is None
    assert identity.describe().pending == ""
    left = {path.name for path in here.home.keys.iterdir()}
    assert left <= {"owner.key", "device.key", "api-token", "identity.json"}
    return identity, chain


async def test_a_first_start_that_is_killed_is_finished_by_the_next(tmp_path: Path) -> None:
    for root in kill_at_every_step("first_start", tmp_path, least=15):
        with house(root) as here:
            identity, chain = await sound(here)
            assert len(chain.devices) == 1
            assert await here.told("owner.made") == 1
            told = await identity.backup()
            assert len(words.from_words(told.words)) == 32


async def test_a_restore_that_is_killed_is_the_old_identity_or_the_new(tmp_path: Path) -> None:
    with house(tmp_path / "other") as other:
        told = await (await other.identity("desk")).backup()
    with house(tmp_path / "base") as base:
        old = (await base.identity("laptop")).describe()
    (tmp_path / "secrets").write_text(f"{told.words}\n{told.chain}\n")
    new_owner = ids.owner_text(_owner_of(told.chain))
    seen = set()
    for root in kill_at_every_step("restore", tmp_path, least=30):
        with house(root) as here:
            identity, chain = await sound(here)
            seen.add(identity.owner_id)
            if identity.owner_id == old.owner:
                assert identity.describe() == old
            else:
                assert identity.owner_id == new_owner
                assert [device.name for device in chain.devices] == ["desk", "new"]
                assert list(here.home.backups.glob("identity-*/device.key"))
                assert (await identity.backup()).words == told.words
    assert seen == {old.owner, new_owner}


def _owner_of(chain: str) -> bytes:
    return open_record(chainfile.unpack(chain)[0]).feed


async def test_a_rotation_and_a_forgetting_that_are_killed_lose_nothing(tmp_path: Path) -> None:
    with house(tmp_path / "base") as base:
        told = await (await base.identity("desk")).backup()
    rotations, kept = set(), set()
    for root in kill_at_every_step("rotate_and_forget", tmp_path, least=8):
        with house(root) as here:
            identity, _ = await sound(here)
            described = identity.describe()
            rotations.add(described.rotations)
            kept.add(described.key_on_device)
            assert await here.told("owner.rotated") == described.rotations
            if not described.key_on_device:
                with pytest.raises(OwnerError):
                    await identity.backup()
            await identity.rotate(RotateIdentity(words=told.words))
    assert rotations == {0, 1}
    assert kept == {True, False}
