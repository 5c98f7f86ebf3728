"""API keys in a real database."""

import pytest
import trio

from node.owner import OwnerError
from node.owner import grants as grants_module
from node.owner.grants import Grants
from node.store import Database
from protocols.http.control import NewKey
from tests.node.owner.house import START, House

TOKEN = "kith_the-owners-own-token"


def everything_stored(database: Database) -> str:
    return database.run_sync(lambda tables: "\n".join(tables.conn.iterdump()))


async def test_a_new_key_is_recognised_and_carries_its_rights(here: House) -> None:
    grants = await here.grants()
    made = await grants.new(NewKey("phone", label="device", ceiling="fleet", may=("chat", "embed")))
    caller = grants.authenticate(made.secret)
    assert caller is not None
    assert (caller.id, caller.kind) == (made.key.id, "grant")
    assert (caller.label, caller.ceiling) == ("device", "fleet")
    assert caller.may == {"chat", "embed"}


async def test_the_secret_is_stored_nowhere(here: House) -> None:
    grants = await here.grants()
    made = await grants.new(NewKey("phone"))
    assert made.secret.startswith("kith_")
    assert len(made.secret) == len("kith_") + 43
    stored = everything_stored(here.database)
    assert made.key.id in stored
    assert made.secret not in stored
    assert made.secret.removeprefix("kith_") not in stored


async def test_the_owners_token_is_the_owner(here: House) -> None:
    grants = await here.grants()
    caller = grants.authenticate(TOKEN)
    assert caller == grants.owner_caller
    assert caller is not None
    assert (caller.id, caller.kind, caller.may) == ("owner", "owner", {"*"})


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "kith_",
        TOKEN[:-1],
        TOKEN + "x",
        TOKEN.upper(),
        " " + TOKEN,
        "ключ",
        "\udcff",
        "x" * 10**6,
    ],
)
async def test_any_other_secret_is_nobody(here: House, secret: str) -> None:
    grants = await here.grants()
    await grants.new(NewKey("phone"))
    assert grants.authenticate(secret) is None


async def test_an_expired_key_is_nobody_from_that_moment(here: House) -> None:
    grants = await here.grants()
    made = await grants.new(NewKey("guest", expires_in_s=60))
    assert made.key.expires_at == START + 60
    here.clock.at = START + 59.9
    assert grants.authenticate(made.secret) is not None
    here.clock.at = START + 60
    assert grants.authenticate(made.secret) is None


async def test_a_revoked_key_is_nobody_also_after_a_restart(here: House) -> None:
    grants = await here.grants()
    made = await grants.new(NewKey("phone"))
    kept = await grants.new(NewKey("laptop"))
    revoked = await grants.revoke("phone")
    assert revoked.revoked_at == START
    for each in (grants, await here.grants()):
        assert each.authenticate(made.secret) is None
        assert each.authenticate(kept.secret) is not None


async def test_revoking_goes_by_id_too_and_twice_changes_nothing(here: House) -> None:
    grants = await here.grants()
    made = await grants.new(NewKey("phone"))
    first = await grants.revoke(made.key.id)
    here.clock.at += 10
    assert await grants.revoke(made.key.id) == first
    assert await here.told("grant.revoked") == 1


async def test_revoking_an_unknown_key_says_so(here: House) -> None:
    grants = await here.grants()
    with pytest.raises(OwnerError, match="no API key 'nobody'") as caught:
        await grants.revoke("nobody")
    assert caught.value.code == "unknown_grant"


async def test_a_name_is_taken_until_its_key_ends(here: House) -> None:
    grants = await here.grants()
    await grants.new(NewKey("phone", expires_in_s=60))
    with pytest.raises(OwnerError) as caught:
        await grants.new(NewKey(" phone "))
    assert caught.value.code == "name_taken"
    here.clock.at += 60
    again = await grants.new(NewKey("phone"))
    assert (await grants.revoke("phone")).id == again.key.id
    await grants.new(NewKey("phone"))
    assert [key.name for key in await grants.list()] == ["phone"] * 3


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (NewKey(""), "name"),
        (NewKey("  "), "name"),
        (NewKey("x" * 200), "name"),
        (NewKey("a\nb"), "name"),
        (NewKey("k", label="secret"), "label"),
        (NewKey("k", ceiling="mesh:"), "ceiling"),
        (NewKey("k", label="fleet", ceiling="device"), "further than the ceiling"),
        (NewKey("k", label="mesh:a", ceiling="mesh:b"), "further than the ceiling"),
        (NewKey("k", may=()), "list actions"),
        (NewKey("k", may=("chat", "fly")), "'fly' is no action"),
        (NewKey("k", may=("identity",)), "only the owner may"),
        (NewKey("k", may=("*", "grants")), "only the owner may"),
        (NewKey("k", expires_in_s=0), "expires"),
        (NewKey("k", expires_in_s=-5), "expires"),
        (NewKey("k", expires_in_s=float("nan")), "expires"),
        (NewKey("k", expires_in_s=float("inf")), "expires"),
        (NewKey("k", expires_in_s=1e12), "expires"),
    ],
)
async def test_what_no_key_can_be_is_refused(here: House, ask: NewKey, says: str) -> None:
    grants = await here.grants()
    with pytest.raises(OwnerError, match=says) as caught:
        await grants.new(ask)
    assert caught.value.code == "bad_request"
    assert await grants.list() == []
    assert await here.told("grant.") == 0


async def test_the_number_of_keys_is_bounded(here: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grants_module, "_MOST_KEYS", 2)
    grants = await here.grants()
    await grants.new(NewKey("a"))
    await grants.new(NewKey("b"))
    with pytest.raises(OwnerError, match="2 API keys already"):
        await grants.new(NewKey("c"))
    await grants.revoke("a")
    await grants.new(NewKey("c"))


async def test_last_use_is_seen_at_once_and_written_when_closed(here: House) -> None:
    grants = await here.grants()
    made = await grants.new(NewKey("phone"))
    here.clock.at += 5
    async with grants.run():
        for _ in range(100):
            assert grants.authenticate(made.secret) is not None
        assert (await grants.list())[0].last_used_at == START + 5
        assert (await (await here.grants()).list())[0].last_used_at is None  # not written yet
    assert (await (await here.grants()).list())[0].last_used_at == START + 5


async def test_last_use_is_written_once_a_minute(
    here: House, autojump_clock: trio.testing.MockClock
) -> None:
    grants = await here.grants()
    made = await grants.new(NewKey("phone"))
    async with grants.run():
        grants.authenticate(made.secret)
        await trio.sleep(61)
        assert (await _stored(here))[0] == START


async def _stored(here: House) -> list[float | None]:
    return [key.last_used_at for key in await (await here.grants()).list()]


async def test_a_full_disk_never_stops_the_node_for_a_last_use(here: House) -> None:
    grants: Grants
    grants = await here.grants()
    made = await grants.new(NewKey("phone"))
    async with grants.run():
        grants.authenticate(made.secret)
        here.database.close()  # whatever is asked of it now fails
