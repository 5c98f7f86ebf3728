"""The folder of keys: what lies where, and how one device's keys are replaced by another's.

New keys are staged in `keys/next` first, then the database says who this device is, then they are
moved into place. Whenever that is interrupted, `settle` finishes it or takes it back: the database decides.
"""

from __future__ import annotations

import json
import secrets
import shutil
import time
from pathlib import Path

from nacl.signing import SigningKey

from node.files import sync_folder
from node.home import Home
from node.owner import keys
from node.owner.errors import OwnerError
from node.owner.files import (
    disk_errors,
    read_private,
    remove,
    remove_leftovers,
    write_private,
)


class KeyFolder:
    """Every method blocks on the disk: call them in a thread."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.path = home.keys
        self.owner = home.keys / "owner.key"
        self.device = home.keys / "device.key"
        self._next = home.keys / "next"
        # Says that these keys were in use: they must not be given a new, second history.
        self._in_use = home.keys / "identity.json"

    def make_keys(self) -> tuple[bytes, SigningKey]:
        """The secrets of a first start: those that an interrupted one left, else new ones."""
        file = keys.read_owner_file(self.owner)
        entropy = keys.new_entropy() if file is None else file.open(None)
        if file is None:
            keys.write_owner_file(self.owner, keys.seal(entropy, None))
        device = keys.read_device_key(self.device)
        if device is None:
            device = SigningKey.generate()
            keys.write_device_key(self.device, device)
        return entropy, device

    def device_key(self, expected: bytes) -> SigningKey:
        """This device's key. Raises `OwnerError` when it is missing or not the one that the database knows."""
        key = keys.read_device_key(self.device)
        if key is None or bytes(key.verify_key) != expected:
            what = "is missing" if key is None else "is another device's"
            raise OwnerError(
                "keys_unusable",
                f"{self.device} {what}: put the file that belongs to this home back from a backup",
            )
        return key

    def read_owner(self) -> keys.OwnerFile | None:
        return keys.read_owner_file(self.owner)

    def write_owner(self, file: keys.OwnerFile) -> None:
        keys.write_owner_file(self.owner, file)

    def forget_owner(self) -> None:
        remove(self.owner)

    def check_unused(self) -> None:
        """Raises `OwnerError` when the keys here have a history that the database does not hold."""
        if self._in_use.exists():
            raise OwnerError(
                "keys_unusable",
                f"{self.home.state_db} does not know the owner whose keys are in {self.path}:"
                " put data/state.db back from a backup; or move the folder keys away, start,"
                " and use `node identity restore` with your words and chain",
            )

    def mark_in_use(self, owner: str, device: str) -> None:
        text = json.dumps({"owner": owner, "device": device}) + "\n"
        try:
            if read_private(self._in_use, max_bytes=4096) == text.encode():
                return
        except FileNotFoundError:
            pass
        write_private(self._in_use, text.encode())

    def stage(self, owner: keys.OwnerFile, device: SigningKey) -> None:
        """Write the keys that will replace the present ones."""
        self._drop_stage()
        with disk_errors(self._next):
            self._next.mkdir(mode=0o700)
        keys.write_owner_file(self._next / self.owner.name, owner)
        keys.write_device_key(self._next / self.device.name, device)
        sync_folder(self.path)

    def settle(self, device: bytes | None) -> None:
        """Move staged keys into place when the database says that `device` is who we are, else drop them."""
        remove_leftovers(self.path)
        if not self._next.exists():
            return
        remove_leftovers(self._next)
        staged = keys.read_device_key(self._next / self.device.name)
        if staged is not None and bytes(staged.verify_key) == device:
            for target in (self.owner, self.device):  # the device's key last: it marks the stage
                source = self._next / target.name
                if source.exists():
                    source.replace(target)
                    sync_folder(self.path)
        self._drop_stage()

    def archive(self, chain: str) -> Path:
        """Copy the present keys and the chain into a new folder under `backups`; nothing is ever deleted."""
        name = time.strftime("identity-%Y%m%d-%H%M%S") + f"-{secrets.token_hex(2)}"
        partial = self.home.backups / f".{name}.partial"
        with disk_errors(partial):
            partial.mkdir(mode=0o700, parents=True)
        for source in (self.owner, self.device, self._in_use):
            if source.exists():
                write_private(partial / source.name, read_private(source, max_bytes=4096))
        if chain:
            write_private(partial / "chain.txt", chain.encode("ascii"))
        target = partial.rename(self.home.backups / name)
        sync_folder(self.home.backups)
        return target

    def _drop_stage(self) -> None:
        if self._next.exists():
            shutil.rmtree(self._next)
            sync_folder(self.path)
