"""A program that ends itself (as kill -9 would) at its n-th step that touches the disk.

`python -m tests.node.owner.killed SCENARIO FOLDER` runs the scenario in FOLDER/1 and dies before step 1, then in
FOLDER/2 and dies before step 2, and so on until one run comes through; FOLDER/base, when there
is one, is what each run starts from. Prints the number of runs. Steps are system calls that change names or
sync data, and the moments before and after each transaction.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import trio

from node.store import Database
from protocols.http.control import RestoreIdentity, RotateIdentity
from tests.node.owner.house import House, house

P = ParamSpec("P")
R = TypeVar("R")

KILLED = 9
STEPS = ("open", "fsync", "replace", "rename", "mkdir", "rmdir", "unlink", "chmod", "fchmod")


async def first_start(here: House, words: str, chain: str) -> None:
    await here.identity()


async def restore(here: House, words: str, chain: str) -> None:
    identity = await here.identity()
    await identity.restore(RestoreIdentity(words=words, chain=chain, device_name="new"))


async def rotate_and_forget(here: House, words: str, chain: str) -> None:
    identity = await here.identity()
    await identity.rotate(RotateIdentity())
    await identity.backup(forget=True)


SCENARIOS: dict[str, Callable[[House, str, str], Awaitable[None]]] = {
    "first_start": first_start,
    "restore": restore,
    "rotate_and_forget": rotate_and_forget,
}


class Killer:
    def __init__(self, at: int) -> None:
        self.left = at

    def step(self) -> None:
        self.left -= 1
        if self.left == 0:
            os._exit(KILLED)

    def before(self, call: Callable[P, R]) -> Callable[P, R]:
        def stepped(*args: P.args, **kwargs: P.kwargs) -> R:
            self.step()
            return call(*args, **kwargs)

        return stepped

    def around(self, call: Callable[P, R]) -> Callable[P, R]:
        def stepped(*args: P.args, **kwargs: P.kwargs) -> R:
            self.step()
            result = call(*args, **kwargs)
            self.step()
            return result

        return stepped

    def arm(self) -> None:
        for name in STEPS:
            setattr(os, name, self.before(getattr(os, name)))
        vars_: Any = Database
        vars_.run_sync = self.around(Database.run_sync)


def run_once(scenario: str, root: Path, at: int, words: str, chain: str) -> None:
    async def main() -> None:
        with house(root) as here:
            killer.arm()
            await SCENARIOS[scenario](here, words, chain)

    killer = Killer(at)
    trio.run(main)


def main(scenario: str, folder: Path) -> None:
    secrets = folder / "secrets"
    words, chain = secrets.read_text().splitlines() if secrets.exists() else ("", "")
    at, done = 0, False
    while not done:
        at += 1
        root = folder / str(at)
        if (folder / "base").exists():
            shutil.copytree(folder / "base", root)
        child = os.fork()
        if child == 0:
            try:
                run_once(scenario, root, at, words, chain)
            except BaseException as error:
                sys.stderr.write(f"run {at}: {error!r}\n")
                os._exit(1)
            os._exit(0)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if code not in (0, KILLED):
            sys.exit(f"run {at} failed with {code}")
        done = code == 0
    sys.stdout.write(f"{at}\n")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
