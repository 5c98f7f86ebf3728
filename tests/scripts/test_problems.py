"""What can be wrong is said in one line that says what to do."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scripts.tiny import Project, compiler

AS_ANOTHER = """
import sys, runpy
sys.version_info = ({version}, 0, "final", 0)
sys.path.insert(0, {scripts!r})
sys.argv = ["start.py"]
runpy.run_path({scripts!r} + "/start.py", run_name="__main__")
"""


def _one_line(text: str) -> str:
    assert text.count("\n") == 1, text
    assert text.endswith("\n")
    return text.strip()


@pytest.mark.parametrize("version", ["3, 8", "3, 10", "3, 14"])
def test_a_python_that_does_not_fit(project: Project, version: str) -> None:
    done = project.python(
        AS_ANOTHER.format(version=version, scripts=str(project.root / "scripts")), PATH=os.devnull
    )
    assert done.returncode == 1
    line = _one_line(done.stderr)
    assert f"Python {version.replace(', ', '.')} cannot run Kith" in line
    assert "3.11 to Python 3.13" in line or "3.11 to 3.13" in line
    assert not (project.root / ".venv").exists()


def test_another_python_that_fits_is_named(project: Project, tmp_path: Path) -> None:
    other = tmp_path / "python3.12"
    other.write_text("#!/bin/sh\n")
    other.chmod(0o755)
    ask = "from python_version import problem_with; print(problem_with((3, 14)))"
    assert "run this with python3.12" in project.python(ask, PATH=str(tmp_path)).stdout
    assert "install one of them" in project.python(ask, PATH=os.devnull).stdout


@pytest.mark.parametrize("module", ["venv", "ensurepip"])
def test_no_venv_module(project: Project, module: str) -> None:
    code = f"import sys; sys.modules[{module!r}] = None; import start; sys.exit(start.main([]))"
    done = project.python(code)
    assert done.returncode == 1
    assert "python3-venv" in _one_line(done.stderr)
    assert not (project.root / ".venv").exists()


def test_no_compiler(project: Project, tmp_path: Path) -> None:
    done = project.start(PATH=str(tmp_path))
    assert done.returncode == 1
    line = _one_line(done.stderr)
    assert "needs a C++ compiler and none was found" in line
    assert "sudo apt install g++" in line
    assert not (project.root / ".venv").exists(), "said before minutes are spent"


def test_a_compiler_that_does_not_work(project: Project, tmp_path: Path) -> None:
    path = compiler(tmp_path / "broken", "echo 'xcrun: error: no tools' >&2; exit 1")
    done = project.start(PATH=path)
    assert done.returncode == 1
    assert "c++ does not work (xcrun: error: no tools)" in _one_line(done.stderr)
    chosen = project.start(CXX="no-such-compiler -O2")
    assert "no-such-compiler" in _one_line(chosen.stderr)


@pytest.fixture
def unlocked(installed: Project) -> Iterator[Project]:
    """Installed, but for packages that the test locks; put right again afterwards."""
    lock = installed.root / "requirements" / "runtime.txt"
    old = lock.read_text()
    yield installed
    lock.write_text(old)
    assert installed.start("x").returncode == 0


def test_a_package_that_is_not_the_locked_one(unlocked: Project) -> None:
    unlocked.lock("runtime.txt", "one==1.0 --hash=sha256:" + "0" * 64 + "\n")
    (unlocked.site / "one.py").write_text("")
    done = unlocked.start("x")
    assert done.returncode == 1
    line = _one_line(done.stderr)
    assert line.startswith("start: installing packages failed: ")
    assert ".venv/.kith/install.log" in line
    assert "sha256" in unlocked.log()
    again = unlocked.start("x")
    assert again.returncode == 1, "not taken for whole"


def test_no_index_within_reach(unlocked: Project) -> None:
    unlocked.lock("runtime.txt", "another==1.0 --hash=sha256:" + "0" * 64 + "\n")
    done = unlocked.start(
        "x", PIP_NO_INDEX="0", PIP_INDEX_URL="http://127.0.0.1:9/simple", PIP_RETRIES="1"
    )
    assert done.returncode == 1
    assert "the package index cannot be reached" in _one_line(done.stderr)


@pytest.mark.namespace
@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
@pytest.mark.parametrize(
    ("options", "said"),
    [("size=6m", "is full; make room"), ("ro", ".venv cannot be written: Read-only file system")],
)
def test_a_disk_that_takes_no_more(project: Project, options: str, said: str) -> None:
    venv = project.root / ".venv"
    venv.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(venv)], check=True)
    try:
        done = project.start()
        assert done.returncode == 1
        assert said in _one_line(done.stderr)
    finally:
        subprocess.run(["umount", str(venv)], check=True)


def test_unknown_checks_are_refused_before_anything_is_installed(project: Project) -> None:
    done = subprocess.run(
        [sys.executable, str(project.root / "scripts" / "test.py"), "lint", "typos"],
        env=project.env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "no such check: typos" in _one_line(done.stderr)
    assert "format lint async types imports tests" in done.stderr
    assert not (project.root / ".venv").exists()
