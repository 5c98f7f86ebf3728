"""Your keys and devices.

Your owner id stays the same for good; 24 words bring it back on another machine.

examples:
  node identity show
  node identity backup                    show the 24 words to write down
  node identity backup --chain FILE       and save the public chain beside them
  node identity restore                   asks for the words; becomes a new device of that owner
  node identity rotate                    the prepared next key becomes the key
  node identity passphrase                protect the owner key on this disk
  node identity devices
  node identity revoke OLD-LAPTOP         a device is no longer yours
"""

from __future__ import annotations

import argparse
import base64
import getpass
import sys
from pathlib import Path

from node.cli.client import Client
from node.cli.errors import USAGE, CliError
from node.cli.lifecycle import connect
from node.cli.output import say, show_json, table, when
from protocols.http import requests
from protocols.http.control import (
    BackupIdentity,
    Identity,
    ProtectIdentity,
    RestoreIdentity,
    RevokeDevice,
    RotateIdentity,
)

CHAIN_FILE_BYTES = 16 * 1024 * 1024


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    show = actions.add_parser("show", help="owner, device, keys")
    devices = actions.add_parser("devices", help="the owner's devices")
    for sub in (show, devices):
        sub.add_argument("--json", action="store_true", help="for programs")
    backup = actions.add_parser("backup", help="show the 24 words")
    backup.add_argument("--chain", type=Path, help="save the owner's public chain to this file")
    backup.add_argument(
        "--forget", action="store_true", help="then keep no owner key on this device"
    )
    restore = actions.add_parser("restore", help="become a new device of the owner of these words")
    restore.add_argument("--chain", type=Path, help="the owner's chain, saved at the backup")
    restore.add_argument("--device-name", help="what to call this device")
    actions.add_parser("passphrase", help="set, change or remove the passphrase of the keys")
    revoke = actions.add_parser("revoke", help="a device is no longer yours")
    revoke.add_argument("device", help="its name or id")
    revoke.add_argument("--why", default="", help="a few words for the record")
    rotate = actions.add_parser("rotate", help="the next key becomes the key")
    for sub in (rotate, revoke):
        sub.add_argument(
            "--words", action="store_true", help="ask for the words (after backup --forget)"
        )
    for sub in (backup, restore, rotate, revoke):
        sub.add_argument(
            "--passphrase", action="store_true", help="ask for the passphrase of the keys"
        )


def run(options: argparse.Namespace) -> int:
    client = connect(options)
    {
        "show": _show,
        "devices": _devices,
        "backup": _backup,
        "restore": _restore,
        "rotate": _rotate,
        "passphrase": _protect,
        "revoke": _revoke,
    }[options.action](client, options)
    return 0


def _identity(client: Client) -> Identity:
    return client.call(requests.identity())


def _show(client: Client, options: argparse.Namespace) -> None:
    identity = _identity(client)
    if options.json:
        show_json(identity)
        return
    rows = [
        ("owner", identity.owner),
        ("device", f"{identity.device_name} ({identity.device})"),
        ("since", when(identity.created_at)),
        ("rotations", str(identity.rotations)),
        (
            "owner key",
            "on this device"
            if identity.key_on_device
            else "not on this device: only your words have it",
        ),
        ("passphrase", "yes" if identity.passphrase else "no"),
        (
            "backup",
            "done"
            if identity.backed_up
            else "NEVER: write down your words with `node identity backup`",
        ),
    ]
    for name, text in rows:
        say(f"{name:<12} {text}")
    if identity.pending:
        say(f"{'pending':<12} {identity.pending}")


def _devices(client: Client, options: argparse.Namespace) -> None:
    identity = _identity(client)
    if options.json:
        show_json(identity.devices)
        return
    rows = [
        [d.name, d.state, "this one" if d.this else "", when(d.since), d.id]
        for d in identity.devices
    ]
    table(rows, head=["name", "state", "", "since", "id"])


def _backup(client: Client, options: argparse.Namespace) -> None:
    passphrase = _passphrase(options)
    words = client.call(requests.backup_identity(BackupIdentity(passphrase=passphrase)))
    if options.chain:
        options.chain.write_bytes(base64.b64decode(words.chain))
        say(f"chain saved: {options.chain} (it is not secret; keep it beside the words)")
    say(
        "Write these 24 words on paper. Who has them is you; without them nobody can bring you back."
    )
    listed = words.words.split()
    for start in range(0, len(listed), 4):
        row = enumerate(listed[start : start + 4], start + 1)
        say("   ".join(f"{number:>2}. {word:<10}" for number, word in row))
    if options.forget:
        _forget(client, passphrase, words.words)


def _forget(client: Client, passphrase: str | None, words: str) -> None:
    """Only once the words are surely somewhere else."""
    say("Type the words once more; then the owner key is taken off this device.")
    if _ask_words().split() != words.split():
        raise CliError("those are not the words; the key stays on this device", exit_code=USAGE)
    client.call(requests.backup_identity(BackupIdentity(passphrase=passphrase, forget=True)))
    say("the owner key is no longer on this device")


def _restore(client: Client, options: argparse.Namespace) -> None:
    chain = None
    if options.chain:
        try:
            data = options.chain.read_bytes()
        except OSError as error:
            raise CliError(
                f"the chain {options.chain} cannot be read: {error.strerror}", exit_code=USAGE
            ) from error
        if len(data) > CHAIN_FILE_BYTES:
            raise CliError(f"{options.chain} is too large to be a chain", exit_code=USAGE)
        chain = base64.b64encode(data).decode()
    pending = chain is not None and bool(_identity(client).pending)
    words = "" if pending else _ask_words()
    body = RestoreIdentity(words, chain, options.device_name, _passphrase(options))
    identity = client.call(requests.restore_identity(body))
    say(f"this device now belongs to {identity.owner}")
    if identity.pending:
        say(identity.pending)


def _rotate(client: Client, options: argparse.Namespace) -> None:
    body = RotateIdentity(_ask_words() if options.words else None, _passphrase(options))
    identity = client.call(requests.rotate_identity(body))
    say(
        f"rotated: {identity.rotations} so far; owner {identity.owner} stays; the same words stay good"
    )


def _protect(client: Client, options: argparse.Namespace) -> None:
    now = None
    if _identity(client).passphrase:
        now = getpass.getpass("passphrase now: ")
    new = getpass.getpass("new passphrase (empty: none): ")
    if new and getpass.getpass("once more: ") != new:
        raise CliError("the two differ; nothing was changed", exit_code=USAGE)
    client.call(requests.protect_identity(ProtectIdentity(now, new or None)))
    say("the owner key on this disk is protected" if new else "the passphrase is off")


def _revoke(client: Client, options: argparse.Namespace) -> None:
    words = _ask_words() if options.words else None
    body = RevokeDevice(options.device, options.why, words, _passphrase(options))
    client.call(requests.revoke_device(body))
    say(f"revoked: {options.device}")


def _ask_words() -> str:
    """From the keyboard without echo, or one line of a pipe; never from the command line, which others see."""
    if sys.stdin.isatty():
        return getpass.getpass("24 words: ")
    return sys.stdin.readline().strip()


def _passphrase(options: argparse.Namespace) -> str | None:
    return getpass.getpass("passphrase: ") if options.passphrase else None
