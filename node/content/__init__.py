"""The content room: the library of models; adding, pulling and adopting them."""

from node.content.errors import (
    AddFailed,
    BadName,
    BadRef,
    ContentError,
    ModelChanged,
    ModelMissing,
    NameTaken,
    NotAllowed,
    PullFailed,
    TooMany,
    UnknownModel,
    UnknownTransfer,
)
from node.content.library import Library, open_library
from node.content.model import Added, Model, ModelFile
from node.content.starter import packaged_starter
from node.content.tables import INDEX_MIGRATIONS, MIGRATIONS
from node.content.transfers import Transfers, open_transfers

__all__ = [
    "INDEX_MIGRATIONS",
    "MIGRATIONS",
    "AddFailed",
    "Added",
    "BadName",
    "BadRef",
    "ContentError",
    "Library",
    "Model",
    "ModelChanged",
    "ModelFile",
    "ModelMissing",
    "NameTaken",
    "NotAllowed",
    "PullFailed",
    "TooMany",
    "Transfers",
    "UnknownModel",
    "UnknownTransfer",
    "open_library",
    "open_transfers",
    "packaged_starter",
]
