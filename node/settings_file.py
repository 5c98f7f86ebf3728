"""Changing one setting in `config.toml`: every other line stays, and nothing is written that would not load."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any, Final

import msgspec

from node.config import ConfigError, Settings, load_settings, setting_names
from node.files import write_atomically

#: Their values are never shown, only that there is one.
SECRETS: Final = frozenset({"content.hub_token"})


class UnknownSetting(ConfigError):
    """There is no setting of this name."""


def value_of(settings: Settings, name: str) -> Any:
    """A setting's value; secrets are only said to be set."""
    value: Any = settings
    for part in name.split("."):
        value = getattr(value, part)
    return "(set)" if name in SECRETS and value else value


def toml_text(value: Any) -> str:
    """A value as it is written in the file."""
    if isinstance(value, tuple | list):
        return "[" + ", ".join(map(toml_text, value)) + "]"
    return msgspec.json.encode(value).decode()


def set_in_file(file: Path, name: str, text: str) -> str:
    """Write one setting, given as TOML or as plain text; what it was written as.

    Raises `UnknownSetting`, `ConfigError` for a value that would not load (the file is as it was), `OSError`.
    """
    if name not in setting_names():
        raise UnknownSetting(f"there is no setting '{name}'; `node config` lists them")
    value = _as_toml(text)
    before = file.read_text(encoding="utf-8") if file.exists() else ""
    after = with_setting(before, name, value)
    trial = file.with_name(".config-trial.toml")
    try:
        trial.write_text(after, encoding="utf-8")
        load_settings(trial, {})
    except ConfigError as error:
        raise ConfigError(f"not changed: {str(error).replace(str(trial), str(file))}") from error
    finally:
        trial.unlink(missing_ok=True)
    write_atomically(file, after.encode())
    return value


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
    title = re.compile(rf"\s*\[{section}\]\s*(#.*)?$")
    header = [i for i, line in enumerate(lines) if section and title.match(line)]
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
