"""The worker process: one model, its memory, its crashes. `python -P -m models.worker FD`.

FD is one end of a socketpair; `protocols.worker` says what travels over it. The main thread owns
the native model; another receives, so that a cancel takes effect before the next step. The process
leaves when the socket ends. There is no event loop here.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from time import monotonic

from models.backends.base import LoadError
from models.runtime.channel import Channel, log
from models.runtime.engine import Engine
from models.runtime.loading import load_engine
from models.runtime.outbox import Outbox
from protocols.jobs import Chat, Count, Embed, Failed, Work
from protocols.worker import (
    Beat,
    Cancel,
    Load,
    Loaded,
    LoadFailed,
    Report,
    Run,
    Stop,
    ToWorker,
)

_BEAT_S = 0.25  # beats are this far apart, unless the next step is long
_LONG_STEP_S = 0.5
_LONG_TEXT = 200_000  # characters that may take _LONG_STEP_S to tokenise on a slow machine


def main(arguments: list[str]) -> int:
    """Serve the socket whose number is the only argument. Returns the exit status."""
    if len(arguments) != 1 or not arguments[0].isdecimal():
        sys.stderr.write(
            "usage: python -P -m models.worker FD (started by the node, not by hand)\n"
        )
        return 2
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the node's to answer
    os.environ["GGML_NO_BACKTRACE"] = "1"  # else an abort runs a debugger first
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # numpy only looks at rows of logits here
    sock = socket.socket(fileno=int(arguments[0]))
    sock.set_inheritable(False)
    channel = Channel(sock)
    channel.start()
    try:
        _serve(channel)
    except (BrokenPipeError, ConnectionResetError):
        log("leaving: the node is gone")
    channel.left()
    return 0


def _serve(channel: Channel) -> None:
    message = channel.wait()
    if not isinstance(message, Load):
        if not isinstance(message, Stop):
            log(f"leaving: the first message must be load, not {type(message).__name__}")
        return
    engine = _load(channel, message)
    if engine is None:
        return
    try:
        _Loop(channel, engine).run()
    finally:
        engine.close()


def _load(channel: Channel, load: Load) -> Engine | None:
    """Load and tell the node how it went."""
    began = monotonic()
    try:
        engine, info = load_engine(load)
    except LoadError as error:
        channel.send([LoadFailed(str(error), error.out_of_memory)])
        return None
    except MemoryError:
        channel.send([LoadFailed("the model does not fit into memory", out_of_memory=True)])
        return None
    except Exception as error:  # noqa: BLE001  the boundary: a strange file must not be silence
        log(f"load failed: {error!r}")
        channel.send([LoadFailed(f"the model could not be loaded: {error}")])
        return None
    seconds = monotonic() - began
    channel.send([Loaded(info.build, info.context, info.slots, info.memory_bytes, seconds)])
    return engine


class _Loop:
    """Take messages, beat, step, send; until Stop."""

    def __init__(self, channel: Channel, engine: Engine) -> None:
        self._channel = channel
        self._engine = engine
        self._outbox = Outbox(channel.send)
        self._beaten = 0.0

    def run(self) -> None:
        while self._take_messages():
            predicted = self._engine.predict()
            if self._busy:
                self._beat(predicted)
                self._engine.step()
            self._outbox.add(self._engine.take(), patience_s=predicted)

    @property
    def _busy(self) -> bool:
        return bool(self._engine.running or self._engine.waiting)

    def _take_messages(self) -> bool:
        """Handle what has arrived; wait only when there is nothing to compute."""
        messages = self._channel.ready() if self._busy else [self._channel.wait()]
        return all(self._handle(message) for message in messages)

    def _handle(self, message: ToWorker) -> bool:
        if isinstance(message, Run):
            self._submit(message)
        elif isinstance(message, Cancel):
            self._engine.cancel(message.job)
        elif isinstance(message, Load):
            log("a second load was ignored: one worker holds one model")
        return not isinstance(message, Stop)

    def _submit(self, run: Run) -> None:
        """One request must not end the others, whatever it trips over while it is read."""
        size = _characters(run.work)
        if size > _LONG_TEXT:
            self._beat(size / _LONG_TEXT * _LONG_STEP_S + _LONG_STEP_S)
        try:
            self._engine.submit(run.job, run.work, run.scope)
        except Exception as error:  # noqa: BLE001  the boundary of a request
            log(f"a request failed: {error!r}")
            failure = Failed("internal", f"the request could not be read: {error}")
            self._channel.send([Report(run.job, failure)])

    def _beat(self, predicted: float) -> None:
        now = monotonic()
        if predicted > _LONG_STEP_S or now - self._beaten >= _BEAT_S:
            self._beaten = now
            self._channel.send([Beat(predicted, self._engine.running, self._engine.waiting)])


def _characters(work: Work) -> int:
    """How much text there is to tokenise."""
    if isinstance(work, Chat | Count):
        return sum(len(message.content) for message in work.messages)
    if isinstance(work, Embed):
        return sum(map(len, work.inputs))
    return len(work.prompt)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
