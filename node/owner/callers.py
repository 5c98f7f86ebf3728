"""Who asks: the owner, the holder of an API key, or nobody known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["owner", "grant", "anonymous"]

#: Everything that can be asked of a node. `decide` refuses any other word.
ACTIONS: Final = frozenset(
    {
        "chat",
        "embed",
        "models.read",
        "models.write",
        "conversations",
        "status",
        "config",
        "settings",
        "identity",
        "grants",
        "events",
        "node.stop",
        "jobs.read",
    }
)
#: What no API key can be given: it could make itself more rights with them.
OWNER_ONLY: Final = frozenset({"identity", "grants", "settings"})
#: What a caller without a key may do, once the owner has switched the token off.
OPEN_DOOR: Final = frozenset({"chat", "embed", "models.read", "status"})


@dataclass(frozen=True)
class Caller:
    """`label` is what new things of this caller get; `ceiling` is as wide as its things may be."""

    id: str  # "owner", a grant's id, or "anonymous"
    kind: Kind
    label: str
    ceiling: str
    may: frozenset[str]  # actions, or "*"


def owner(label: str = "device") -> Caller:
    return Caller("owner", "owner", label, "public", frozenset({"*"}))


def anonymous(*, label: str = "device", token_required: bool = True) -> Caller:
    """A caller without a key. Without `token_required` (a setting) it may use the models, no more."""
    return Caller(
        "anonymous", "anonymous", label, label, frozenset() if token_required else OPEN_DOOR
    )
