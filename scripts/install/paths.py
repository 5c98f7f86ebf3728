"""Where everything is. A start with nothing to install imports only this and `stamps`."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = ROOT / "requirements"
VENV = ROOT / ".venv"
BIN = VENV / "bin"
PYTHON = BIN / "python"
KITH = BIN / "kith"
NOTES = VENV / ".kith"  # ours inside .venv: stamps, the log, llama.cpp while it is built
LOG = NOTES / "install.log"
TEMPORARY = NOTES / "tmp"


class SetupProblem(Exception):
    """The environment cannot be made; the message is one line that says why and what to do."""
