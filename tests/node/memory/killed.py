"""A child that talks without end, telling what it did after it did it, until somebody kills it."""

from __future__ import annotations

import sys
from pathlib import Path

import trio

from protocols.http.control import AnswerText, NewConversation, Said, Say
from protocols.jobs import Ended, Event, Job, Piece, Started, Usage
from tests.node.memory.house import OWNER, Engine, a_database, conversations

WORD = "word "


async def play(job: Job, send: trio.MemorySendChannel[Event]) -> None:
    await send.send(Started(1))
    for _ in range(300):
        await send.send(Piece(WORD, (1,)))
        await trio.sleep(0.002)
    await send.send(Ended("stop", Usage(1, 300)))


def tell(*words: str) -> None:
    print(*words, flush=True)


async def talk(root: Path) -> None:
    with a_database(root) as database:
        found = await conversations(database, Engine(play))
        made = await found.create(NewConversation(), OWNER)
        tell("made", made.id)
        number = 0
        while True:
            number += 1
            text = f"question {number} of {made.id}"
            async with found.say(made.id, Say(text), OWNER) as answer:
                async for event in answer:
                    if isinstance(event, Said):
                        tell("said", event.question.id, event.answer.id, text)
                    elif isinstance(event, AnswerText):
                        continue
                    else:
                        tell("done", event.message.id)


if __name__ == "__main__":
    trio.run(talk, Path(sys.argv[1]))
