"""A fault of the program itself: the terminal comes back, and nothing that was typed is printed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tui.driving import driven, in_asyncio, until

SECRET = "my prompt and my key"


@pytest.mark.parametrize("where", ["worker", "callback"])
def test_a_crash_prints_places_and_no_values(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], where: str
) -> None:
    @in_asyncio
    async def scenario() -> None:
        async with driven(tmp_path) as it:
            it.chat.prompt.put(SECRET)

            async def boom() -> None:
                draft = it.chat.prompt.draft
                raise RuntimeError(f"cannot send {draft}")

            if where == "worker":
                it.app.run_worker(boom())
            else:
                it.app.call_later(boom)
            await until(lambda: it.app._exception is not None)

    with pytest.raises(Exception, match=r"cannot send|Worker raised"):
        scenario()
    printed = capfd.readouterr()
    assert SECRET not in printed.err + printed.out
    assert "RuntimeError at:" in printed.err
    assert "test_crash.py" in printed.err
    assert "the node keeps running" in printed.err
