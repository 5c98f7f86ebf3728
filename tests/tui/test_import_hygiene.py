"""The interface knows the node through its API only."""

from __future__ import annotations

import os
import subprocess
import sys

FOREIGN = ("node", "models", "trio", "sqlite3", "libp2p", "llama_cpp")


def loaded_by(module: str) -> set[str]:
    script = f"import sys, {module}; print(*{{name.split('.')[0] for name in sys.modules}})"
    env = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    found = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env=env,
    )
    return set(found.stdout.split())


def test_the_program_loads_nothing_of_the_node() -> None:
    assert not loaded_by("tui.app") & set(FOREIGN)


def test_the_client_and_the_views_load_no_widgets() -> None:
    assert "textual" not in loaded_by("tui.chat.view, tui.models.view, tui.link, tui.view")
