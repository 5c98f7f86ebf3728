"""The two commands on a machine without a route: from a fresh clone to the first joke.

What is prepared beforehand is only what the locks name: the packages' files, and llama.cpp's wheel as
this user's clones share it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import netns

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = ROOT / "requirements"
LOCKS = [REQUIREMENTS / name for name in ("build.txt", "runtime.txt")]
JOKES = ROOT / "scripts" / "starter" / "corpus" / "jokes.txt"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kith"
FORBIDDEN = ("c++", "cc", "g++", "gcc", "clang", "clang++", "cl", "gfortran", "rustc", "cargo")

pytestmark = [
    pytest.mark.native,
    pytest.mark.namespace,
    pytest.mark.slow,
    pytest.mark.skipif(bool(netns.missing()), reason=netns.missing() or "it can run here"),
]


def _cannot(reason: str) -> None:
    """A reason to skip; in CI it is one to fail."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="module")
def wheelhouse() -> Path:
    """The locked packages' files, kept in the user's cache for the next time."""
    key = hashlib.sha256(b"".join(lock.read_bytes() for lock in LOCKS))
    key.update(f"{sys.version_info[:2]}".encode())
    folder = CACHE / "wheelhouse" / key.hexdigest()[:32]
    if folder.exists():
        return folder
    partial = folder.with_name(f"{folder.name}.{os.getpid()}")
    words = ["--no-deps", "--require-hashes", "--no-build-isolation", "--quiet"]
    for lock in LOCKS:
        words += ["-r", str(lock)]
    command = [sys.executable, "-m", "pip", "download", *words, "-d", str(partial)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        shutil.rmtree(partial, ignore_errors=True)
        _cannot(f"the packages cannot be downloaded: {done.stderr.strip().splitlines()[-1:]}")
    partial.rename(folder)
    return folder


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """What git would hand to another machine, with what is not committed yet."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout.decode()
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (tmp_path / "clone" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, tmp_path / "clone" / name)
    return tmp_path / "clone"


@pytest.fixture
def compilers(tmp_path: Path) -> Iterator[Path]:
    """Compilers that come first on PATH and note that they were called; nothing may call them."""
    folder, called = tmp_path / "compilers", tmp_path / "called"
    folder.mkdir()
    for name in FORBIDDEN:
        (folder / name).write_text(f'#!/bin/sh\necho "$0 $*" >> "{called}"\nexit 1\n')
        (folder / name).chmod(0o755)
    yield folder
    calls = called.read_text().splitlines() if called.exists() else []
    # pip asks rustc for its version, to name it to the index.
    assert [call for call in calls if not call.endswith("rustc --version")] == []


def _wheel_is_kept() -> bool:
    ask = "from install import llama; print(llama.cached_wheel() is not None)"
    scripts = {**os.environ, "PYTHONPATH": str(ROOT / "scripts")}
    command = [sys.executable, "-c", ask]
    return subprocess.run(command, env=scripts, capture_output=True, check=True).stdout == b"True\n"


@pytest.mark.timeout(400)
def test_from_a_fresh_clone_to_the_first_joke(
    clone: Path, wheelhouse: Path, compilers: Path, tmp_path: Path
) -> None:
    if not _wheel_is_kept():
        _cannot("llama.cpp was not built here by scripts/start.py: its wheel is not in the cache")
    env = {
        "PATH": f"{compilers}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(tmp_path / "person"),
        "XDG_CACHE_HOME": str(CACHE.parent),
        "KITH_HOME": str(tmp_path / "home"),
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(wheelhouse),
        "PIP_NO_CACHE_DIR": "1",
    }
    base = getattr(sys, "_base_executable", sys.executable)
    jokes = {line.strip() for line in JOKES.read_text(encoding="utf-8").splitlines()}
    with netns.no_network() as alone:

        def start(*words: str) -> subprocess.CompletedProcess[str]:
            command = [base, "scripts/start.py", *words]
            done = alone.run(command, env=env, cwd=clone, timeout=300)
            assert done.returncode == 0, done.stdout + done.stderr
            return done

        try:
            first = start("chat", "tell me a joke", "--seed", "1")
            assert "Ready after" in first.stdout
            assert first.stdout.splitlines()[-1] in jokes
            second = start("chat", "tell me a joke", "--seed", "2")
            assert second.stdout.strip() in jokes, "nothing but the answer on the second start"
            assert start("stop").stdout == "stopped\n"
            assert alone.empties_within(5) == {}
        finally:
            for process in alone.living():
                os.kill(process, 9)
    assert not (tmp_path / "person").exists(), "nothing is written outside the clone and the home"
