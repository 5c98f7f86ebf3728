"""Past conversations on the command line: `node chat --list`, `--show` and `--delete`."""

from __future__ import annotations

import argparse

from node.cli.client import Client
from node.cli.output import say, show_json, table, when
from protocols.http import requests

LISTED = 200


def add_arguments(parser: argparse.ArgumentParser) -> None:
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--list", action="store_true", help="past conversations, the latest first")
    what.add_argument("--show", metavar="ID", help="a whole conversation as Markdown")
    what.add_argument("--delete", metavar="ID", help="delete a conversation for good")


def wanted(options: argparse.Namespace) -> bool:
    return bool(options.list or options.show or options.delete)


def run(client: Client, options: argparse.Namespace) -> int:
    if options.show:
        if options.json:
            show_json(client.call(requests.conversation(options.show)))
        else:
            say(client.call(requests.export_conversation(options.show)).rstrip())
    elif options.delete:
        client.call(requests.delete_conversation(options.delete))
        say(f"deleted: {options.delete}")
    else:
        _list(client, as_json=options.json)
    return 0


def _list(client: Client, *, as_json: bool) -> None:
    found = client.call(requests.conversations(limit=LISTED)).conversations
    if as_json:
        show_json(found)
    elif not found:
        say('no conversation yet: node chat "tell me a joke"')
    else:
        rows = [[c.id, when(c.updated_at), str(c.message_count), c.title] for c in found]
        table(rows, head=["id", "last", "messages", "title"])
