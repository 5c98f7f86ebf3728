"""Every path of a node's home folder, and the rules for making it."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


class HomeError(Exception):
    """The home folder cannot be used; the message says why and what to do."""


def default_root(env: Mapping[str, str], platform: str = sys.platform) -> Path:
    """`$KITH_HOME`, else the platform's data folder."""
    if chosen := env.get("KITH_HOME"):
        return Path(chosen).expanduser().absolute()
    user = Path(env.get("HOME") or Path.home())
    if platform == "darwin":
        return user / "Library" / "Application Support" / "kith"
    base = Path(env.get("XDG_DATA_HOME") or "")
    # A relative path there is to be ignored: it would be another folder in every working directory.
    return (base if base.is_absolute() else user / ".local" / "share") / "kith"


@dataclass(frozen=True)
class Home:
    """Where everything lies. Nothing here touches the disk except `prepare`."""

    root: Path

    @property
    def config_file(self) -> Path:
        return self.root / "config.toml"

    @property
    def version_file(self) -> Path:
        """Which layout of the home this is; see node.store.migrations."""
        return self.root / "version"

    @property
    def keys(self) -> Path:
        return self.root / "keys"

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def state_db(self) -> Path:
        """What cannot be made again: keys' chains, conversations, events, names of models."""
        return self.data / "state.db"

    @property
    def index_db(self) -> Path:
        """What can be rebuilt from the files: hashes, facts, search."""
        return self.data / "index.db"

    @property
    def models(self) -> Path:
        """Whole, verified model files that the node holds itself."""
        return self.root / "models"

    @property
    def partial(self) -> Path:
        """Downloads that are not whole yet; never shown to a worker."""
        return self.root / "partial"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def log_file(self) -> Path:
        return self.logs / "node.log"

    @property
    def backups(self) -> Path:
        return self.root / "backups"

    @property
    def run(self) -> Path:
        return self.root / "run"

    @property
    def lock_file(self) -> Path:
        return self.run / "lock"

    @property
    def node_file(self) -> Path:
        """Where a running node says how to reach it (address, token file, process id)."""
        return self.run / "node.json"

    @property
    def token_file(self) -> Path:
        """The owner's bearer token for the API; made once, mode 0600."""
        return self.keys / "api-token"

    @property
    def socket(self) -> Path:
        return self.run / "api.sock"

    def prepare(self) -> None:
        """Make the folders, private to the owner. `HomeError` when that is not possible."""
        try:
            ours = not self.root.exists() or self.version_file.exists()
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            if ours:  # never change the mode of a folder that someone else put other things in
                self.root.chmod(0o700)
            for folder in self._folders():
                folder.mkdir(mode=0o700, exist_ok=True)
                folder.chmod(0o700)
            probe = self.run / f".write-{os.getpid()}"
            probe.write_bytes(b"")
            probe.unlink()
        except OSError as error:
            raise HomeError(
                f"the home folder {self.root} cannot be written ({error.strerror or error}): "
                "make it writable, or choose another with --home DIR or KITH_HOME"
            ) from error

    def _folders(self) -> tuple[Path, ...]:
        return (
            self.keys,
            self.data,
            self.models,
            self.partial,
            self.logs,
            self.backups,
            self.run,
        )
