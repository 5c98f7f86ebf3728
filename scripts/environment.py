"""Makes the `.venv` that everything runs in. Standard library only: it runs before anything is installed.

Every step leaves a stamp when it is whole, made of what it depends on; a step whose stamp fits is
skipped, an interrupted one is done again. Packages are installed by hash from `requirements/`.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
PYTHON = BIN / ("python.exe" if os.name == "nt" else "python")
NOTES = VENV / ".kith"
LOG = NOTES / "install.log"
REQUIREMENTS = ROOT / "requirements"
OLDEST, NEWEST = (3, 11), (3, 13)


class SetupProblem(Exception):
    """The environment cannot be made; the message is one line that says why and what to do."""


def ensure(*, dev: bool = False) -> None:
    """Bring `.venv` up to date. Quick when it is. Raises `SetupProblem`."""
    if _is_current(dev):
        return
    _check_python()
    started = time.monotonic()
    _say(f"Setting up in {VENV.relative_to(ROOT)} (once; interrupt and run again at any point)")
    _step("venv", _venv_key(), "making the virtual environment", _make_venv)
    _step("build", _key("build.txt"), "installing build tools", lambda: _pip_install("build.txt"))
    _step(
        "packages", _key("runtime.txt"), "installing packages", lambda: _pip_install("runtime.txt")
    )
    _step("llama", _key("llama.txt"), "building llama.cpp (minutes, once)", _install_llama)
    if dev:
        _step(
            "dev",
            _key("dev.txt"),
            "installing development packages",
            lambda: _pip_install("dev.txt"),
        )
    _step("project", _project_key(), "installing kith-node itself", _install_project)
    _say(f"Ready after {_clock(time.monotonic() - started)}")


def _steps(dev: bool) -> list[tuple[str, str]]:
    steps = [
        ("venv", _venv_key()),
        ("build", _key("build.txt")),
        ("packages", _key("runtime.txt")),
        ("llama", _key("llama.txt")),
        ("project", _project_key()),
    ]
    return [*steps, ("dev", _key("dev.txt"))] if dev else steps


def _is_current(dev: bool) -> bool:
    return PYTHON.exists() and all(_stamp_fits(name, key) for name, key in _steps(dev))


# --- the steps ------------------------------------------------------------------------------------


def _check_python() -> None:
    version = sys.version_info[:2]
    if not OLDEST <= version <= NEWEST:
        raise SetupProblem(
            f"Python {version[0]}.{version[1]} is not one that Kith's packages are locked for: "
            f"run this with Python {OLDEST[0]}.{OLDEST[1]} to {NEWEST[0]}.{NEWEST[1]}"
        )
    if importlib.util.find_spec("venv") is None or importlib.util.find_spec("ensurepip") is None:
        raise SetupProblem(
            "Python's venv module is missing: install it (Debian and Ubuntu: sudo apt install python3-venv)"
        )


def _make_venv() -> None:
    if VENV.exists():
        shutil.rmtree(VENV)
    _run([sys.executable, "-m", "venv", str(VENV)])


def _pip_install(lock: str) -> None:
    arguments = [
        "--no-deps",
        "--no-build-isolation",
        "--require-hashes",
        "-r",
        str(REQUIREMENTS / lock),
    ]
    # A stamp of this step from before means that its packages may be half replaced.
    _run([*_pip("install"), *arguments])


def _install_project() -> None:
    _run([*_pip("install"), "--no-deps", "--no-build-isolation", "--no-index", "-e", str(ROOT)])


def _install_llama() -> None:
    wheel = _cached_wheel()
    if wheel is None:
        _check_compiler()
        wheel = _build_llama()
        _keep_wheel(wheel)
    _run([*_pip("install"), "--no-deps", "--no-index", "--force-reinstall", str(wheel)])


def _check_compiler() -> None:
    names = [os.environ["CXX"].split()[0]] if os.environ.get("CXX") else ["c++", "g++", "clang++"]
    if not any(shutil.which(name) for name in names):
        raise SetupProblem(
            f"llama.cpp needs a C++ compiler and none was found ({', '.join(names)}): install one "
            "(Debian and Ubuntu: sudo apt install g++; Fedora: sudo dnf install gcc-c++; "
            "macOS: xcode-select --install) and run this again"
        )


def _build_llama() -> Path:
    """Build from the locked source, in a folder that stays: an interrupted build goes on where it was."""
    sources, built = NOTES / "llama", NOTES / "wheels"
    if not (sources / "whole").exists():
        shutil.rmtree(sources, ignore_errors=True)
        sources.mkdir(parents=True)
        lock = str(REQUIREMENTS / "llama.txt")
        binary = ["--no-binary", ":all:", "--no-build-isolation"]
        _run(
            [
                *_pip("download"),
                "--no-deps",
                "--require-hashes",
                *binary,
                "-d",
                str(sources),
                "-r",
                lock,
            ]
        )
        (archive,) = sources.glob("llama_cpp_python-*.tar.gz")
        with tarfile.open(archive) as tar:
            tar.extractall(sources / "source", filter="data")
        archive.unlink()
        (sources / "whole").touch()
    (source,) = (sources / "source").iterdir()
    shutil.rmtree(built, ignore_errors=True)
    options = ["--no-deps", "--no-build-isolation", "-v", "-C", f"build-dir={sources / 'build'}"]
    _run([*_pip("wheel"), *options, "-w", str(built), str(source)])
    (wheel,) = built.glob("llama_cpp_python-*.whl")
    return wheel


# --- the built wheel is kept for this user's other clones ---------------------------------------------


def _wheel_cache() -> Path | None:
    chosen = os.environ.get("KITH_WHEEL_CACHE")
    if chosen == "off":
        return None
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return (Path(chosen) if chosen else base / "kith" / "wheels") / _machine_key()


def _machine_key() -> str:
    """The build uses this processor's own instructions, so it is kept for just this kind of machine."""
    cpu = ""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        cpu = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    except OSError:
        cpu = platform.processor()
    options = [
        os.environ.get(name, "") for name in ("CMAKE_ARGS", "CC", "CXX", "CFLAGS", "CXXFLAGS")
    ]
    parts = [_key("llama.txt"), sysconfig.get_platform(), cpu, *options, *platform.libc_ver()]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def _cached_wheel() -> Path | None:
    folder = _wheel_cache()
    found = sorted(folder.glob("llama_cpp_python-*.whl")) if folder and folder.is_dir() else []
    return found[0] if found else None


