"""`node identity` and `node grants`, by their commands, against a real node."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from node.cli.errors import REFUSED, USAGE
from protocols.http import requests
from protocols.http.control import Identity, ProtectIdentity, RevokeDevice
from tests.support.node_process import NodeProcess, a_node


def identity_of(node: NodeProcess) -> Identity:
    return node.client().call(requests.identity())


def words_in(text: str) -> str:
    return " ".join(re.findall(r"\d+\. (\w+)", text))


def backed_up(node: NodeProcess, chain: Path) -> str:
    done = node.kith("identity", "backup", "--chain", str(chain))
    assert done.returncode == 0, done.stderr
    words = words_in(done.stdout)
    assert len(words.split()) == 24
    return words


def test_words_and_chain_bring_the_owner_back_on_another_machine(tmp_path: Path) -> None:
    with a_node(tmp_path / "a") as first, a_node(tmp_path / "b") as second:
        before, chain = identity_of(first), tmp_path / "chain.kith"
        words = backed_up(first, chain)
        done = second.kith("identity", "restore", "--chain", str(chain), stdin=words + "\n")
        assert done.returncode == 0, done.stderr
        after = identity_of(second)
        assert after.owner == before.owner
        assert after.device != before.device
        assert {d.id for d in after.devices if d.state == "certified"} == {
            before.device,
            after.device,
        }


def test_without_the_chain_the_device_waits_and_says_for_what(tmp_path: Path) -> None:
    with a_node(tmp_path / "a") as first, a_node(tmp_path / "b") as second:
        before, chain = identity_of(first), tmp_path / "chain.kith"
        words = backed_up(first, chain)
        done = second.kith("identity", "restore", stdin=words + "\n")
        assert done.returncode == 0, done.stderr
        assert "--chain" in done.stdout
        waiting = identity_of(second)
        assert waiting.owner == before.owner
        assert waiting.pending
        done = second.kith("identity", "restore", "--chain", str(chain))
        assert done.returncode == 0, done.stderr
        assert identity_of(second).pending == ""


def test_wrong_words_are_refused_and_nothing_changes(node: NodeProcess) -> None:
    before = identity_of(node)
    done = node.kith("identity", "restore", stdin="these are not the words\n")
    assert done.returncode != 0
    assert done.stderr.count("\n") == 1
    assert identity_of(node) == before


def test_the_id_survives_a_rotation_and_the_backup_is_asked_for_again(
    own_node: NodeProcess, tmp_path: Path
) -> None:
    before = identity_of(own_node)
    backed_up(own_node, tmp_path / "chain")
    assert own_node.kith("identity", "rotate").returncode == 0
    after = identity_of(own_node)
    assert (after.owner, after.rotations) == (before.owner, before.rotations + 1)
    assert own_node.kith("audit", "verify").stdout == "every event fits its chain\n"


def test_the_key_leaves_the_device_only_when_the_words_were_typed_again(
    own_node: NodeProcess, tmp_path: Path
) -> None:
    words = backed_up(own_node, tmp_path / "chain")
    wrong = own_node.kith("identity", "backup", "--forget", stdin="no\n")
    assert wrong.returncode == USAGE
    assert identity_of(own_node).key_on_device
    right = own_node.kith("identity", "backup", "--forget", stdin=words + "\n")
    assert right.returncode == 0, right.stderr
    assert not identity_of(own_node).key_on_device
    assert own_node.kith("identity", "rotate").returncode != 0
    assert own_node.kith("identity", "rotate", "--words", stdin=words + "\n").returncode == 0


def test_a_passphrase_is_needed_once_it_is_set(own_node: NodeProcess) -> None:
    client = own_node.client()
    client.call(requests.protect_identity(ProtectIdentity(None, "correct horse")))
    assert identity_of(own_node).passphrase
    assert own_node.kith("identity", "rotate").returncode != 0
    client.call(requests.protect_identity(ProtectIdentity("correct horse", None)))
    assert own_node.kith("identity", "rotate").returncode == 0


def test_a_device_that_is_no_longer_yours(tmp_path: Path) -> None:
    with a_node(tmp_path / "a") as first, a_node(tmp_path / "b") as second:
        chain = tmp_path / "chain"
        words = backed_up(first, chain)
        second.kith(
            "identity", "restore", "--chain", str(chain), "--device-name", "new", stdin=words + "\n"
        )
        old = next(d for d in identity_of(second).devices if not d.this)
        second.client().call(requests.revoke_device(RevokeDevice(old.id, why="sold")))
        assert next(d for d in identity_of(second).devices if d.id == old.id).state == "revoked"
        assert "revoked" in second.kith("identity", "devices").stdout


@pytest.mark.native
def test_a_key_chats_until_it_is_revoked_and_never_reaches_the_identity(node: NodeProcess) -> None:
    import httpx

    made = json.loads(node.kith("grants", "new", "editor", "--json").stdout)
    headers = {"Authorization": f"Bearer {made['secret']}"}
    with httpx.Client(base_url=node.node.address, headers=headers, timeout=60) as http:
        body = {"model": "starter", "messages": [{"role": "user", "content": "hello"}]}
        assert http.post("/v1/chat/completions", json=body).status_code == 200
        assert http.get("/node/v1/identity").status_code == 403
        assert node.kith("grants", "revoke", "editor").returncode == 0
        assert http.post("/v1/chat/completions", json=body).status_code == 401


def test_a_ceiling_below_the_label_is_refused(node: NodeProcess) -> None:
    done = node.kith("grants", "new", "odd", "--label", "public", "--ceiling", "device")
    assert done.returncode in (USAGE, REFUSED)
    assert done.stderr.count("\n") == 1
