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
from pathlib import Path

from node.cli.errors import NOT_FOUND, USAGE, CliError
from node.cli.lifecycle import home_of
from node.cli.output import say, show_json
from node.config import ConfigError, load_settings, setting_names
from node.settings_file import UnknownSetting, set_in_file, toml_text, value_of


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


def _set(file: Path, name: str | None, text: str | None) -> int:
    if name is None or text is None:
        raise CliError(
            "say which setting and its value: node config set api.port 8800", exit_code=USAGE
        )
    try:
        written = set_in_file(file, name, text)
    except UnknownSetting as error:
        raise CliError(str(error), exit_code=NOT_FOUND) from error
    except ConfigError as error:
        raise CliError(str(error), exit_code=USAGE) from error
    say(f"{name} = {written}; takes effect at the next start")
    return 0
