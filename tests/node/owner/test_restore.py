"""Becoming a new device of an owner: with the chain, without it, with the wrong one."""

import base64
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from node.owner import Identity, OwnerError, chainfile, deeds
from protocols import ids
from protocols.http.control import BackupWords, RestoreIdentity, RotateIdentity
from protocols.records import NET
from tests.node.owner.house import House


def names(identity: Identity) -> dict[str, str]:
    return {device.name: device.state for device in identity.describe().devices}


def archives(place: House) -> list[Path]:
    return sorted(place.home.backups.glob("identity-*"))


async def backup_of(place: House) -> BackupWords:
    return await (await place.identity("desk")).backup()


async def test_words_and_chain_make_a_new_certified_device(here: House, there: House) -> None:
    told = await backup_of(here)
    identity = await there.identity("laptop")
    old_device = identity.device_id
    await identity.restore(RestoreIdentity(words=told.words, chain=told.chain))
    assert identity.owner_id == (await here.identity()).owner_id
    assert identity.device_id not in (old_device, (await here.identity()).device_id)
    assert names(identity) == {"desk": "certified", "laptop": "certified"}
    described = identity.describe()
    assert (described.pending, described.backed_up, described.key_on_device) == ("", True, True)
    assert (await there.identity()).describe() == described
    assert await there.told("owner.restored") == 1


async def test_the_new_device_has_a_feed_of_its_own(here: House, there: House) -> None:
    told = await backup_of(here)
    identity = await there.identity("laptop")
    await identity.restore(RestoreIdentity(words=told.words, chain=told.chain))
    chain = await there.feeds.head(ids.parse_owner_id(identity.owner_id))
    assert chain is not None
    mine = chain.device(ids.parse_device_id(identity.device_id))
    assert mine is not None
    assert await there.feeds.verify(chain.feed) is None
    assert await there.feeds.verify(mine.feed) is None
    assert len({device.feed for device in chain.devices}) == 2


async def test_the_old_identity_is_kept_in_the_backups(here: House, there: House) -> None:
    told = await backup_of(here)
    identity = await there.identity("laptop")
    old_owner, kept = identity.owner_id, (there.home.keys / "device.key").read_bytes()
    await identity.restore(RestoreIdentity(words=told.words, chain=told.chain))
    (folder,) = archives(there)
    assert (folder / "device.key").read_bytes() == kept
    assert json.loads((folder / "identity.json").read_text())["owner"] == old_owner
    assert len(chainfile.unpack((folder / "chain.txt").read_text())) == 2
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    assert (folder / "owner.key").exists()


async def test_without_the_chain_the_device_is_pending_and_adds_nothing(
    here: House, there: House
) -> None:
    told = await backup_of(here)
    identity = await there.identity("laptop")
    await identity.restore(RestoreIdentity(words=told.words))
    assert identity.owner_id == (await here.identity()).owner_id
    assert names(identity) == {"laptop": "pending"}
    assert "node identity restore --chain FILE" in identity.describe().pending
    assert await there.feeds.head(ids.parse_owner_id(identity.owner_id)) is None
    with pytest.raises(OwnerError) as caught:
        await identity.rotate(RotateIdentity())
    assert caught.value.code == "not_certified"
    assert (await there.identity()).describe() == identity.describe()


async def test_a_pending_device_is_certified_when_the_chain_comes(
    here: House, there: House
) -> None:
    told = await backup_of(here)
    identity = await there.identity("laptop")
    await identity.restore(RestoreIdentity(words=told.words))
    device = identity.device_id
    with pytest.raises(OwnerError, match="--chain FILE"):
        await identity.restore(RestoreIdentity(words=""))
    await identity.restore(RestoreIdentity(words="", chain=told.chain))
    assert identity.device_id == device
    assert names(identity) == {"desk": "certified", "laptop": "certified"}
    assert len(archives(there)) == 1
    with pytest.raises(OwnerError, match="24 words"):
        await identity.restore(RestoreIdentity(words="", chain=told.chain))


async def test_a_pending_device_can_be_sealed_and_named(here: House, there: House) -> None:
    told = await backup_of(here)
    identity = await there.identity("laptop")
    await identity.restore(
        RestoreIdentity(words=told.words, device_name="attic", passphrase="pass")
    )
    assert identity.describe().passphrase
    assert identity.device_name == "attic"
    with pytest.raises(OwnerError) as caught:
        await identity.restore(RestoreIdentity(words="", chain=told.chain, passphrase="wrong"))
    assert caught.value.code == "wrong_passphrase"
    await identity.restore(RestoreIdentity(words="", chain=told.chain, passphrase="pass"))
    assert names(identity) == {"desk": "certified", "attic": "certified"}


async def test_two_rotations_then_restoring_with_the_chain(here: House, there: House) -> None:
    identity = await here.identity("desk")
    words = (await identity.backup()).words
    await identity.rotate(RotateIdentity())
    await identity.rotate(RotateIdentity(words=words))
    told = await identity.backup()
    far = await there.identity("laptop")
    await far.restore(RestoreIdentity(words=words, chain=told.chain))
    assert far.describe().rotations == 2
    await far.rotate(RotateIdentity())
    assert far.describe().rotations == 3


