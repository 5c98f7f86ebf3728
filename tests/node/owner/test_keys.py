"""The secrets on disk."""

import logging
import os
import stat
from pathlib import Path

import pytest

from node.owner import OwnerError, keys
from node.owner.files import read_private, remove_leftovers, write_private

ENTROPY = bytes(range(32))


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_owner_keys_differ_by_number_and_by_secret() -> None:
    made = [bytes(keys.owner_key(e, i)) for e in (ENTROPY, bytes(32)) for i in range(4)]
    assert len(set(made)) == 8
    assert ENTROPY not in made


def test_an_owner_key_is_the_same_for_ever() -> None:
    # A change of the derivation would lose every owner: these bytes must never change.
    assert bytes(keys.owner_key(ENTROPY, 0).verify_key).hex() == (
        "ed6b987356b1ae578b064189a1cf4aa0276adec6eacbdbb65f094720104c5282"
    )
    assert bytes(keys.owner_key(ENTROPY, 1).verify_key).hex() == (
        "2a405598e3353a4f4452cdfd819c7d9223e23852843e66f1255991e01b582142"
    )


@pytest.mark.parametrize(("entropy", "index"), [(b"", 0), (bytes(31), 0), (bytes(32), -1)])
def test_a_wrong_secret_gives_no_key(entropy: bytes, index: int) -> None:
    with pytest.raises(ValueError):
        keys.owner_key(entropy, index)


def test_a_plain_owner_file_gives_back_the_secret(tmp_path: Path) -> None:
    path = tmp_path / "owner.key"
    keys.write_owner_file(path, keys.seal(ENTROPY, None))
    file = keys.read_owner_file(path)
    assert file is not None
    assert not file.has_passphrase
    assert file.open(None) == ENTROPY
    assert mode(path) == 0o600


def test_a_sealed_owner_file_opens_with_its_passphrase_only(tmp_path: Path) -> None:
    path = tmp_path / "owner.key"
    keys.write_owner_file(path, keys.seal(ENTROPY, "Überraschung 1"))
    assert ENTROPY.hex() not in path.read_text()
    file = keys.read_owner_file(path)
    assert file is not None
    assert file.has_passphrase
    assert file.open("U\u0308berraschung 1") == ENTROPY  # typed on another keyboard
    for wrong in ("überraschung 1", "", None):
        with pytest.raises(OwnerError) as caught:
            file.open(wrong)
        assert caught.value.code == "wrong_passphrase"


def test_an_absurd_passphrase_is_refused() -> None:
    for wrong in ("", "x" * 5000):
        with pytest.raises(OwnerError) as caught:
            keys.seal(ENTROPY, wrong)
        assert caught.value.code == "bad_request"


@pytest.mark.parametrize(
    "content",
    [
        "",
        "not json",
        "[]",
        "{}",
        '{"version": 1}',
        '{"version": 2, "entropy": "00"}',
        '{"version": 1, "entropy": "zz"}',
        '{"version": 1, "entropy": "0011"}',
        '{"version": 1, "entropy": "00", "sealed": "00"}',
        '{"version": 1, "entropy": "00", "more": 1}',
        '{"version": 1, "salt": "00", "sealed": "0011"}',
        '{"version": 1, "salt": "00112233445566778899aabbccddeeff", "sealed": "0011"}',
    ],
)
def test_a_damaged_owner_file_says_so(tmp_path: Path, content: str) -> None:
    path = tmp_path / "owner.key"
    write_private(path, content.encode())
    with pytest.raises(OwnerError) as caught:
        open_owner_file(path)
    assert caught.value.code == "keys_unusable"


def open_owner_file(path: Path) -> bytes:
    file = keys.read_owner_file(path)
    assert file is not None
    return file.open("a passphrase")


def test_a_missing_owner_file_is_no_error(tmp_path: Path) -> None:
    assert keys.read_owner_file(tmp_path / "owner.key") is None
    assert keys.read_device_key(tmp_path / "device.key") is None


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_damaged_device_key_says_so(tmp_path: Path, size: int) -> None:
    path = tmp_path / "device.key"
    write_private(path, bytes(size))
    with pytest.raises(OwnerError, match=f"{size} bytes instead of 32"):
        keys.read_device_key(path)


def test_the_token_is_made_once_and_is_private(tmp_path: Path) -> None:
    path = tmp_path / "api-token"
    token = keys.ensure_token(path)
    assert token.startswith("kith_")
    assert len(token) >= 48
    assert keys.ensure_token(path) == token
    assert mode(path) == 0o600


@pytest.mark.parametrize("left", [b"", b"kith_", b"\xff\xfe" * 40, b"password\n"])
def test_an_empty_or_broken_token_is_made_anew(tmp_path: Path, left: bytes) -> None:
    path = tmp_path / "api-token"
    write_private(path, left)
    token = keys.ensure_token(path)
    assert len(token) >= 48
    assert keys.ensure_token(path) == token


@pytest.mark.parametrize("wide", [0o644, 0o640, 0o604, 0o777])
def test_a_mode_that_is_too_open_is_tightened_with_a_warning(
    tmp_path: Path, wide: int, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "device.key"
    write_private(path, bytes(32))
    path.chmod(wide)
    with caplog.at_level(logging.WARNING):
        assert keys.read_device_key(path) is not None
    assert mode(path) == 0o600
    assert "device.key could be read by others" in caplog.text


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_another_users_key_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "device.key"
    write_private(path, bytes(32))
    os.chown(path, 12345, 12345)
    with pytest.raises(OwnerError, match="belongs to another user") as caught:
        keys.read_device_key(path)
    assert caught.value.code == "keys_unusable"


def test_a_pipe_in_place_of_a_key_does_not_hang(tmp_path: Path) -> None:
    path = tmp_path / "device.key"
    os.mkfifo(path)
    with pytest.raises(OwnerError, match="not a plain file"):
        keys.read_device_key(path)


def test_a_huge_file_in_place_of_a_key_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "device.key"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(OwnerError, match="larger than"):
        read_private(path, max_bytes=100)


def test_a_private_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    write_private(path, b"old")
    write_private(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_leftovers_of_a_killed_write_go_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / ".owner.key.0123.new").write_bytes(b"half")
    (tmp_path / "owner.key").write_bytes(b"whole")
    (tmp_path / ".hidden").write_bytes(b"a person's own")
    remove_leftovers(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"owner.key", ".hidden"}
