"""Models in several GGUF files: finding the parts, and seeing that they belong together."""

import re
from pathlib import Path
from typing import Final

from models.errors import BadModel
from models.gguf import GgufHeader, read_header
from models.gguf_meaning import check_meaning, split_of

_PART: Final = re.compile(r"(?s)(?P<stem>.+)-(?P<part>\d{5})-of-(?P<count>\d{5})\.gguf\Z")
_NAMES_LISTED: Final = 5
_TODO: Final = "Put all parts into one folder under their own names"


def split_siblings(path: Path, header: GgufHeader) -> list[Path]:
    """The paths of all parts in order, this one among them; `[path]` for a whole file.

    Only names are made, nothing is looked up. Raises BadModel when the name and the header differ.
    """
    split = split_of(header)
    if split is None:
        return [path]
    part, count = split
    match = _PART.fullmatch(path.name)
    if match is None or (int(match["part"]), int(match["count"])) != (part, count):
        name = f"NAME-{part:05d}-of-{count:05d}.gguf"
        raise BadModel(
            f"it is part {part} of {count}, but its name does not say so",
            f"Give it back its own name ({name})",
        ).named(path)
    return [
        path.with_name(f"{match['stem']}-{number:05d}-of-{count:05d}.gguf")
        for number in range(1, count + 1)
    ]


def read_parts(path: Path, header: GgufHeader) -> list[tuple[Path, GgufHeader]]:
    """All parts of the model that `path` belongs to, each checked, and checked against the others.

    Raises BadModel that names the parts that are missing or do not fit.
    """
    paths = split_siblings(path, header)
    if len(paths) == 1:
        return [(path, header)]
    missing = [part.name for part in paths if not part.exists()]
    if missing:
        raise BadModel(f"parts are missing: {_listed(missing)}", _TODO).named(path)
    parts = [(part, header if part == path else read_header(part)) for part in paths]
    for number, (part, part_header) in enumerate(parts, 1):
        if split_of(part_header) != (number, len(paths)):
            raise BadModel("it is not the part that its name says", _TODO).named(part)
        try:
            check_meaning(part_header)
        except BadModel as error:
            raise error.named(part) from None
    _check_tensors(parts)
    return parts


def _check_tensors(parts: list[tuple[Path, GgufHeader]]) -> None:
    names: set[str] = set()
    for path, header in parts:
        for tensor in header.tensors:
            if tensor.name in names:
                raise BadModel(f"{tensor.name} is also in an earlier part", _TODO).named(path)
            names.add(tensor.name)
    for path, header in parts:
        claimed = header.integer("split.tensors.count")
        if claimed is not None and claimed != len(names):
            why = f"it promises {claimed:,} tensors in all parts, and {len(names):,} are there"
            raise BadModel(why, _TODO).named(path)


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _NAMES_LISTED} more" if len(names) > _NAMES_LISTED else ""
    return ", ".join(names[:_NAMES_LISTED]) + more
