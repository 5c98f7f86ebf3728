"""API keys for programs: what each may do, and how far its data may go.

examples:
  node grants new editor                        may chat and embed; its data stays on this device
  node grants new bot --may chat --days 7
  node grants list
  node grants revoke editor
"""

from __future__ import annotations

import argparse

from node.cli.lifecycle import connect
from node.cli.output import say, show_json, table, when
from protocols.http import requests
from protocols.http.control import Key, NewKey


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    new = actions.add_parser("new", help="make a key; its secret is shown once")
    new.add_argument("name")
    new.add_argument(
        "--may",
        action="append",
        help="an action; again for more (default: chat, embed, models.read)",
    )
    new.add_argument("--label", default="device", help="the label of what is asked with it")
    new.add_argument("--ceiling", default="device", help="no wider than this")
    new.add_argument("--days", type=float, help="ends after so many days")
    listing = actions.add_parser("list", help="every key")
    revoke = actions.add_parser("revoke", help="end a key now")
    revoke.add_argument("name", help="its name or id")
    for sub in (new, listing, revoke):
        sub.add_argument("--json", action="store_true", help="for programs")


def run(options: argparse.Namespace) -> int:
    client = connect(options)
    if options.action == "new":
        body = NewKey(
            name=options.name,
            label=options.label,
            ceiling=options.ceiling,
            may=tuple(options.may) if options.may else NewKey(name="").may,
            expires_in_s=options.days * 86400 if options.days else None,
        )
        made = client.call(requests.new_grant(body))
        if options.json:
            show_json(made)
        else:
            say(made.secret)
            say(
                f"(shown once; {made.key.name} may {', '.join(made.key.may)}, up to {made.key.ceiling})"
            )
    elif options.action == "list":
        keys = client.call(requests.grants()).grants
        if options.json:
            show_json(keys)
        else:
            rows = [[k.name, k.id, ", ".join(k.may), k.ceiling, _state(k)] for k in keys]
            table(rows, head=["name", "id", "may", "up to", "state"])
    else:
        answer = client.call(requests.revoke_grant(options.name))
        if options.json:
            show_json(answer)
        else:
            say(f"revoked: {options.name}")
    return 0


def _state(key: Key) -> str:
    if key.revoked_at is not None:
        return f"revoked {when(key.revoked_at)}"
    if key.expires_at is not None:
        return f"until {when(key.expires_at)}"
    return f"last used {when(key.last_used_at)}" if key.last_used_at else "never used"
