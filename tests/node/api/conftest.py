from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.node.api.house import Api, an_api


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    """A running API with the usual settings."""
    async with an_api(tmp_path / "home") as found:
        yield found
