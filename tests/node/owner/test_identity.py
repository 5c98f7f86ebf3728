"""First start, backup, rotation, revocation: real files, a real database."""

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
import sqlite_utils
import trio

from node.owner import Identity, OwnerError, chainfile, deeds, words
from node.store import StoreError, StoreFull
from protocols import ids
from protocols.chain import ChainState
from protocols.envelope import open_envelope
from protocols.http.control import RestoreIdentity, RotateIdentity
from tests.node.owner.house import START, House, house
from tests.node.store.disks import fill, no_file_grows, small_disk

T = TypeVar("T")


async def chain_of(place: House, identity: Identity) -> ChainState:
    found = await place.feeds.head(ids.parse_owner_id(identity.owner_id))
    assert found is not None
    return found


async def second_device(here: House, root: Path, words: str, name: str = "phone") -> str:
    """Restore on another machine and bring the chain back here, as synchronisation would."""
    with house(root) as other:
        far = await other.identity()
        chain = (await (await here.identity()).backup()).chain
        await far.restore(RestoreIdentity(words=words, chain=chain, device_name=name))
        grown = chainfile.unpack((await far.backup()).chain)
        device = far.device_id
    await here.database.run(lambda tables: here.feeds.extend(tables, grown))
    return device


async def test_the_first_start_makes_owner_device_and_token(here: House) -> None:
    identity = await here.identity("desk")
    told = identity.describe()
    assert told.owner.startswith("kith1")
    assert told.device.startswith("12D3KooW")
    assert (told.device_name, told.created_at) == ("desk", START)
    assert (told.rotations, told.backed_up, told.key_on_device) == (0, False, True)
    assert (told.passphrase, told.pending) == (False, "")
    (device,) = told.devices
    assert (device.id, device.state, device.this, device.since) == (
        told.device,
        "certified",
        True,
        START,
    )
    assert here.home.token_file.read_text().strip() == identity.token


async def test_every_secret_file_is_private(here: House) -> None:
    await here.identity()
    files = {path.name: path for path in here.home.keys.iterdir()}
    assert set(files) == {"owner.key", "device.key", "api-token", "identity.json"}
    for path in files.values():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_both_feeds_verify_and_the_events_tell_it(here: House) -> None:
    identity = await here.identity()
    chain = await chain_of(here, identity)
    (device,) = chain.devices
    assert chain.seq == 1
    assert await here.feeds.verify(chain.feed) is None
    assert await here.feeds.verify(device.feed) is None
    assert [e.kind for e in await here.events.read()] == ["owner.made", "device.added"]
    assert await here.events.verify() is None


async def test_the_next_start_is_the_same_node(here: House) -> None:
    first = await here.identity("desk")
    here.clock.at += 1000
    again = await here.identity("another name")
    assert again.describe() == first.describe()
    assert again.token == first.token
    assert await here.told("owner.made") == 1


async def test_the_device_signs_for_a_domain(here: House) -> None:
    identity = await here.identity()
    opened = open_envelope(
        identity.sign_as_device("kith/test", b"hello"), "kith/test", max_bytes=999
    )
    assert opened.payload == b"hello"
    assert [ids.device_id(key) for key in opened.signers] == [identity.device_id]


async def test_backup_gives_the_words_and_the_chain_and_ends_the_hint(here: House) -> None:
    identity = await here.identity()
    assert "node identity backup" in (identity.backup_hint() or "")
    told = await identity.backup()
    assert len(told.words.split()) == 24
    owner = deeds.owner_of(words.from_words(told.words), "kith")
    assert ids.owner_text(owner) == identity.owner_id
    assert len(chainfile.unpack(told.chain)) == 2
    assert identity.describe().backed_up
    assert identity.backup_hint() is None
    assert (await here.identity()).backup_hint() is None
    assert await here.told("owner.backed_up") == 1


async def test_the_hint_comes_back_when_the_chain_grew(here: House) -> None:
    identity = await here.identity()
    await identity.backup()
    await identity.rotate(RotateIdentity())
    assert "save the chain again" in (identity.backup_hint() or "")
    await identity.backup()
    assert identity.backup_hint() is None


