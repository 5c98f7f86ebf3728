"""Files that survive a crash."""

from __future__ import annotations

from pathlib import Path

import pytest

from node.files import write_atomically
from tests.node.store.disks import no_file_grows


def test_a_file_is_made_private_and_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "note"
    for data in (b"first", b"second"):
        write_atomically(path, data)
        assert path.read_bytes() == data
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_disk_without_room_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "note"
    write_atomically(path, b"old")
    with no_file_grows(1), pytest.raises(OSError, match="large"):
        write_atomically(path, b"new and longer")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
