"""The node's log: one line per thing, in a file that is turned over by size, and on stderr in the foreground."""

from __future__ import annotations

import logging
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from logging.handlers import RotatingFileHandler

from node.config import LogSettings
from node.home import Home

_FORMAT = logging.Formatter(
    "%(asctime)s %(levelname)-7s %(name)s: %(message)s", "%Y-%m-%d %H:%M:%S"
)


class _Chatter(logging.Filter):
    """Libraries speak only of trouble; our own rooms speak at the chosen level."""

    def filter(self, record: logging.LogRecord) -> bool:
        ours = record.name.partition(".")[0] in {"node", "models", "protocols", "worker"}
        return ours or record.levelno >= logging.WARNING


@contextmanager
def logging_to(home: Home, settings: LogSettings) -> Iterator[None]:
    """Log to the home's file and, unless that is a file too, to stderr. Restores what was before."""
    file = RotatingFileHandler(
        home.log_file,
        maxBytes=settings.max_bytes,
        backupCount=1,
        encoding="utf-8",
        errors="replace",
    )
    handlers: list[logging.Handler] = [file]
    if not _goes_to_a_file(sys.stderr.fileno()):  # nobody would turn that one over
        handlers.append(logging.StreamHandler(sys.stderr))
    root = logging.getLogger()
    level_before = root.level
    for handler in handlers:
        handler.setFormatter(_FORMAT)
        handler.addFilter(_Chatter())
        root.addHandler(handler)
    root.setLevel(settings.level.upper())
    try:
        yield
    finally:
        root.setLevel(level_before)
        for handler in handlers:
            root.removeHandler(handler)
            handler.flush()
        file.close()


def _goes_to_a_file(handle: int) -> bool:
    return stat.S_ISREG(os.fstat(handle).st_mode)
