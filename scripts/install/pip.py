"""Packages: installed by hash from `requirements/`, and never left half there."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

from install.child import run
from install.paths import PYTHON, REQUIREMENTS, ROOT, VENV


def pip(verb: str) -> list[str]:
    return [str(PYTHON), "-I", "-m", "pip", verb, "--disable-pip-version-check", "--no-input"]


def install_locked(name: str, title: str, lock: int) -> None:
    remove_broken()
    words = [
        "--no-deps",
        "--no-build-isolation",
        "--require-hashes",
        "-r",
        str(REQUIREMENTS / name),
    ]
    run([*pip("install"), *words], title, lock)


def install_project(title: str, lock: int) -> None:
    words = [
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "--force-reinstall",
        "-e",
        str(ROOT),
    ]
    run([*pip("install"), *words], title, lock)


def remove_broken() -> None:
    """Let pip see what an interrupted install left unfinished as not installed.

    pip looks only at a package's name and version, which are written before the package is whole.
    """
    for site in VENV.glob("lib/python*/site-packages"):
        for leftover in site.glob("~*"):  # pip's own name for what it was about to remove
            shutil.rmtree(leftover, ignore_errors=True)
        for package in site.glob("*.dist-info"):
            if not _is_whole(package):
                shutil.rmtree(package)


def _is_whole(package: Path) -> bool:
    """Whether all that its record lists is there; INSTALLER is only in the one that pip writes last."""
    try:
        with (package / "RECORD").open(encoding="utf-8", newline="") as record:
            rows = [row for row in csv.reader(record) if row]
        if not any(row[0] == f"{package.name}/INSTALLER" for row in rows):
            return False
        return all(_is_there(package.parent / row[0], row[-1]) for row in rows)
    except (OSError, UnicodeDecodeError, csv.Error):
        return False


def _is_there(file: Path, size: str) -> bool:
    """Compiled files have no size in the record and may be missing."""
    return not size or file.stat().st_size == int(size)
