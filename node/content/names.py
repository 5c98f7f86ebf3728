"""Names of models: made from file names, unique, and the nearest ones when somebody mistypes."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable
from typing import Final

from node.content.errors import BadName
from protocols.limits import NAME_CHARS

STARTER: Final = "starter"
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]*", re.ASCII)
_PART: Final = re.compile(r"-\d{5}-of-\d{5}$", re.ASCII)
_MODEL_ENDINGS: Final = (".gguf", ".onnx")
_CID_START: Final = re.compile(r"(bafy|bafk|qm)[a-z0-9]{8,}", re.ASCII)


def clean(text: str) -> str:
    """`text` as a name: a file's ending and the number of a part cut off, odd characters replaced."""
    text = text.lower()
    for ending in _MODEL_ENDINGS:
        text = text.removesuffix(ending)
    text = _PART.sub("", text)
    text = re.sub(r"[^a-z0-9._-]+", "-", text, flags=re.ASCII)
    text = re.sub(r"-*\.[-.]*", ".", re.sub(r"-{2,}", "-", text)).strip("-._")
    return text[:NAME_CHARS].rstrip("-._") or "model"


def checked(name: str) -> str:
    """A name that a person chose, in lower case. Raises `BadName` with one that would do."""
    lowered = name.strip().lower()
    if _CID_START.match(lowered):
        raise BadName(f"{name[:40]!r} looks like a content id: choose another name")
    if len(lowered) > NAME_CHARS or not _NAME.fullmatch(lowered):
        raise BadName(
            f"{name[:NAME_CHARS]!r} cannot be a name (a-z, 0-9, '.', '_' and '-', at most"
            f" {NAME_CHARS}): use for example {clean(name)!r}"
        )
    if lowered == STARTER:
        raise BadName(f"the name {STARTER!r} belongs to the built-in model: choose another name")
    return lowered


def unused(name: str, taken: Collection[str]) -> str:
    """`name`, or the first of `name-2`, `name-3` … that is not taken."""
    candidate, number = name, 1
    while candidate in taken or candidate == STARTER:
        number += 1
        candidate = f"{name[: NAME_CHARS - 6]}-{number}"
    return candidate


def nearest(name: str, names: Iterable[str], limit: int = 3) -> list[str]:
    """The names most like `name`, best first: those that contain it, then those spelt like it."""
    wanted, known = name.lower()[:NAME_CHARS], sorted(names)
    inside = [other for other in known if len(wanted) >= 2 and (wanted in other or other in wanted)]
    close = difflib.get_close_matches(wanted, known, n=limit, cutoff=0.6)
    return list(dict.fromkeys([*close, *inside]))[:limit]
