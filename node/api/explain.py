"""Saying in words which part of a request is wrong, and naming it for programs (`param`)."""

from __future__ import annotations

import re
from typing import Final

import msgspec

_UNKNOWN: Final = re.compile(r"Object contains unknown field `(.*?)`", re.DOTALL)
_MISSING: Final = re.compile(r"Object missing required field `(.*?)`")
_PATH: Final = re.compile(r" - at `\$\.?(.*?)`$", re.DOTALL)
_SHOWN: Final = 128


def explain(error: Exception) -> tuple[str, str | None]:
    """(a sentence, the field's name or None) for what decoding raised."""
    text = str(error)
    if isinstance(error, RecursionError):
        return "the JSON is nested too deeply", None
    if not isinstance(error, msgspec.ValidationError):
        return f"the body is not valid JSON: {text}", None
    found = _PATH.search(text)
    path = found.group(1) if found else ""
    text = text[: found.start()] if found else text
    if unknown := _UNKNOWN.match(text):
        name = _join(path, unknown.group(1)[:_SHOWN])
        return f"unknown field {name!r}: it is not served, or misspelt", name
    if missing := _MISSING.match(text):
        name = _join(path, missing.group(1))
        return f"the field {name!r} is missing", name
    what = text.replace("`", "")
    what = what[:1].lower() + what[1:]
    return (f"{path}: {what}" if path else what), (path or None)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
