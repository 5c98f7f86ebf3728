"""Rows of figures: their spread, and the ratio of two measured side by side."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Row:
    name: str
    unit: str
    values: tuple[float, ...]
    to_hold: str = ""  # the figure that the project promises, in words

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def spread(self) -> tuple[float, float]:
        """The interquartile range."""
        if len(self.values) < 4:
            return min(self.values), max(self.values)
        low, _, high = statistics.quantiles(self.values, n=4)
        return low, high

    def as_json(self) -> dict[str, Any]:
        low, high = self.spread
        return {
            "name": self.name,
            "unit": self.unit,
            "rounds": len(self.values),
            "min": min(self.values),
            "q1": low,
            "median": self.median,
            "q3": high,
            "max": max(self.values),
            "to_hold": self.to_hold,
            "values": list(self.values),
        }


def ratio_row(mine: Row, theirs: Row) -> Row:
    """Round by round, mine over theirs: what both met in the same moment divides out."""
    pairs = tuple(a / b for a, b in zip(mine.values, theirs.values, strict=True) if b)
    return Row(f"{mine.name} / peer", "ratio", pairs)


def show_table(rows: list[Row]) -> None:
    head = ("name", "unit", "min", "q1", "median", "q3", "max", "rounds", "to hold")
    cells = [list(head)]
    for row in rows:
        low, high = row.spread
        numbers = (min(row.values), low, row.median, high, max(row.values))
        cells.append(
            [row.name, row.unit, *(f"{n:.4g}" for n in numbers), str(len(row.values)), row.to_hold]
        )
    widths = [max(len(line[i]) for line in cells) for i in range(len(head))]
    for line in cells:
        padded = [
            c.ljust(w) if i < 2 or i == 8 else c.rjust(w)
            for i, (c, w) in enumerate(zip(line, widths, strict=True))
        ]
        print("  ".join(padded).rstrip())
