"""The models on this machine.

examples:
  node models list
  node models add ~/models/qwen3-4b.gguf
  node models pull hf:owner/repo/file.gguf
  node models adopt                       what Ollama, LM Studio and the hub's cache already hold
  node models transfers                   pulls and adds; --forget ID frees what one has fetched
  node models show qwen3-4b
  node models default qwen3-4b
  node models rm qwen3-4b
"""

from __future__ import annotations

import argparse
from pathlib import Path

from node.cli import transfers
from node.cli.client import Client
from node.cli.lifecycle import connect
from node.cli.output import say, show_json, size, table, when
from node.cli.progress import follow
from node.cli.waiting import Waiting
from protocols.http import requests
from protocols.http.control import AddModel, ModelEntry, PullModel, Transfer


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="every model, its size and state")
    add = actions.add_parser("add", help="a file or folder on this machine; it stays where it is")
    add.add_argument("path")
    add.add_argument("--copy", action="store_true", help="keep a copy of our own")
    pull = actions.add_parser(
        "pull", help="an URL, or hf:owner/repo/file.gguf; resumes where it was"
    )
    pull.add_argument("ref")
    pull.add_argument("--sha256", help="refuse the file unless it has this hash")
    for sub in (add, pull):
        sub.add_argument("--name", help="another name for it")
    adopt = actions.add_parser("adopt", help="models that other programs keep on this machine")
    adopt.add_argument(
        "source", nargs="?", default="all", choices=["all", "ollama", "huggingface", "lmstudio"]
    )
    adopt.add_argument("--folder", help="look here instead of the program's usual folder")
    adopt.add_argument("--dry-run", action="store_true", help="only say what would be adopted")
    moving = actions.add_parser("transfers", help="pulls and adds: running, stopped, failed")
    transfers.add_arguments(moving)
    named = [
        actions.add_parser("show", help="all that is known about one"),
        actions.add_parser("rm", help="forget it, and delete the file if it is ours"),
        actions.add_parser("load", help="into memory now"),
        actions.add_parser("unload", help="out of memory"),
    ]
    for sub in named:
        sub.add_argument("name")
    default = actions.add_parser(
        "default", help="show or set the model that answers unnamed requests"
    )
    default.add_argument("name", nargs="?")
    for sub in (listing, add, pull, adopt, moving, default, *named):
        sub.add_argument("--json", action="store_true", help="for programs")


def run(options: argparse.Namespace) -> int:
    client = connect(options)
    {
        "list": _list,
        "add": _add,
        "pull": _pull,
        "adopt": transfers.adopt,
        "transfers": transfers.show,
        "show": _show,
        "rm": _remove,
        "load": _load,
        "unload": _load,
        "default": _default,
    }[options.action](client, options)
    return 0


def _list(client: Client, options: argparse.Namespace) -> None:
    listed = client.call(requests.models())
    if options.json:
        show_json(listed.models)
        return
    rows = [
        [
            ("* " if m.default else "  ") + m.name,
            size(m.size),
            m.quantisation,
            m.fits,
            _state(m),
            m.cid[:16] + "…",
        ]
        for m in listed.models
    ]
    table(rows, head=["  name", "size", "quant", "fits", "state", "cid"])


def _state(model: ModelEntry) -> str:
    return f"{model.state}, starter" if model.starter else model.state


def _add(client: Client, options: argparse.Namespace) -> None:
    path = str(Path(options.path).expanduser().absolute())
    body = AddModel(path=path, name=options.name, copy=options.copy)
    _finish(client, client.call(requests.add_model(body)), options)


def _pull(client: Client, options: argparse.Namespace) -> None:
    body = PullModel(ref=options.ref, name=options.name, sha256=options.sha256)
    _finish(client, client.call(requests.pull_model(body)), options)


def _finish(client: Client, transfer: Transfer, options: argparse.Namespace) -> None:
    done = follow(client, transfer)
    model = client.call(requests.model(done.model))
    if options.json:
        show_json(model)
    else:
        say(f"{model.name}: {size(model.size)}, {model.architecture} {model.quantisation}".rstrip())
        if done.message:
            say(done.message)
        say(f"try it: node chat -m {model.name} hello")


def _show(client: Client, options: argparse.Namespace) -> None:
    model = client.call(requests.model(options.name))
    if options.json:
        show_json(model)
        return
    count = f"{model.parameters / 1e6:,.1f} million" if model.parameters else "unknown"
    rows = [
        ("name", model.name + ("  (the built-in starter: tiny, for first steps)" if model.starter else "")),
        ("cid", model.cid),
        ("kind", model.kind + (", embeddings" if model.embedding else "")),
        ("architecture", model.architecture or "unknown"),
        ("parameters", count),
        ("quantisation", model.quantisation or "unknown"),
        ("context", f"{model.context_length} tokens" if model.context_length else "unknown"),
        ("chat template", "yes" if model.chat_template else "no; a plain one is used"),
        ("licence", model.licence or "not stated"),
        ("size", size(model.size)),
        ("memory", f"needs {size(model.memory_needed)}; fits: {model.fits}. {model.fit_reason}"),
        ("state", model.state + (", default" if model.default else "")),
        ("label", model.label),
        ("source", model.source),
        ("kept as", {"own": "a file of our own", "linked": "a link", "reference": "a reference"}[model.storage]),
        ("path", model.path),
        ("added", when(model.added_at)),
    ]  # fmt: skip
    for name, text in rows:
        say(f"{name:<14} {text}")


def _remove(client: Client, options: argparse.Namespace) -> None:
    freed = client.call(requests.remove_model(options.name))
    if options.json:
        show_json(freed)
    else:
        say(f"removed {options.name}; {size(freed.freed)} freed")


def _load(client: Client, options: argparse.Namespace) -> None:
    ask = requests.load_model if options.action == "load" else requests.unload_model
    with Waiting(client, options.name):
        model = client.call(ask(options.name))
    if options.json:
        show_json(model)
    else:
        say(f"{model.name}: {model.state}")


def _default(client: Client, options: argparse.Namespace) -> None:
    if options.name:
        model = client.call(requests.set_default(options.name))
    else:
        model = client.call(requests.model("default"))
    if options.json:
        show_json(model)
    else:
        say(f"default: {model.name}")