async def test_forgetting_leaves_no_owner_key_and_words_still_work(here: House) -> None:
    identity = await here.identity()
    told = await identity.backup(forget=True)
    assert not (here.home.keys / "owner.key").exists()
    assert not identity.describe().key_on_device
    for attempt in (identity.backup, lambda: identity.rotate(RotateIdentity())):
        with pytest.raises(OwnerError) as caught:
            await attempt()
        assert caught.value.code == "no_owner_key"
    await identity.rotate(RotateIdentity(words=told.words))
    assert identity.describe().rotations == 1
    assert not (await here.identity()).describe().key_on_device


async def test_a_passphrase_protects_the_key_on_disk(here: House) -> None:
    identity = await here.identity()
    before = await identity.backup()
    await identity.protect(None, "correct horse")
    again = await here.identity()
    assert again.describe().passphrase
    for wrong in (None, "", "wrong"):
        with pytest.raises(OwnerError) as caught:
            await again.backup(wrong)
        assert caught.value.code == "wrong_passphrase"
    assert (await again.backup("correct horse")).words == before.words
    with pytest.raises(OwnerError):
        await again.rotate(RotateIdentity(passphrase="wrong"))
    await again.rotate(RotateIdentity(passphrase="correct horse"))
    await again.protect("correct horse", None)
    assert not again.describe().passphrase


async def test_rotating_keeps_the_owner_and_changes_the_key(here: House) -> None:
    identity = await here.identity()
    before = await chain_of(here, identity)
    here.clock.at += 60
    await identity.rotate(RotateIdentity())
    await identity.rotate(RotateIdentity())
    after = await chain_of(here, identity)
    assert after.feed == before.feed
    assert len({before.key, after.key, *after.retired}) == 3
    assert identity.describe().rotations == 2
    assert identity.describe().devices[0].state == "certified"
    assert await here.told("owner.rotated") == 2
    assert await here.feeds.verify(after.feed) is None


async def test_words_of_another_owner_rotate_nothing(here: House, there: House) -> None:
    identity = await here.identity()
    others = await (await there.identity()).backup()
    before = await chain_of(here, identity)
    with pytest.raises(OwnerError, match="another owner") as caught:
        await identity.rotate(RotateIdentity(words=others.words))
    assert caught.value.code == "wrong_words"
    with pytest.raises(OwnerError) as caught:
        await identity.rotate(RotateIdentity(words="abandon " * 24))
    assert caught.value.code == "bad_words"
    assert await chain_of(here, identity) == before
    assert await here.told("owner.rotated") == 0


async def test_a_clock_that_was_set_back_does_not_stop_a_rotation(here: House) -> None:
    identity = await here.identity()
    here.clock.at -= 7 * 24 * 3600
    await identity.rotate(RotateIdentity())
    assert identity.describe().rotations == 1


async def test_revoking_another_device(here: House, tmp_path: Path) -> None:
    told = await (await here.identity()).backup()
    phone = await second_device(here, tmp_path / "phone", told.words)
    identity = await here.identity()
    here.clock.at += 60
    await identity.revoke_device(phone, "lost in a train")
    states = {device.name: device.state for device in identity.describe().devices}
    assert states == {"desk": "certified", "phone": "revoked"}
    assert next(d for d in identity.describe().devices if d.id == phone).since == START + 60
    assert await here.told("device.revoked") == 1
    with pytest.raises(OwnerError) as caught:
        await identity.revoke_device(phone)
    assert caught.value.code == "unknown_device"


async def test_a_device_is_revoked_by_a_name_that_only_one_has(here: House, tmp_path: Path) -> None:
    told = await (await here.identity()).backup()
    await second_device(here, tmp_path / "a", told.words, "phone")
    await second_device(here, tmp_path / "b", told.words, "phone")
    identity = await here.identity()
    with pytest.raises(OwnerError, match="several devices"):
        await identity.revoke_device("phone")


@pytest.mark.parametrize("id", ["", "nothing", "12D3KooW" + "1" * 44, "x" * 10_000])
async def test_an_unknown_device_is_not_revoked(here: House, id: str) -> None:
    identity = await here.identity()
    with pytest.raises(OwnerError) as caught:
        await identity.revoke_device(id)
    assert caught.value.code == "unknown_device"


