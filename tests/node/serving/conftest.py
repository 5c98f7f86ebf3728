"""Fixtures of the serving room's tests."""

from pathlib import Path

import pytest

from tests.node.serving.kit import Shelf


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)
