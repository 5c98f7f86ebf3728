"""Small text files that the kernel writes: absent or strange ones read as nothing."""

from pathlib import Path
from typing import Final

_LIMIT: Final = 1 << 20


def read(path: Path) -> str:
    """A file's text, empty when it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(_LIMIT).decode("utf-8", "replace")
    except OSError:
        return ""


def first_line(path: Path) -> str:
    """A file's first line without the spaces around it."""
    return read(path).partition("\n")[0].strip()


def number(path: Path) -> int | None:
    """The whole number that a file holds, or None."""
    try:
        return int(first_line(path))
    except ValueError:
        return None


def settings(text: str, separator: str | None) -> dict[str, str]:
    """Lines of `name<separator>value`; the first of a name counts."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        name, *rest = line.split(separator, 1)
        if rest:
            found.setdefault(name.strip(), rest[0].strip())
    return found
