"""Write requirements/*.txt anew from pyproject.toml: names, versions and hashes, no addresses.

    python scripts/lock.py            needs `uv` on PATH (any recent one)

Four files, installed in this order with `--no-deps --require-hashes`:
build.txt (what builds source packages), runtime.txt, llama.txt (llama-cpp-python alone: it is compiled),
dev.txt (what only the checks need).
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ROOT / "requirements"
BUILD = ["scikit-build-core", "cmake", "ninja", "packaging", "pathspec", "setuptools", "wheel"]
# libp2p asks for fastecdsa 2.3.2, which has no wheels and needs GMP's headers; it runs with 4.0.0.
OVERRIDES = ["fastecdsa==4.0.0"]
# sqlite-utils names pip for its own plugin command, which we do not use.
LEFT_OUT = {"pip"}
FLAGS = [
    "--universal",
    "--python-version",
    "3.11",
    "--generate-hashes",
    "--no-emit-index-url",
    "--no-header",
]


def compile_lock(folder: Path, *sources: str) -> dict[str, str]:
    """Package name → its lines in the lock."""
    overrides = folder / "overrides.txt"
    overrides.write_text("\n".join(OVERRIDES))
    command = [
        "uv",
        "pip",
        "compile",
        "-q",
        *FLAGS,
        "--no-annotate",
        "--override",
        str(overrides),
        *sources,
    ]
    text = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    blocks = re.split(r"(?m)^(?=[A-Za-z0-9])", text)
    found: dict[str, str] = {}
    for block in filter(None, blocks):
        name = re.split(r"[=\[ ;]", block, maxsplit=1)[0]
        found[name] = found.get(name, "") + block
    return {name: block for name, block in found.items() if name not in LEFT_OUT}


def write(name: str, blocks: dict[str, str]) -> None:
    text = "".join(blocks[key] for key in sorted(blocks))
    if "http://" in text or "https://" in text:
        sys.exit(f"{name} would name an address; refused")
    (REQUIREMENTS / name).write_text(text)
    print(f"{name}: {len(blocks)} packages")


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        wanted = folder / "build.in"
        wanted.write_text("\n".join(BUILD))
        build = compile_lock(folder, str(wanted))
        everything = compile_lock(folder, "pyproject.toml", "--group", "dev")
        runtime = compile_lock(folder, "pyproject.toml")
        # One version of each package for all of them: the one that the widest resolution chose.
        runtime = {name: everything[name] for name in runtime}
        write("build.txt", build)
        write("llama.txt", {"llama-cpp-python": runtime.pop("llama-cpp-python")})
        write("runtime.txt", {n: b for n, b in runtime.items() if n not in build})
        write(
            "dev.txt",
            {
                n: b
                for n, b in everything.items()
                if n not in runtime and n not in build and n != "llama-cpp-python"
            },
        )


if __name__ == "__main__":
    main()
