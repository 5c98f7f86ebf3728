"""How one answer came about: who asked, the rule, the label, the target, retries, the end.

examples:
  node why job_01hx…          the id is in the X-Kith-Job header and in the conversation
"""

from __future__ import annotations

import argparse

from node.cli.lifecycle import connect
from node.cli.output import say, show_json, when
from protocols.event_words import in_words
from protocols.http import requests


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("id", help="a job's id")
    parser.add_argument("--json", action="store_true", help="for programs")


def run(options: argparse.Namespace) -> int:
    client = connect(options)
    why = client.call(requests.job(options.id))
    if options.json:
        show_json(why)
    else:
        for event in why.events:
            say(f"{when(event.at)}  {event.kind:<13} {in_words(event.kind, event.facts)}")
    return 0
