"""`node models transfers` and `node models adopt`: long work on models, seen from the command line."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import msgspec

from node.cli.client import Client
from node.cli.errors import NOT_FOUND, CliError
from node.cli.output import say, show_json, size, table
from node.cli.progress import watch
from protocols.http import requests
from protocols.http.control import AdoptedModel, AdoptModels, Transfer


def add_arguments(parser: argparse.ArgumentParser) -> None:
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--stop", metavar="ID", help="stop it; a pull can go on later")
    what.add_argument("--forget", metavar="ID", help="stop it and delete what it has fetched")


def show(client: Client, options: argparse.Namespace) -> None:
    """List, stop or forget; an ID may be its start, the model's name, or what was given to pull."""
    if options.stop or options.forget:
        chosen = _find(client, options.stop or options.forget)
        ask = requests.stop_transfer if options.stop else requests.forget_transfer
        last = client.call(ask(chosen.id))
        if options.json:
            show_json(last)
        else:
            say(f"{last.name}: {'stopped' if options.stop else 'forgotten'}")
        return
    transfers = client.call(requests.transfers()).transfers
    if options.json:
        show_json(transfers)
    elif not transfers:
        say("nothing is under way, and nothing is left over")
    else:
        rows = [[t.id[:8], t.kind, t.name, t.state, _amount(t), t.message] for t in transfers]
        table(rows, head=["id", "", "name", "state", "so far", ""])


def _amount(transfer: Transfer) -> str:
    total = f" of {size(transfer.total)}" if transfer.total else ""
    return f"{size(transfer.done)}{total}"


def _find(client: Client, text: str) -> Transfer:
    every = client.call(requests.transfers()).transfers
    found = [t for t in every if t.id.startswith(text) or text in (t.name, t.ref)]
    if len(found) != 1:
        what = "several transfers are" if found else "no transfer is"
        raise CliError(f"{what} named {text!r}: see `node models transfers`", exit_code=NOT_FOUND)
    return found[0]


def adopt(client: Client, options: argparse.Namespace) -> None:
    """Take in what other programs keep, with progress; Ctrl-C stops what is not done yet."""
    folder = str(Path(options.folder).expanduser().absolute()) if options.folder else None
    body = AdoptModels(source=options.source, folder=folder, dry_run=options.dry_run)
    models = client.call(requests.adopt_models(body)).models
    results = _settled(client, models)
    if options.json:
        show_json(results)
    elif not results:
        say("nothing found; `node models adopt --folder DIR` looks elsewhere")
    else:
        rows = [
            [m["state"], m["name"], size(m["size"]), m["source"], m["reason"] or m["path"]]
            for m in results
        ]
        table(rows, head=["", "name", "size", "from", ""])


def _settled(client: Client, models: tuple[AdoptedModel, ...]) -> list[dict[str, Any]]:
    """What was told at once, and how each transfer that was begun has ended."""
    results = []
    try:
        for model in models:
            told = msgspec.to_builtins(model)
            if model.state == "adding":
                last = watch(client, client.call(requests.transfer(model.transfer)))
                state = "added" if last.state == "done" else last.state
                told |= {"state": state, "name": last.model or model.name, "reason": last.message}
            results.append(told)
    except KeyboardInterrupt:
        for model in models[len(results) :]:
            if model.transfer:
                client.call(requests.stop_transfer(model.transfer))
        raise
    return results
