"""Run with loopback alone: one node, JOKES asks as `node chat` asks, each with another seed; prints the answers as JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from node.cli.client import Client
from protocols.http import requests
from protocols.http.control import AnswerDone, NewConversation, Say
from tests.support.node_process import a_node

JOKES = 100
QUESTION = "tell me a joke"


def ask(client: Client, seed: int) -> str:
    conversation = client.call(requests.new_conversation(NewConversation()))
    events = client.events(requests.say(conversation.id, Say(text=QUESTION, seed=seed)))
    (done,) = (event for event in events if isinstance(event, AnswerDone))
    assert done.message.model == "starter"
    return done.message.text.strip()


def main() -> None:
    with a_node(Path(sys.argv[1])) as node:
        client = node.client()
        print(json.dumps([ask(client, seed) for seed in range(JOKES)]))


if __name__ == "__main__":
    main()