async def test_restoring_at_home_follows_the_chain_that_is_there(here: House) -> None:
    identity = await here.identity("desk")
    words = (await identity.backup(forget=True)).words
    before = identity.device_id
    await identity.restore(RestoreIdentity(words=words, device_name="desk 2"))
    assert identity.device_id != before
    assert identity.describe().key_on_device
    assert names(identity) == {"desk": "certified", "desk 2": "certified"}


async def test_an_older_copy_of_the_chain_does_not_roll_ours_back(here: House) -> None:
    identity = await here.identity("desk")
    old = await identity.backup()
    await identity.rotate(RotateIdentity())
    await identity.restore(RestoreIdentity(words=old.words, chain=old.chain, device_name="new"))
    assert identity.describe().rotations == 1
    assert names(identity)["new"] == "certified"


async def test_two_histories_of_one_owner_are_refused_and_the_proof_is_kept(
    here: House, there: House
) -> None:
    old = await backup_of(here)
    here_identity = await here.identity()
    far = await there.identity("laptop")
    await far.restore(RestoreIdentity(words=old.words, chain=old.chain))
    # Here the same place of the chain is taken by something else: the copy had been an old one.
    far_chain = (await far.backup()).chain
    await here_identity.restore(RestoreIdentity(words=old.words, device_name="desk 2"))
    with pytest.raises(OwnerError, match="two histories") as caught:
        await far.restore(
            RestoreIdentity(words=old.words, chain=(await here_identity.backup()).chain)
        )
    assert caught.value.code == "bad_chain"
    assert far_chain == (await far.backup()).chain
    (proof,) = await there.feeds.forks(ids.parse_owner_id(far.owner_id))
    assert proof.seq == 2
    # The frozen chain takes nothing but a rotation, which settles it.
    before, keys = far.describe(), key_files(there)
    with pytest.raises(OwnerError, match="frozen") as caught:
        await far.restore(RestoreIdentity(words=old.words))
    assert caught.value.code == "bad_chain"
    assert (await there.identity()).describe() == before
    assert key_files(there) == keys
    with pytest.raises(OwnerError):
        await far.revoke_device("desk")
    await far.rotate(RotateIdentity())
    await far.revoke_device("desk")


def cut(text: str) -> str:
    return text[: len(text) // 2]


def without_first(text: str) -> str:
    return chainfile.pack(chainfile.unpack(text)[1:])


def device_feed_only(text: str) -> str:
    return chainfile.pack([chainfile.unpack(text)[0], b"not a record"])


def of_two_owners(text: str) -> str:
    other = deeds.genesis(bytes(32), NET)
    return chainfile.pack([*chainfile.unpack(text), other])


def changed(text: str) -> str:
    data = bytearray(base64.b64decode(text))
    data[-5] ^= 1
    return base64.b64encode(data).decode()


@pytest.mark.parametrize(
    "spoil",
    [
        cut,
        without_first,
        device_feed_only,
        of_two_owners,
        changed,
        lambda _: "!",
        lambda _: "A" * 10**7,
    ],
)
async def test_a_spoiled_chain_changes_nothing(
    here: House, there: House, spoil: Callable[[str], str]
) -> None:
    told = await backup_of(here)
    identity = await there.identity("laptop")
    before, keys = identity.describe(), key_files(there)
    with pytest.raises(OwnerError) as caught:
        await identity.restore(RestoreIdentity(words=told.words, chain=spoil(told.chain)))
    assert caught.value.code == "bad_chain"
    assert (await there.identity()).describe() == identity.describe() == before
    assert key_files(there) == keys


async def test_words_and_chain_of_different_owners_change_nothing(
    here: House, there: House
) -> None:
    told = await backup_of(here)
    identity = await there.identity("laptop")
    others = await identity.backup()
    before, keys = identity.describe(), key_files(there)
    with pytest.raises(OwnerError) as caught:
        await identity.restore(RestoreIdentity(words=others.words, chain=told.chain))
    assert caught.value.code == "wrong_words"
    assert (await there.identity()).describe() == before
    assert key_files(there) == keys
    assert await there.feeds.head(ids.parse_owner_id((await here.identity()).owner_id)) is None


async def test_wrong_words_change_nothing(there: House) -> None:
    identity = await there.identity("laptop")
    before, keys = identity.describe(), key_files(there)
    with pytest.raises(OwnerError) as caught:
        await identity.restore(RestoreIdentity(words="joke " * 24))
    assert caught.value.code == "bad_words"
    assert identity.describe() == before
    assert key_files(there) == keys


def key_files(place: House) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in place.home.keys.iterdir()}


async def test_a_revoked_device_says_so_and_comes_back_as_a_new_one(
    here: House, there: House
) -> None:
    told = await backup_of(here)
    far = await there.identity("laptop")
    await far.restore(RestoreIdentity(words=told.words, chain=told.chain))
    grown = chainfile.unpack((await far.backup()).chain)
    await here.database.run(lambda tables: here.feeds.extend(tables, grown))
    identity = await here.identity()
    await identity.revoke_device(far.device_id, "stolen")
    newest = (await identity.backup()).chain
    await there.database.run(lambda tables: there.feeds.extend(tables, chainfile.unpack(newest)))
    far = await there.identity()
    assert "the owner revoked this device" in far.describe().pending
    await far.restore(RestoreIdentity(words=told.words, device_name="laptop again"))
    assert names(far) == {"desk": "certified", "laptop": "revoked", "laptop again": "certified"}
    assert far.describe().pending == ""
