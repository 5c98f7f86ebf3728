"""A worker process that behaves badly in ways that the real one does not: `python FILE HOW FD`.

nonsense: loads, then answers a job with bytes that are no message.   huge: announces a frame too large.
stubborn: loads, ignores Stop, the socket's end and SIGTERM.          chatty: prints very much.
silent: never answers Load.                                           double: ends every job twice.
dying: says why and leaves when it gets a job.
"""

import signal
import socket
import struct
import sys
import time

from protocols.frames import FrameReader, frame
from protocols.jobs import Ended, Piece, Started, Usage
from protocols.worker import (
    WORKER_FRAME_BYTES,
    FromWorker,
    Load,
    Loaded,
    Report,
    Run,
    ToWorker,
    decode_to_worker,
    encode,
)


def main(how: str, sock: socket.socket) -> None:
    def send(message: FromWorker) -> None:
        sock.sendall(frame(encode(message), max_bytes=WORKER_FRAME_BYTES))

    def answer(message: ToWorker) -> None:
        if isinstance(message, Load) and how != "silent":
            send(Loaded(how, 512, message.sequences, 1_000_000, 0.0))
        elif isinstance(message, Run):
            if how == "dying":
                sys.exit("out of magic smoke")
            if how == "nonsense":
                sock.sendall(frame(b"\xc1\xc1", max_bytes=100))
            elif how == "huge":
                sock.sendall(struct.pack(">I", WORKER_FRAME_BYTES + 1))
            for event in (Started(1), Piece("fake", (1,)), Ended("stop", Usage(1, 1))):
                send(Report(message.job, event))
            if how == "double":
                send(Report(message.job, Ended("length", Usage(9, 9))))

    if how == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if how == "chatty":
        for number in range(20_000):
            print("line", number, "x" * 2000)
        sys.stdout.write("an unfinished line")
        sys.stdout.flush()
    reader = FrameReader(max_bytes=WORKER_FRAME_BYTES)
    while data := sock.recv(65536):
        for payload in reader.feed(data):
            answer(decode_to_worker(payload))
    while how == "stubborn":
        time.sleep(3600)


if __name__ == "__main__":
    main(sys.argv[1], socket.socket(fileno=int(sys.argv[2])))