def _keep_wheel(wheel: Path) -> None:
    folder = _wheel_cache()
    if folder is None:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        partial = folder / f"{wheel.name}.{os.getpid()}"
        shutil.copyfile(wheel, partial)
        partial.rename(folder / wheel.name)
    except OSError as error:
        _say(f"  (the built wheel could not be kept for next time: {error})")


# --- running and telling ----------------------------------------------------------------------------


def _step(name: str, key: str, title: str, work: Callable[[], None]) -> None:
    if _stamp_fits(name, key):
        return
    started = time.monotonic()
    _Progress.title = title
    work()
    NOTES.mkdir(parents=True, exist_ok=True)
    (NOTES / f"{name}.stamp").write_text(key, encoding="ascii")
    _say(f"  {title}: done in {_clock(time.monotonic() - started)}")


class _Progress:
    title = ""


def _run(command: Sequence[str]) -> None:
    """Run a child, its output in the log, a moving line on the screen; `SetupProblem` when it fails."""
    log = LOG if VENV.exists() else ROOT / ".venv-install.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    terminal = sys.stdout.isatty()
    started = told = time.monotonic()
    with log.open("wb") as output:
        child = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, cwd=ROOT, env=_environment()
        )
        try:
            while True:
                try:
                    child.wait(0.5 if terminal else 2)
                    break
                except subprocess.TimeoutExpired:
                    now = time.monotonic()
                    line = f"  {_Progress.title}: {_clock(now - started)}{_portion(log)}"
                    if terminal:
                        print(f"\r\x1b[K{line}", end="", flush=True)
                    elif now - told >= 30:
                        told = now
                        _say(line)
        except BaseException:
            child.terminate()
            child.wait(10)
            raise
        finally:
            if terminal:
                print("\r\x1b[K", end="", flush=True)
    if child.returncode:
        raise SetupProblem(_failure(log))


def _failure(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    errors = [line.strip() for line in lines if "error" in line.lower()] or [
        line for line in lines if line
    ]
    reason = errors[-1] if errors else "no reason given"
    shown = log.relative_to(ROOT) if log.is_relative_to(ROOT) else log
    return f"{_Progress.title} failed: {reason} (all of it: {shown}); mend that and run the same command again"


def _portion(log: Path) -> str:
    """How far the compiler is: ninja prints [done/total]."""
    try:
        with log.open("rb") as text:
            text.seek(max(0, log.stat().st_size - 4096))
            tail = text.read().decode("utf-8", "replace")
    except OSError:
        return ""
    for line in reversed(tail.splitlines()):
        counts = line.strip().removeprefix("[").partition("]")[0].split("/")
        if len(counts) == 2 and all(c.isdigit() for c in counts) and int(counts[1]):
            return f", {100 * int(counts[0]) // int(counts[1])} % compiled"
    return ""


def _pip(verb: str) -> list[str]:
    return [str(PYTHON), "-m", "pip", verb, "--disable-pip-version-check", "--no-input"]


def _environment() -> dict[str, str]:
    """The build finds the locked cmake and ninja in `.venv` first."""
    return {
        **os.environ,
        "PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}",
        "PYTHONNOUSERSITE": "1",
    }


def _stamp_fits(name: str, key: str) -> bool:
    try:
        return (NOTES / f"{name}.stamp").read_text(encoding="ascii") == key
    except OSError:
        return False


def _key(lock: str) -> str:
    return hashlib.sha256((REQUIREMENTS / lock).read_bytes()).hexdigest()


def _venv_key() -> str:
    return hashlib.sha256(f"{sys.version_info[:2]} {ROOT}".encode()).hexdigest()


def _project_key() -> str:
    return hashlib.sha256((ROOT / "pyproject.toml").read_bytes() + str(ROOT).encode()).hexdigest()


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def _say(line: str) -> None:
    print(line, flush=True)
