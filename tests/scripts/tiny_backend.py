"""A build backend in one file, for the tiny packages of these tests: copied next to their pyproject.toml.

It "compiles" UNITS units, one file each, in the build folder it is given; with a `gate` file's name in
KITH_TEST_GATE it waits after the first unit until that file is there.
"""

import os
import sys
import time
import tomllib
import zipfile
from pathlib import Path

UNITS = 4
GATE_S = 60


def _project():
    return tomllib.loads(Path("pyproject.toml").read_text())["project"]


def _info():
    return f"{_project()['name'].replace('-', '_')}-{_project()['version']}.dist-info"


def _metadata():
    project = _project()
    files = {
        "METADATA": f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n",
        "WHEEL": "Wheel-Version: 1.0\nGenerator: tiny\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    if scripts := project.get("scripts"):
        lines = "".join(f"{name} = {where}\n" for name, where in scripts.items())
        files["entry_points.txt"] = f"[console_scripts]\n{lines}"
    return files


def _write_wheel(folder, contents):
    info = _info()
    name = f"{info.removesuffix('.dist-info')}-py3-none-any.whl"
    files = {**contents, **{f"{info}/{file}": text for file, text in _metadata().items()}}
    record = "".join(f"{file},,\n" for file in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(Path(folder) / name, "w") as wheel:
        for file, text in {**files, f"{info}/RECORD": record}.items():
            wheel.writestr(file, text)
    return name


def _compile(build):
    build.mkdir(parents=True, exist_ok=True)
    gate = os.environ.get("KITH_TEST_GATE")
    for unit in range(1, UNITS + 1):
        unit_file = build / f"unit{unit}"
        if not unit_file.exists():
            print(f"[{unit}/{UNITS}] compiling", file=sys.stderr, flush=True)
            unit_file.write_text(str(os.getpid()))
        if gate:
            print("at the gate", file=sys.stderr, flush=True)
        deadline = time.monotonic() + GATE_S
        while gate and not Path(gate).exists():
            if time.monotonic() > deadline:
                raise SystemExit("error: the gate stayed shut")
            time.sleep(0.01)


def prepare_metadata_for_build_wheel(metadata_directory, config_settings=None):
    folder = Path(metadata_directory) / _info()
    folder.mkdir()
    for name, text in _metadata().items():
        (folder / name).write_text(text)
    return folder.name


prepare_metadata_for_build_editable = prepare_metadata_for_build_wheel


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    _compile(Path((config_settings or {})["build-dir"]))
    return _write_wheel(wheel_directory, {"llama_cpp/__init__.py": "built = True\n"})


def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    return _write_wheel(wheel_directory, {"tiny.pth": f"{Path.cwd()}\n"})
