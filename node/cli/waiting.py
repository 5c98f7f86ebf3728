"""Saying what a person waits for, when the first word of an answer does not come at once."""

from __future__ import annotations

import sys
import threading
import time
from types import TracebackType

from node.cli.client import Client
from node.cli.errors import CliError
from node.cli.output import duration, size
from protocols.http import requests
from protocols.text import clean

PATIENCE_S = 1.5  # before anything is said
EVERY_S = 1.0


class Waiting:
    """While this block waits: a moving line on a terminal, one line elsewhere; both on stderr.

    `over` ends it (so does leaving the block) and returns when nothing more will be written.
    """

    def __init__(self, client: Client, model: str, *, patience: float = PATIENCE_S) -> None:
        self._client = Client(client.node, timeout=10)  # a connection of its own, not to wait too
        self._model = model or "default"
        self._patience = patience
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._tell, name="waiting", daemon=True)
        self._began = time.monotonic()

    def __enter__(self) -> Waiting:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.over()

    def over(self) -> None:
        if not self._over.is_set():
            self._over.set()
            self._thread.join()

    def _tell(self) -> None:
        moving, told = sys.stderr.isatty(), False
        wait = self._patience
        while not self._over.wait(wait):
            wait = EVERY_S
            if (moving or not told) and (text := self._what()):
                shown = clean(text)
                if moving:
                    seconds = duration(time.monotonic() - self._began)
                    print(f"\r\x1b[K{shown}  {seconds}", end="", file=sys.stderr, flush=True)
                else:
                    print(shown, file=sys.stderr)
                told = True
        if told and moving:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)

    def _what(self) -> str:
        """What the node is doing with the model now; nothing to say when it cannot be asked."""
        try:
            model = self._client.call(requests.model(self._model))
        except CliError:
            return ""
        if model.state == "loading":
            return f"loading {model.name} ({size(model.size)}) …"
        return f"waiting for {model.name} …"
