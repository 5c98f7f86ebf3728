"""Labels say how far data may go: `device < fleet < mesh:<id> < public`.

Two different meshes lie side by side: neither may see the other's data, so what is derived from
both goes no further than the fleet.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from typing import Final, Literal

from protocols import limits
from protocols.errors import Malformed

Reach = Literal["device", "fleet", "mesh", "public"]
_WIDTH: Final[dict[Reach, int]] = {"device": 0, "fleet": 1, "mesh": 2, "public": 3}
_MESH_ID: Final = re.compile(rf"[a-z0-9][a-z0-9-]{{0,{limits.MESH_ID_CHARS - 1}}}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Label:
    """One label. `a <= b` holds when everywhere that `a` may go, `b` may go too; not every pair compares."""

    reach: Reach
    mesh: str = ""

    def __post_init__(self) -> None:
        if self.reach not in _WIDTH:
            raise Malformed(f"{self.reach!r} is no label")
        if self.reach != "mesh" and self.mesh:
            raise Malformed(f"only the label 'mesh' names a mesh, not {self.reach!r}")
        if self.reach == "mesh" and not _MESH_ID.fullmatch(self.mesh):
            raise Malformed(
                f"{self.mesh[:80]!r} is no mesh id: a-z, 0-9 and '-', at most {limits.MESH_ID_CHARS}"
            )

    @classmethod
    def parse(cls, text: str) -> Label:
        """The label written as `text`. Raises `Malformed`."""
        if text.startswith("mesh:"):
            return cls("mesh", text.removeprefix("mesh:"))
        for label in (DEVICE, FLEET, PUBLIC):
            if text == label.reach:
                return label
        raise Malformed(f"{text[:80]!r} is no label: use device, fleet, mesh:<id> or public")

    def __str__(self) -> str:
        return f"mesh:{self.mesh}" if self.mesh else self.reach

    def __le__(self, other: Label) -> bool:
        if self.reach == other.reach:
            return self.mesh == other.mesh
        return _WIDTH[self.reach] < _WIDTH[other.reach]

    def __lt__(self, other: Label) -> bool:
        return self != other and self <= other

    def __ge__(self, other: Label) -> bool:
        return other <= self

    def __gt__(self, other: Label) -> bool:
        return other < self


DEVICE: Final = Label("device")
FLEET: Final = Label("fleet")
PUBLIC: Final = Label("public")


def mesh(mesh_id: str) -> Label:
    return Label("mesh", mesh_id)


def strictest(labels: Iterable[Label]) -> Label:
    """How far data derived from all of these may go. Raises ValueError for none at all:
    that would be `public`, which nobody may reach by forgetting something."""
    found = list(labels)
    if not found:
        raise ValueError("the strictest of no labels is not defined")
    return reduce(_meet, found)


def allows(label: Label, ceiling: Label) -> bool:
    """Whether data with this label stays within the ceiling (of an API key, a peer, a capability)."""
    return label <= ceiling


def _meet(one: Label, other: Label) -> Label:
    if one <= other:
        return one
    if other <= one:
        return other
    return FLEET
