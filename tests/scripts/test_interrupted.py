"""An installation that is stopped anywhere goes on when the same command is run again."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import psutil
import pytest

from tests.scripts.tiny import Project, until


def _living_in(project: Project) -> list[psutil.Process]:
    """Whatever still runs inside the checkout."""
    found = []
    for process in psutil.process_iter(["cwd"]):
        cwd = process.info["cwd"]
        if cwd and Path(cwd).is_relative_to(project.root):
            found.append(process)
    return found


def _begin_building(project: Project, gate: Path) -> subprocess.Popen[str]:
    (project.notes / "install.log").unlink(missing_ok=True)
    process = project.begin("hello", KITH_TEST_GATE=str(gate))
    until(
        lambda: "at the gate" in project.log() or process.poll() is not None,
        "the first compiled unit",
    )
    assert process.poll() is None, process.communicate()
    return process


def test_a_build_goes_on_where_it_was(project: Project, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    for number, status in ((signal.SIGINT, 130), (signal.SIGTERM, 128 + signal.SIGTERM)):
        process = _begin_building(project, gate)
        os.killpg(process.pid, number)
        _, err = process.communicate(timeout=15)
        assert process.returncode == status, err
        assert _living_in(project) == []
        assert "Traceback" not in err
        if number == signal.SIGINT:
            assert "interrupted; run the same command to go on where it was" in err
    assert len(project.units) == 1
    gate.touch()
    done = project.start("hello", KITH_TEST_GATE=str(gate))
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("kith hello\n")
    assert "making the virtual environment" not in done.stdout
    assert "[2/4] compiling" in project.log()
    assert "[1/4] compiling" not in project.log()


def test_killed_outright_the_build_is_waited_for_and_not_doubled(
    project: Project, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    first = _begin_building(project, gate)
    first.kill()
    first.wait(10)
    assert _living_in(project), "what it had started goes on"
    second, third = project.begin("second"), project.begin("third")
    for process in (second, third):
        assert process.stdout is not None
        assert "waiting for it" in process.stdout.readline()
    gate.touch()
    for process in (second, third):
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        assert out.count("\nkith ") + out.startswith("kith ") == 1
    assert _living_in(project) == []


@pytest.mark.parametrize("damage", ["record", "file"])
def test_a_package_left_half_installed_is_installed_again(installed: Project, damage: str) -> None:
    record = installed.site / "one-1.0.dist-info" / "RECORD"
    if damage == "record":
        lines = record.read_text().splitlines(keepends=True)
        record.write_text("".join(line for line in lines if "INSTALLER" not in line))
    else:
        assert "one.py,," in record.read_text()
        assert "one.py,,\n" not in record.read_text()
        (installed.site / "one.py").write_text("")
    (installed.notes / "packages.stamp").unlink()
    done = installed.start("again")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("kith again\n")
    assert (installed.site / "one.py").read_text() == "version = '1.0'\n"


def test_what_pip_was_about_to_remove_is_cleared_away(installed: Project) -> None:
    (installed.site / "~ne").mkdir()
    (installed.notes / "packages.stamp").unlink()
    assert installed.start("again").returncode == 0
    assert not (installed.site / "~ne").exists()
