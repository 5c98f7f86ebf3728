"""The worker's end of the socketpair: messages in through a thread, messages out by a plain write.

The thread exists so that a cancel or the node's death is seen while native code computes. When the
socket ends, the process leaves: at once if it is computing, else by an ordinary return.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Iterable
from queue import Empty, SimpleQueue

import msgspec

from protocols.errors import Malformed
from protocols.frames import FrameReader, frame
from protocols.worker import (
    WORKER_FRAME_BYTES,
    FromWorker,
    Stop,
    ToWorker,
    decode_to_worker,
    encode,
)

_RECEIVE_BYTES = 256 * 1024
_LEAVE_S = 0.25  # how long an ordinary end may take once the socket has ended


def log(text: str) -> None:
    """One short line for the node's log."""
    sys.stderr.write(f"worker: {text}\n")
    sys.stderr.flush()


class Channel:
    """Messages of `protocols.worker` over a connected stream socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._inbox: SimpleQueue[ToWorker] = SimpleQueue()
        self._left = threading.Event()

    def start(self) -> None:
        """Begin to receive."""
        threading.Thread(target=self._receive, name="receive", daemon=True).start()

    def left(self) -> None:
        """The main loop has ended by itself; the process needs no push."""
        self._left.set()

    def wait(self) -> ToWorker:
        """The next message; `Stop` when the socket has ended."""
        return self._inbox.get()

    def ready(self) -> list[ToWorker]:
        """The messages that have arrived, without waiting."""
        messages: list[ToWorker] = []
        while True:
            try:
                messages.append(self._inbox.get_nowait())
            except Empty:
                return messages

    def send(self, messages: Iterable[FromWorker]) -> None:
        """Write messages in one go. Waits while the node does not read. OSError when it is gone."""
        out = bytearray()
        for message in messages:
            out += frame(encode(message), max_bytes=WORKER_FRAME_BYTES)
        if out:
            self._sock.sendall(out)

    def _receive(self) -> None:
        reader = FrameReader(max_bytes=WORKER_FRAME_BYTES)
        try:
            while data := self._sock.recv(_RECEIVE_BYTES):
                for payload in reader.feed(data):
                    self._inbox.put(decode_to_worker(payload))
        except (Malformed, msgspec.MsgspecError) as error:
            log(f"leaving: the node sent what is no message: {error}")
        except OSError as error:
            log(f"leaving: {error}")
        self._inbox.put(Stop())
        if not self._left.wait(_LEAVE_S):
            os._exit(0)