async def test_a_device_does_not_revoke_itself(here: House) -> None:
    identity = await here.identity()
    with pytest.raises(OwnerError, match="cannot revoke itself"):
        await identity.revoke_device(identity.device_id)


async def test_a_reason_has_a_bound(here: House, tmp_path: Path) -> None:
    told = await (await here.identity()).backup()
    phone = await second_device(here, tmp_path / "phone", told.words)
    identity = await here.identity()
    with pytest.raises(OwnerError) as caught:
        await identity.revoke_device(phone, "x" * 5000)
    assert caught.value.code == "bad_request"


async def test_a_missing_device_key_is_told_and_not_replaced(here: House) -> None:
    await here.identity()
    (here.home.keys / "device.key").unlink()
    with pytest.raises(OwnerError, match=r"device\.key is missing") as caught:
        await here.identity()
    assert caught.value.code == "keys_unusable"
    assert not (here.home.keys / "device.key").exists()


async def test_another_devices_key_is_refused(here: House, there: House) -> None:
    await here.identity()
    await there.identity()
    (there.home.keys / "device.key").replace(here.home.keys / "device.key")
    with pytest.raises(OwnerError, match="is another device's"):
        await here.identity()


async def test_keys_whose_database_is_lost_get_no_second_history(tmp_path: Path) -> None:
    with house(tmp_path / "h") as before:
        await before.identity()
    for file in before.home.data.iterdir():
        file.unlink()
    with house(tmp_path / "h") as after:
        with pytest.raises(OwnerError, match="does not know the owner") as caught:
            await after.identity()
        assert caught.value.code == "keys_unusable"
        assert await after.told("") == 0


async def test_a_strange_device_name_is_cleaned(here: House) -> None:
    identity = await here.identity("  a\x00b\n" + "ü" * 300)
    assert identity.device_name.startswith("abü")
    assert len(identity.device_name) == 128


async def test_a_first_start_on_a_full_disk_writes_nothing_half(here: House) -> None:
    with no_file_grows(), pytest.raises(StoreFull, match="no space left"):
        await here.identity()
    assert list(here.home.keys.iterdir()) == []
    assert (await here.identity()).describe().pending == ""


@pytest.mark.namespace
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
async def test_an_identity_on_a_really_full_disk_stays_whole(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", megabytes=2) as disk, house(disk / "home") as here:
        identity = await here.identity()
        told = await identity.backup()
        before = identity.describe()
        ballast = fill(disk)
        with pytest.raises(StoreError):
            await identity.restore(RestoreIdentity(words=told.words, chain=told.chain))
        with pytest.raises(StoreError):
            await identity.protect(None, "a passphrase")
        assert identity.describe() == before
        ballast.unlink()
        assert (await here.identity()).describe() == before
        await identity.rotate(RotateIdentity())
        assert await here.events.verify() is None


@pytest.mark.parametrize("deed", ["rotate", "restore", "forget"])
async def test_a_cancelled_caller_leaves_memory_and_disk_the_same(
    here: House, monkeypatch: pytest.MonkeyPatch, deed: str
) -> None:
    identity = await here.identity()
    words = (await identity.backup()).words
    run = here.database.run
    for transactions in (1, 2, 3):
        left = transactions
        with trio.CancelScope() as scope, monkeypatch.context() as patched:

            async def run_and_cancel(work: Callable[[sqlite_utils.Database], T]) -> T:
                """The caller goes away just when a transaction is through."""
                nonlocal left
                result = await run(work)
                left -= 1
                if left == 0:
                    scope.cancel()
                return result

            patched.setattr(here.database, "run", run_and_cancel)
            if deed == "rotate":
                await identity.rotate(RotateIdentity(words=words))
            elif deed == "restore":
                await identity.restore(RestoreIdentity(words=words))
            else:
                await identity.restore(RestoreIdentity(words=words))
                await identity.backup(forget=True)
        assert (await here.identity()).describe() == identity.describe()
    assert await here.events.verify() is None
