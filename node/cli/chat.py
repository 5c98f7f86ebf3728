"""Ask a model: one question, a pipe, or a conversation.

examples:
  node chat "tell me a joke"
  node chat                               a conversation; Ctrl-D leaves
  git diff | node chat "what changed?"    the pipe's text follows the question
  node chat -c "and shorter?"             go on with the last conversation
  node chat -m qwen3-4b "hello"
  node chat --list                        past conversations
  node chat --conversation ID "and then?" go on with one of them
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass

from node.cli import conversations
from node.cli.client import Client
from node.cli.errors import FAILED, NOT_FOUND, REFUSED, USAGE, CliError
from node.cli.lifecycle import connect
from node.cli.output import notice, show_json
from node.cli.waiting import Waiting
from protocols.http import requests
from protocols.http.control import (
    AnswerDone,
    AnswerEvent,
    AnswerFailed,
    AnswerText,
    ChatMessage,
    NewConversation,
    Said,
    Say,
)
from protocols.text import clean

STARTER_NOTICE = (
    "the built-in starter model answers: it is tiny and knows jokes and this node; "
    "add a real one with `node models pull` or `node models add`"
)
_EXIT = {"model_not_found": NOT_FOUND, "refused": REFUSED, "bad_request": USAGE}
HELP = "/new begins a new conversation, /model NAME changes the model, /quit or Ctrl-D leaves"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "prompt", nargs="*", help="the question; without one: a conversation, or the pipe"
    )
    parser.add_argument(
        "-m", "--model", default="", help="a model's name (default: the default model)"
    )
    parser.add_argument(
        "-c", "--continue", dest="go_on", action="store_true", help="the last conversation"
    )
    parser.add_argument("--conversation", metavar="ID", help="go on with this conversation")
    conversations.add_arguments(parser)
    parser.add_argument("--system", default="", help="instructions for a new conversation")
    parser.add_argument("--temperature", type=float)
    parser.add_argument("--max-tokens", type=int)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--json", action="store_true", help="the whole answer as JSON at the end")


def run(options: argparse.Namespace) -> int:
    if conversations.wanted(options):
        return conversations.run(connect(options), options)
    prompt = _prompt(options)
    client = connect(options)
    chat = _Chat(client, options, _conversation(client, options))
    if prompt is None:
        return _converse(chat)
    message = chat.ask(prompt, show=not options.json)
    if options.json:
        show_json(message)
    return FAILED if message.state == "failed" else 0


def _prompt(options: argparse.Namespace) -> str | None:
    """The words of the command line, then what a pipe brings; None for a conversation by hand."""
    words = _as_text(" ".join(options.prompt))
    if sys.stdin is None or sys.stdin.isatty():
        return words or None
    piped = sys.stdin.buffer.read().decode("utf-8", "replace").strip()
    text = "\n\n".join(part for part in (words, piped) if part)
    if not text:
        raise CliError('there is nothing to ask: node chat "your question"', exit_code=USAGE)
    return text


def _as_text(typed: str) -> str:
    """What a terminal without UTF-8 could not name, as far as it can be read."""
    return typed.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _conversation(client: Client, options: argparse.Namespace) -> str | None:
    """The conversation to go on with; None means a new one at the first question."""
    if options.conversation:
        return str(options.conversation)
    if not options.go_on:
        return None
    known = client.call(requests.conversations(limit=1)).conversations
    if not known:
        raise CliError("there is no conversation yet to go on with", exit_code=NOT_FOUND)
    return known[0].id


@dataclass
class _Chat:
    client: Client
    options: argparse.Namespace
    conversation: str | None

    def ask(self, text: str, *, show: bool = True) -> ChatMessage:
        """Ask and stream the answer to stdout; what came before an error or Ctrl-C stays stored."""
        options = self.options
        body = Say(
            text=text,
            model=options.model or None,
            temperature=options.temperature,
            max_tokens=options.max_tokens,
            seed=options.seed,
        )
        conversation = self.conversation or self._begin()
        with Waiting(self.client, options.model) as waiting:
            try:
                for event in self.client.events(requests.say(conversation, body)):
                    waiting.over()
                    self.conversation = conversation
                    message = self._show(event, show)
                    if message is not None:
                        return message
            finally:
                if self.conversation is None:  # the node stored no question: keep no empty one
                    self._forget(conversation)
        raise CliError("the node ended the answer without saying why: see `node logs`")

    def _begin(self) -> str:
        new = NewConversation(model=self.options.model, system=self.options.system)
        return self.client.call(requests.new_conversation(new)).id

    def _forget(self, conversation: str) -> None:
        try:
            if not self.client.call(requests.conversation(conversation)).messages:
                self.client.call(requests.delete_conversation(conversation))
        except CliError:
            pass  # the reason why nothing was stored is what is shown

    def _show(self, event: AnswerEvent, show: bool) -> ChatMessage | None:
        match event:
            case Said(notice=told):
                if told:
                    notice(told)
            case AnswerText(text=text):
                if show:
                    _write(text)
            case AnswerDone(message=message):
                if show:
                    _write("\n")
                return message
            case AnswerFailed(message=message, error=error):
                if show and message.text:
                    _write("\n")
                raise CliError(
                    f"{error.message}{': ' if error.hint else ''}{error.hint}",
                    exit_code=_EXIT.get(error.code, FAILED),
                )
        return None


def _write(text: str) -> None:
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(clean(text).encode(encoding, "replace").decode(encoding))
    sys.stdout.flush()


def _converse(chat: _Chat) -> int:
    """A conversation by hand. Ctrl-C stops an answer; at the prompt it asks how to leave."""
    import readline  # noqa: F401 - gives input() history and editing

    _greet(chat)
    while True:
        try:
            line = _as_text(input("> ")).strip()
        except EOFError:
            print()
            return 0
        except KeyboardInterrupt:
            print(file=sys.stderr)
            notice("Ctrl-D leaves")
            continue
        if line in ("/quit", "/exit"):
            return 0
        if line.startswith("/"):
            _command(chat, line)
        elif line:
            _ask_once(chat, line)


def _ask_once(chat: _Chat, line: str) -> None:
    try:
        chat.ask(line)
    except KeyboardInterrupt:
        print(file=sys.stderr)
        notice("stopped; what came so far is kept")
    except CliError as error:
        notice(str(error))


def _command(chat: _Chat, line: str) -> None:
    word, _, rest = line.partition(" ")
    if word == "/new":
        chat.conversation = None
        notice("a new conversation")
    elif word == "/model" and rest:
        chat.options.model = rest.strip()
        notice(f"from now on: {chat.options.model}")
    else:
        notice(HELP)


def _greet(chat: _Chat) -> None:
    name = chat.options.model or "default"
    try:
        model = chat.client.call(requests.model(name))
    except CliError as error:
        notice(str(error))
        return
    notice(STARTER_NOTICE if model.starter else f"model: {model.name}")
    notice(HELP)
