"""Rules of the house that no other tool checks."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = sorted(p.name for p in (ROOT / "node").iterdir() if (p / "__init__.py").exists())
PACKAGES = ["protocols", "models", "node", "tui"]


def imported(file: Path) -> list[tuple[int, str]]:
    """Every module that a file names in an import, with its line."""
    found = []
    for part in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(part, ast.ImportFrom) and part.module and not part.level:
            found.append((part.lineno, part.module))
        elif isinstance(part, ast.Import):
            found += [(part.lineno, name.name) for name in part.names]
    return found


@pytest.mark.parametrize("room", [room for room in ROOMS if room != "cli"])
def test_a_room_is_entered_through_its_front_door(room: str) -> None:
    """`from node.store import Store`, never `from node.store.database import Database`."""
    wrong = [
        f"{file.relative_to(ROOT)}:{line} {module}"
        for file in (ROOT / "node").rglob("*.py")
        if file.relative_to(ROOT / "node").parts[0] != room
        for line, module in imported(file)
        if module.startswith(f"node.{room}.")
    ]
    assert wrong == []


@pytest.mark.parametrize("package", ["llama_cpp", "onnxruntime"])
def test_native_code_is_imported_in_one_module_only(package: str) -> None:
    importers = {
        str(file.relative_to(ROOT))
        for name in PACKAGES
        for file in (ROOT / name).rglob("*.py")
        for _, module in imported(file)
        if module.split(".")[0] == package
    }
    assert len(importers) <= 1, importers


@pytest.mark.parametrize("package", ["protocols", "models"])
def test_a_worker_loads_nothing_it_does_not_need(package: str) -> None:
    assert (ROOT / package / "__init__.py").read_text() == ""


def test_the_daemon_is_loaded_by_start_alone() -> None:
    importers = [
        str(file.relative_to(ROOT))
        for file in (ROOT / "node").rglob("*.py")
        for _, module in imported(file)
        if module == "node.daemon"
    ]
    assert importers == ["node/cli/start.py"]


def test_locked_requirements_name_no_address() -> None:
    for file in (ROOT / "requirements").glob("*.txt"):
        assert "://" not in file.read_text(), file
