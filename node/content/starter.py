"""The starter model: packaged with the program, in the library from the first start."""

from __future__ import annotations

import logging
import time
from importlib import resources
from pathlib import Path

from models.errors import BadModel
from models.facts import ModelFacts
from node.content.errors import AddFailed
from node.content.hashing import hash_files
from node.content.layout import lay_out
from node.content.model import Model
from node.content.names import STARTER
from node.content.tables import Row

_log = logging.getLogger(__name__)


def packaged_starter() -> Path:
    """Where the packaged file lies (it may be absent in a checkout)."""
    return Path(str(resources.files("models"))) / "starter" / "starter.gguf"


def read_starter(path: Path, known: Model | None) -> tuple[Row, ModelFacts] | None:
    """The starter as it is packaged now, or None when the library has it already or it is not there.

    Blocks on the disk: run it in a thread.
    """
    if known is not None and known.path == path and known.unchanged():
        return None
    try:
        layout = lay_out(path)
        cid, files = hash_files(layout.folder, layout.names)
    except (BadModel, AddFailed, OSError) as error:
        _log.warning("the built-in model cannot be used: %s", error)
        return None
    row = Row(
        name=STARTER,
        cid=cid,
        kind=layout.facts.kind,
        folder=str(layout.folder),
        opened=layout.opened,
        files=files,
        storage="reference",
        source="built in",
        label="public",
        added_at=time.time(),
        starter=True,
    )
    return row, layout.facts
