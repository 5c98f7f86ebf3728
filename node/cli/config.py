"""The settings in force, and where to change them.

Settings live in config.toml in the home folder; KITH_<SECTION>_<KEY> in the environment goes first.
Changes take effect at the next start. docs/settings.md explains every one.

examples:
  node config                    every setting and its value
  node config get api.port
  node config set api.port 8800
  node config path               where the file is
"""

from __future__ import annotations

import argparse
import os
import re
import tomllib
from pathlib import Path
from typing import Any

import msgspec

from node.cli.errors import NOT_FOUND, USAGE, CliError
from node.cli.lifecycle import home_of
from node.cli.output import say, show_json
from node.config import ConfigError, Settings, load_settings, setting_names
from node.files import write_atomically

SECRETS = {"content.hub_token"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", nargs="?", choices=["show", "get", "set", "path"], default="show")
    parser.add_argument("name", nargs="?", help="a setting, e.g. api.port")
    parser.add_argument("value", nargs="?", help="its new value, as TOML or plain text")
    parser.add_argument("--json", action="store_true", help="for programs")


def run(options: argparse.Namespace) -> int:
    home = home_of(options)
    if options.action == "path":
        say(str(home.config_file))
        return 0
    if options.action == "set":
        home.prepare()
        return _set(home.config_file, options.name, options.value)
    try:
        settings = load_settings(home.config_file, os.environ)
    except ConfigError as error:
        raise CliError(str(error)) from error
    values = {name: value_of(settings, name) for name in setting_names()}
    if options.action == "get":
        if options.name is None:
            raise CliError("say which setting: node config get api.port", exit_code=USAGE)
        if options.name not in values:
            raise CliError(
                f"there is no setting '{options.name}'; `node config` lists them",
                exit_code=NOT_FOUND,
            )
        values = {options.name: values[options.name]}
    if options.json:
        show_json(values)
        return 0
    for name, value in values.items():
        say(f"{name} = {toml_text(value)}")
    return 0


def value_of(settings: Settings, name: str) -> Any:
    """A setting's value; secrets are only said to be set."""
    value: Any = settings
    for part in name.split("."):
        value = getattr(value, part)
    return "(set)" if name in SECRETS and value else value


def toml_text(value: Any) -> str:
    if isinstance(value, tuple | list):
        return "[" + ", ".join(map(toml_text, value)) + "]"
    return msgspec.json.encode(value).decode()


def _set(file: Path, name: str | None, text: str | None) -> int:
    """Change one line of the file, keep every other (comments too), refuse what would not load."""
    if name is None or text is None:
        raise CliError(
            "say which setting and its value: node config set api.port 8800", exit_code=USAGE
        )
    if name not in setting_names():
        raise CliError(
            f"there is no setting '{name}'; `node config` lists them", exit_code=NOT_FOUND
        )
    before = file.read_text(encoding="utf-8") if file.exists() else ""
    after = with_setting(before, name, _as_toml(text))
    trial = file.with_name(".config-trial.toml")
    try:
        trial.write_text(after, encoding="utf-8")
        load_settings(trial, {})
    except ConfigError as error:
        raise CliError(
            f"not changed: {str(error).replace(str(trial), str(file))}", exit_code=USAGE
        ) from error
    finally:
        trial.unlink(missing_ok=True)
    write_atomically(file, after.encode())
    say(f"{name} = {_as_toml(text)}; takes effect at the next start")
    return 0


def _as_toml(text: str) -> str:
    try:
        tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return msgspec.json.encode(text).decode()
    return text


def with_setting(document: str, name: str, value: str) -> str:
    """The TOML document with one setting replaced or added in its section."""
    section, _, key = name.rpartition(".")
    lines = document.splitlines()
    header = [
        i
        for i, line in enumerate(lines)
        if section and re.match(rf"\s*\[{section}\]\s*(#.*)?$", line)
    ]
    if section and not header:
        return "\n".join([*lines, "", f"[{section}]", f"{key} = {value}", ""]).lstrip("\n")
    begin = header[0] + 1 if header else 0
    end = next(
        (i for i in range(begin, len(lines)) if lines[i].lstrip().startswith("[")), len(lines)
    )
    for i in range(begin, end):
        if re.match(rf"\s*{key}\s*=", lines[i]):
            lines[i] = f"{key} = {value}"
            return "\n".join([*lines, ""])
    lines.insert(begin, f"{key} = {value}")
    return "\n".join([*lines, ""])
