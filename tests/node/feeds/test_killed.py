import subprocess
import sys
from pathlib import Path

import pytest
import trio

from tests.node.owner.house import house

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("lines", [1, 2, 7, 40])
def test_a_record_that_was_acknowledged_survives_kill_9(tmp_path: Path, lines: int) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "tests.node.feeds.appending", str(tmp_path / "h")],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as child:
        assert child.stdout is not None
        told = [child.stdout.readline().strip() for _ in range(lines)]
        child.kill()
        told += child.stdout.read().split()  # what it said between our last look and its death
    feed, acknowledged = bytes.fromhex(told[0]), len(told) - 1
    trio.run(check, tmp_path / "h", feed, acknowledged)


async def check(root: Path, feed: bytes, acknowledged: int) -> None:
    with house(root) as after:
        state = await after.feeds.head(feed)
        assert state is not None
        assert state.seq >= acknowledged
        assert await after.feeds.verify(feed) is None
