"""What can go wrong with models in the library; each message says what, why and what to do."""

from __future__ import annotations

from collections.abc import Sequence


class ContentError(Exception):
    """Base of this room's errors. `code` is a short stable word for programs."""

    code = "content"


class UnknownModel(ContentError):
    """No model has this name or CID; `nearest` are names that the person may have meant."""

    code = "model_not_found"

    def __init__(self, name: str, nearest: Sequence[str] = (), why: str = "") -> None:
        self.name, self.nearest = name, list(nearest)
        what = why or f"there is no model {name[:128]!r} here"
        todo = (
            f"did you mean {' or '.join(self.nearest)}?"
            if self.nearest
            else "see `node models list`"
        )
        super().__init__(f"{what}: {todo}")


class BadName(ContentError):
    """A name that a model cannot have."""

    code = "bad_name"


class NameTaken(BadName):
    """Another model has this name."""

    code = "name_taken"

    def __init__(self, name: str) -> None:
        super().__init__(f"there is already another model named {name}: choose another name")


class NotAllowed(ContentError):
    """The library does not do this, for a reason that the message gives."""

    code = "not_allowed"


class AddFailed(ContentError):
    """A file could not be taken into the library."""

    code = "add_failed"


class ModelMissing(ContentError):
    """The model's file is no longer where it was."""

    code = "model_missing"


class ModelChanged(ContentError):
    """The model's file holds other bytes than when it was added."""

    code = "model_changed"


class BadRef(ContentError):
    """What was given to pull names nothing that can be pulled."""

    code = "bad_ref"


class PullFailed(ContentError):
    """A pull cannot go on. `keep` says that what came so far is of use for another try."""

    code = "pull_failed"

    def __init__(self, message: str, *, keep: bool = True) -> None:
        super().__init__(message)
        self.keep = keep


class UnknownTransfer(ContentError):
    """No transfer has this id."""

    code = "transfer_not_found"


class TooMany(ContentError):
    """As many transfers as may wait are waiting."""

    code = "overloaded"
