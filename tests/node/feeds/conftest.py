from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.node.owner.house import House, house


@pytest.fixture
def here(tmp_path: Path) -> Iterator[House]:
    """A fresh home."""
    with house(tmp_path / "here") as found:
        yield found


@pytest.fixture
def there(tmp_path: Path) -> Iterator[House]:
    """Another machine's fresh home."""
    with house(tmp_path / "there") as found:
        yield found
