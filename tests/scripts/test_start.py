"""`scripts/start.py`: what it installs, when it installs nothing, and where."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.scripts.tiny import SCRIPTS, Project, compiler

SETTLED = """
import sys
sys.path.insert(0, {scripts!r})
before = set(sys.modules)
import environment
environment.ensure()
print(*sorted(set(sys.modules) - before))
"""


def _tree(folder: Path) -> dict[str, int]:
    return {str(p.relative_to(folder)): p.lstat().st_mtime_ns for p in folder.rglob("*")}


def test_every_step_is_told_with_its_time(installed: Project, tmp_path: Path) -> None:
    shutil.copytree(installed.root, tmp_path / "elsewhere", symlinks=True)
    moved = Project(tmp_path / "elsewhere", installed.env)
    broken = {"PATH": compiler(tmp_path / "broken", "echo the compiler was called >&2; exit 1")}
    # With the Python of the .venv that is remade beneath it, and no compiler: the wheel was kept.
    done = moved.start("hello", python=str(moved.root / ".venv/bin/python"), **broken)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("Setting up in .venv")
    assert [line.partition(": done in 0:")[0].strip() for line in lines[1:-2]] == [
        "making the virtual environment",
        "installing build tools",
        "installing packages",
        "installing llama.cpp",
        "installing kith-node itself",
    ]
    assert lines[-2].startswith("Ready after 0:")
    assert lines[-1] == "kith hello"
    shebang = (moved.root / ".venv/bin/kith").read_text()
    assert str(moved.root) in shebang
    assert str(installed.root) not in shebang
    assert not (moved.notes / "tmp").exists()


def test_a_second_start_does_nothing_but_start(installed: Project) -> None:
    before = _tree(installed.root)
    done = installed.start("status", "--json", PATH=os.devnull)
    assert done.stdout == "kith status --json\n"
    assert done.stderr == ""
    assert _tree(installed.root) == before


def test_a_second_start_imports_next_to_nothing(installed: Project) -> None:
    code = SETTLED.format(scripts=str(installed.root / "scripts"))
    done = subprocess.run(
        [sys.executable, "-S", "-E", "-c", code], capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    assert "install.stamps" in loaded
    assert not loaded & {"subprocess", "hashlib", "tarfile", "shutil", "ssl", "install.steps"}


def test_nothing_is_installed_outside_the_venv(installed: Project) -> None:
    everywhere = {p.name for p in installed.root.iterdir()}
    assert everywhere == {
        ".venv",
        "pyproject.toml",
        "requirements",
        "scripts",
        "tiny.py",
        "tiny_backend.py",
    } | ({"__pycache__"} & everywhere)
    home = Path(installed.env["HOME"])
    assert not any((home / name).exists() for name in (".local", ".cache", ".config"))


def test_a_persons_own_pip_settings_lead_nothing_out_of_the_venv(
    installed: Project, tmp_path: Path
) -> None:
    (installed.notes / "packages.stamp").unlink()
    shutil.rmtree(installed.site / "one-1.0.dist-info")
    (tmp_path / "path" / "one-1.0.dist-info").mkdir(parents=True)
    (tmp_path / "path" / "one-1.0.dist-info" / "METADATA").write_text("Name: one\nVersion: 1.0\n")
    done = installed.start(
        "x",
        PIP_TARGET=str(tmp_path / "target"),
        PIP_USER="1",
        PYTHONPATH=str(tmp_path / "path"),
    )
    assert done.returncode == 0, done.stderr
    assert (installed.site / "one-1.0.dist-info" / "INSTALLER").exists()
    assert not (tmp_path / "target").exists()


def test_a_changed_lock_is_installed_and_nothing_else_done(installed: Project) -> None:
    old = (installed.root / "requirements" / "runtime.txt").read_text()
    installed.lock("runtime.txt", installed.offer("one", "2.0"))
    done = installed.start("x")
    assert done.stdout.count("done in") == 1
    assert "installing packages" in done.stdout
    assert "2.0" in (installed.site / "one.py").read_text()
    installed.lock("runtime.txt", old)
    assert installed.start("x").returncode == 0


def test_a_removed_python_is_noticed(installed: Project) -> None:
    ask = "from install import stamps; print(stamps.fits('venv'), stamps.is_current(dev=False))"
    link = installed.root / ".venv" / "bin" / "python"
    was = link.readlink()
    assert installed.python(ask).stdout == "True True\n"
    for target in (installed.root / "gone", Path("/bin/sh")):
        link.unlink()
        link.symlink_to(target)
        try:
            assert installed.python(ask).stdout == "False False\n"
        finally:
            link.unlink()
            link.symlink_to(was)


def test_build_options_stay_until_others_are_asked_for(installed: Project) -> None:
    ask = "from install import stamps; print(stamps.fits('llama'))"
    stamp = installed.notes / "llama.stamp"
    whole = stamp.read_bytes()
    assert installed.python(ask, CMAKE_ARGS="-DGGML_CUDA=on").stdout == "False\n"
    stamp.write_bytes(whole + b"\0-DGGML_CUDA=on")
    try:
        assert installed.python(ask, CMAKE_ARGS="-DGGML_CUDA=on").stdout == "True\n"
        assert installed.python(ask).stdout == "True\n"
        assert installed.python(ask, CMAKE_ARGS="-DGGML_VULKAN=on").stdout == "False\n"
    finally:
        stamp.write_bytes(whole)


def test_a_kept_wheel_that_is_damaged_is_not_used(installed: Project) -> None:
    ask = "from install import llama; print(llama.cached_wheel() is not None)"
    (wheel,) = Path(installed.env["KITH_WHEEL_CACHE"]).glob("*/*.whl")
    whole = wheel.read_bytes()
    assert installed.python(ask).stdout == "True\n"
    assert installed.python(ask, KITH_WHEEL_CACHE="off").stdout == "False\n"
    assert installed.python(ask, CXXFLAGS="-O1").stdout == "False\n"
    wheel.write_bytes(whole[: len(whole) // 2])
    try:
        assert installed.python(ask).stdout == "False\n"
    finally:
        wheel.write_bytes(whole)


def test_help_comes_first_and_the_nodes_own_after_it(installed: Project) -> None:
    done = installed.start("--help")
    assert done.stdout.startswith("Install what is missing")
    assert done.stdout.endswith("kith --help\n")


@pytest.mark.parametrize("program", ["start.py", "test.py"])
def test_the_programs_are_readable_by_an_old_python(program: str) -> None:
    """Down to 3.6: up to the line where it is told to leave. No walrus, no annotations to come."""
    import ast

    for name in (program, "python_version.py"):
        text = (SCRIPTS / name).read_text(encoding="utf-8")
        ast.parse(text, feature_version=(3, 7))
        assert "from __future__ import annotations" not in text
