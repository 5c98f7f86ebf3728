"""llama.cpp: compiled once for this machine, from the locked source."""

from __future__ import annotations

import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sysconfig
import tarfile
import zipfile
from pathlib import Path

from install.child import run, say
from install.paths import NOTES, REQUIREMENTS, SetupProblem
from install.pip import pip

LOCK = REQUIREMENTS / "llama.txt"
WHEEL = "llama_cpp_python-*.whl"
_PROGRAM = b"#include <vector>\nint main() { return std::vector<int>().size(); }\n"


def install(lock: int) -> None:
    wheel = cached_wheel()
    if wheel is None:
        wheel = _build("building llama.cpp (minutes, once)", lock)
        _keep(wheel)
    words = ["--no-deps", "--no-index", "--force-reinstall", str(wheel)]
    run([*pip("install"), *words], "installing llama.cpp", lock)
    shutil.rmtree(NOTES / "llama", ignore_errors=True)
    shutil.rmtree(NOTES / "wheels", ignore_errors=True)


def check_compiler() -> None:
    """Raises `SetupProblem` when there is no C++ compiler, or one that cannot compile."""
    chosen = os.environ.get("CXX")
    names = [chosen] if chosen else ["c++", "g++", "clang++"]
    found = next((name for name in names if shutil.which(shlex.split(name)[0])), None)
    how = (
        "Debian and Ubuntu: sudo apt install g++; Fedora: sudo dnf install gcc-c++; "
        "macOS: xcode-select --install"
    )
    if found is None:
        raise SetupProblem(
            f"llama.cpp needs a C++ compiler and none was found ({', '.join(names)}): "
            f"install one ({how}) and run this again"
        )
    command = [*shlex.split(found), "-x", "c++", "-fsyntax-only", "-"]
    tried = subprocess.run(command, input=_PROGRAM, capture_output=True, check=False)
    if tried.returncode:
        lines = tried.stderr.decode("utf-8", "replace").split("\n")
        raise SetupProblem(
            f"llama.cpp needs a C++ compiler and {found} does not work ({lines[0].strip()}): "
            f"mend it ({how}) and run this again"
        )


# --- building -------------------------------------------------------------------------------------


def _build(title: str, lock: int) -> Path:
    """In a folder that stays: an interrupted build goes on where it was."""
    folder, built = NOTES / "llama", NOTES / "wheels"
    whole = folder / "whole"
    if not whole.exists() or whole.read_bytes() != LOCK.read_bytes():
        _unpack_source(folder, title, lock)
    (source,) = (folder / "source").iterdir()
    shutil.rmtree(built, ignore_errors=True)
    options = ["--no-deps", "--no-build-isolation", "-v"]
    options += [f"--config-settings=build-dir={folder / 'build'}"]
    run([*pip("wheel"), *options, "-w", built, source], title, lock)
    (wheel,) = built.glob(WHEEL)
    return wheel


def _unpack_source(folder: Path, title: str, lock: int) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    options = ["--no-deps", "--no-build-isolation", "--no-binary", ":all:", "--require-hashes"]
    run([*pip("download"), *options, "-d", folder, "-r", LOCK], title, lock)
    (archive,) = folder.glob("llama_cpp_python-*.tar.gz")
    with tarfile.open(archive) as tar:
        if hasattr(tarfile, "data_filter"):
            tar.extractall(folder / "source", filter="data")
        else:  # Python before 3.11.4; the archive is the one whose hash is locked
            tar.extractall(folder / "source")
    archive.unlink()
    (folder / "whole").write_bytes(LOCK.read_bytes())


# --- the built wheel is kept for this user's other clones ---------------------------------------------


def cached_wheel() -> Path | None:
    folder = _cache()
    found = sorted(folder.glob(WHEEL)) if folder and folder.is_dir() else []
    return found[0] if found and _is_whole(found[0]) else None


def _is_whole(wheel: Path) -> bool:
    try:
        with zipfile.ZipFile(wheel) as archive:
            return archive.testzip() is None
    except (OSError, zipfile.BadZipFile):
        return False


def _keep(wheel: Path) -> None:
    folder = _cache()
    if folder is None:
        return
    partial = folder / f"{wheel.name}.{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(wheel, partial)
        partial.rename(folder / wheel.name)
    except OSError as error:
        partial.unlink(missing_ok=True)
        say(f"  (the built wheel could not be kept for next time: {error})")


def _cache() -> Path | None:
    chosen = os.environ.get("KITH_WHEEL_CACHE")
    if chosen == "off":
        return None
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return (Path(chosen) if chosen else home / "kith" / "wheels") / _machine()


def _machine() -> str:
    """The build uses this processor's own instructions, so it is kept for just this kind of machine."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        cpu = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    except OSError:
        cpu = platform.processor()
    names = ("CMAKE_ARGS", "CC", "CXX", "CFLAGS", "CXXFLAGS")
    options = [os.environ.get(name, "") for name in names]
    locked = hashlib.sha256(LOCK.read_bytes()).hexdigest()
    parts = [locked, sysconfig.get_platform(), cpu, *options, *platform.libc_ver()]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]
