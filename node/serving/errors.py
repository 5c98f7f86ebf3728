"""What can go wrong between admission and answer. Callers of `submit` never see these: they get `Failed`."""

from __future__ import annotations

from protocols.jobs import Failed, FailureCode


class JobFailed(Exception):
    """The job cannot go on; `failed` is its last event. `Serving.load` raises it too."""

    def __init__(self, code: FailureCode, message: str, *, retry: bool = False) -> None:
        super().__init__(message)
        self.failed = Failed(code, message, retry)


class TargetLost(Exception):
    """Whatever ran the job is gone (killed, aborted, hung). Another may run it, if nothing was sent.

    `suspect`: the job was in its hands when it went, and may be why.
    """

    def __init__(self, message: str, *, suspect: bool = False) -> None:
        super().__init__(message)
        self.suspect = suspect


class ModelBusy(Exception):
    """A model with running jobs is not unloaded."""
