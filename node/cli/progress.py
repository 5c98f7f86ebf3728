"""A transfer on the screen: a moving line on a terminal, a few plain lines in a pipe."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterator

from node.cli.client import Client
from node.cli.errors import CliError
from node.cli.output import duration, size
from protocols.http import requests
from protocols.http.control import Transfer
from protocols.text import clean

FINISHED = {"done", "failed", "stopped"}
PLAIN_EVERY_S = 10.0


def follow(client: Client, transfer: Transfer) -> Transfer:
    """Show the transfer until it ends well. Ctrl-C stops it; what came stays for the next try."""
    try:
        last = watch(client, transfer)
    except KeyboardInterrupt:
        client.call(requests.stop_transfer(transfer.id))
        print("\nstopped; the same command goes on where it was", file=sys.stderr)
        raise
    if last.state != "done":
        raise CliError(last.message or f"the {last.kind} was {last.state}")
    return last


def watch(client: Client, transfer: Transfer) -> Transfer:
    """Show the transfer until it ends, however it ends."""
    last = transfer
    try:
        for state in _states(client, transfer):
            last = state
    finally:
        if sys.stderr.isatty():
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
    return last


def _states(client: Client, transfer: Transfer) -> Iterator[Transfer]:
    """Each change until the last one, shown as it comes."""
    if transfer.state in FINISHED:
        yield transfer
        return
    told = time.monotonic()
    for state in client.events(requests.watch_transfer(transfer.id)):
        if sys.stderr.isatty():
            _draw(state)
        elif time.monotonic() - told >= PLAIN_EVERY_S:
            told = time.monotonic()
            print(line_of(state, 100), file=sys.stderr)
        yield state


def _draw(transfer: Transfer) -> None:
    width = shutil.get_terminal_size().columns - 1
    print("\r\x1b[K" + line_of(transfer, width), end="", file=sys.stderr, flush=True)


def line_of(transfer: Transfer, width: int) -> str:
    """e.g. `qwen3-4b  41 % [######·········]  1.1 GB of 2.6 GB  6.1 MB/s  4 min 2 s left`"""
    if transfer.state != "running" or not transfer.total:
        text = transfer.message or transfer.state
        return clean(
            f"{transfer.name}  {text}  {size(transfer.done) if transfer.done else ''}"
        ).rstrip()[:width]
    share = min(1.0, transfer.done / transfer.total)
    left = f"{duration(transfer.eta_s)} left" if transfer.eta_s is not None else "stalled"
    tail = f"{size(transfer.done)} of {size(transfer.total)}  {size(transfer.rate)}/s  {left}"
    head = f"{clean(transfer.name)}  {share * 100:3.0f} %"
    room = width - len(head) - len(tail) - 6
    bar = f"[{'#' * int(room * share)}{'.' * (room - int(room * share))}]" if room >= 8 else ""
    return f"{head} {bar}  {tail}"[:width]
