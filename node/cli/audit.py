"""What the node did, from its append-only log.

examples:
  node audit list
  node audit list --kind model.
  node audit verify           check the chain of hashes from the first event on
"""

from __future__ import annotations

import argparse

from node.cli.errors import CliError
from node.cli.lifecycle import connect
from node.cli.output import say, show_json, when
from protocols.event_words import in_words
from protocols.http import requests
from protocols.http.control import EventEntry


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="the last events")
    listing.add_argument("-n", "--limit", type=int, default=50, help="how many (default 50)")
    listing.add_argument("--kind", default="", help="only kinds that begin like this, e.g. job.")
    listing.add_argument("--after", type=int, help="from this number on")
    verify = actions.add_parser("verify", help="check that nothing was changed or removed")
    for sub in (listing, verify):
        sub.add_argument("--json", action="store_true", help="for programs")


def run(options: argparse.Namespace) -> int:
    client = connect(options)
    if options.action == "verify":
        answer = client.call(requests.events(limit=1, verify=True))
        if options.json:
            show_json({"broken_at": answer.broken_at})
        if answer.broken_at is not None:
            raise CliError(
                f"event {answer.broken_at} does not fit its chain: it was changed or removed"
            )
        if not options.json:
            say("every event fits its chain")
        return 0
    after = -1 if options.after is None else options.after
    asked = requests.events(after=after, limit=options.limit, kind=options.kind)
    events = client.call(asked).events
    if options.json:
        show_json(events)
    else:
        for event in events:
            show_event(event)
    return 0


def show_event(event: EventEntry) -> None:
    told = in_words(event.kind, event.facts)
    say(f"{event.seq:>6}  {when(event.at)}  {event.kind:<20} {event.subject}  {told}".rstrip())
