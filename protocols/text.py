"""Text from outside, made safe for a terminal."""

from __future__ import annotations

import unicodedata
from typing import Any

_KEPT = {"\n", "\t", "\u200d"}  # the last joins emoji
_LEFT_OUT = {"Cc", "Cf", "Cs", "Co"}  # control, format (direction), surrogate, private


def clean(text: str) -> str:
    """Without the control, escape and direction-changing characters that a terminal would obey."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(c for c in text if c in _KEPT or unicodedata.category(c) not in _LEFT_OUT)


def clean_all(value: Any) -> Any:
    """The same for every string in plain data (what a JSON decoder gives)."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {
            clean(key) if isinstance(key, str) else key: clean_all(item)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [clean_all(item) for item in value]
    return value
