"""A tiny project that `scripts/start.py` installs in seconds and with no index: real pip, tiny packages."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
COPIED = ("start.py", "test.py", "environment.py", "python_version.py")
BACKEND = Path(__file__).with_name("tiny_backend.py")
WAIT_S = 60.0
PROGRAM = """
import sys
def run_kith():
    import one, llama_cpp
    print("kith", *sys.argv[1:])
"""


@dataclass
class Project:
    root: Path
    env: dict[str, str]
    running: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def notes(self) -> Path:
        return self.root / ".venv" / ".kith"

    @property
    def units(self) -> list[Path]:
        """What the pretended compiler has made so far."""
        return sorted((self.notes / "llama" / "build").glob("unit*"))

    @property
    def site(self) -> Path:
        (site,) = self.root.glob(".venv/lib/python*/site-packages")
        return site

    def log(self) -> str:
        file = self.notes / "install.log"
        return file.read_text(encoding="utf-8") if file.exists() else ""

    def begin(self, *words: str, python: str = sys.executable, **env: str) -> subprocess.Popen[str]:
        """`start.py` as a process of its own group, as a terminal would start it."""
        process = subprocess.Popen(
            [python, str(self.root / "scripts" / "start.py"), *words],
            env={**self.env, **env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.running.append(process)
        return process

    def start(
        self, *words: str, python: str = sys.executable, **env: str
    ) -> subprocess.CompletedProcess[str]:
        process = self.begin(*words, python=python, **env)
        out, err = process.communicate(timeout=120)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def python(self, code: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run some Python that finds the modules of this project's scripts/."""
        return subprocess.run(
            [sys.executable, "-c", code],
            env={**self.env, "PYTHONPATH": str(self.root / "scripts"), **env},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def offer(self, name: str, version: str = "1.0") -> str:
        """Put a wheel where pip finds it; the line that locks it."""
        wheel = self.root.parent / "offered" / f"{name}-{version}-py3-none-any.whl"
        info = f"{name}-{version}.dist-info"
        files = {
            f"{name}.py": f"version = {version!r}\n",
            f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
            f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        }
        with zipfile.ZipFile(wheel, "w") as archive:
            for file, text in files.items():
                archive.writestr(file, text)
            record = "".join(f"{file},,{len(text)}\n" for file, text in files.items())
            archive.writestr(f"{info}/RECORD", record)
        return f"{name}=={version} --hash=sha256:{_sha256(wheel)}\n"

    def lock(self, file: str, line: str) -> None:
        (self.root / "requirements" / file).write_text(line)


def make(folder: Path) -> Project:
    root, offered = folder / "a checkout, ü", folder / "offered"
    (root / "scripts").mkdir(parents=True)
    (root / "requirements").mkdir()
    offered.mkdir()
    for name in COPIED:
        shutil.copy(SCRIPTS / name, root / "scripts")
    shutil.copytree(
        SCRIPTS / "install", root / "scripts" / "install", ignore=shutil.ignore_patterns("__*__")
    )
    (root / "scripts" / "install" / "__init__.py").touch()
    _package(root, "tiny-node", '[project.scripts]\nkith = "tiny:run_kith"\n')
    (root / "tiny.py").write_text(PROGRAM)
    project = Project(root, _environment(folder))
    project.lock("build.txt", project.offer("tools"))
    project.lock("runtime.txt", project.offer("one"))
    project.lock("dev.txt", project.offer("checks"))
    project.lock("llama.txt", _offer_llama(folder))
    return project


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come in {WAIT_S:.0f} s"
        time.sleep(0.01)


def compiler(folder: Path, script: str) -> str:
    """A PATH whose first compiler is this shell script."""
    folder.mkdir(exist_ok=True)
    for name in ("c++", "g++", "clang++", "cc", "gcc", "clang"):
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


def _environment(folder: Path) -> dict[str, str]:
    return {
        "PATH": compiler(folder / "compiler", "exit 0"),
        "HOME": str(folder / "person"),
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(folder / "offered"),
        "PIP_NO_CACHE_DIR": "1",
        "KITH_WHEEL_CACHE": str(folder / "wheels"),
    }


def _package(folder: Path, name: str, more: str = "") -> None:
    (folder / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "tiny_backend"\nbackend-path = ["."]\n'
        f'[project]\nname = "{name}"\nversion = "1.0"\n{more}'
    )
    shutil.copy(BACKEND, folder)


def _offer_llama(folder: Path) -> str:
    source = folder / "llama_cpp_python-1.0"
    source.mkdir()
    _package(source, "llama-cpp-python")
    archive = folder / "offered" / "llama_cpp_python-1.0.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(source, arcname=source.name)
    return f"llama-cpp-python==1.0 --hash=sha256:{_sha256(archive)}\n"


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
