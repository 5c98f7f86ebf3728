"""Data that an ONNX file keeps in other files: only files of its own folder, long enough."""

from pathlib import Path, PurePosixPath
from typing import Final

from models.errors import BadModel, shown
from models.onnxgraph import External
from models.reading import open_regular, os_error

MAX_FILES: Final = 1024
_KNOWN: Final = frozenset({"location", "offset", "length", "checksum"})
_MAX_NUMBER: Final = 1 << 62
_TODO: Final = "Take the model from a source that you trust, with all of its files"


def check_external(folder: Path, tensors: list[External]) -> dict[Path, int]:
    """The files that these tensors need, with their sizes; raises BadModel.

    A location must be a plain relative path to a regular file inside `folder`, without a symbolic
    link that leaves it; what the tensor asks for must lie inside the file.
    """
    sizes: dict[Path, int] = {}
    paths: dict[str, Path] = {}
    for tensor in tensors:
        entries = _entries(tensor)
        location = entries.get("location", "")
        if location not in paths:
            if len(paths) >= MAX_FILES:
                raise BadModel(f"its weights lie in more than {MAX_FILES:,} other files", _TODO)
            paths[location] = _inside(folder, location)
            with open_regular(paths[location]) as (_, size):
                sizes[paths[location]] = size
        _check_range(tensor, entries, sizes[paths[location]])
    return sizes


def _entries(tensor: External) -> dict[str, str]:
    entries: dict[str, str] = {}
    for key, value in tensor.entries:
        if key in entries:
            raise BadModel(f"the tensor {shown(tensor.tensor)} names its {shown(key)} twice", _TODO)
        if key in _KNOWN or not key.startswith("prepacked"):
            entries[key] = value
    if unknown := set(entries) - _KNOWN:
        why = f"the tensor {shown(tensor.tensor)} is stored in an unknown way"
        raise BadModel(f"{why} ({shown(min(unknown))})", _TODO)
    return entries


def _inside(folder: Path, location: str) -> Path:
    why = f"it keeps weights outside its folder ({shown(location)!r})"
    # "*" begins the runtime's own marker for "this is an address in memory".
    hostile = not location or any(char in location for char in "\0\\*:") or len(location) > 512
    pure = PurePosixPath(location)
    if hostile or pure.is_absolute() or ".." in pure.parts or not pure.parts:
        raise BadModel(why, _TODO)
    path = folder.joinpath(*pure.parts)
    try:
        real = path.resolve(strict=True)
        if not real.is_relative_to(folder.resolve(strict=True)):
            raise BadModel(why, _TODO)
    except FileNotFoundError:
        raise BadModel(
            f"its weights are missing: {shown(location)!r} is not there", _TODO
        ) from None
    except RuntimeError:  # a circle of links, in older versions of Python
        raise BadModel(why, _TODO) from None
    except OSError as error:
        raise os_error(error, path) from error
    return path


def _check_range(tensor: External, entries: dict[str, str], size: int) -> None:
    name = shown(tensor.tensor)
    if tensor.size is None:
        raise BadModel(f"the tensor {name} is of a type that cannot lie in another file", _TODO)
    offset = _number(name, entries.get("offset", "0"))
    length = _number(name, entries["length"]) if "length" in entries else tensor.size
    if length != tensor.size:
        why = f"takes {length:,} bytes of another file where its shape needs {tensor.size:,}"
        raise BadModel(f"the tensor {name} {why}", _TODO)
    if offset + length > size:
        why = f"asks for bytes up to {offset + length:,} of a file of {size:,}"
        raise BadModel(f"the tensor {name} {why}", _TODO)


def _number(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20 and int(text) < _MAX_NUMBER):
        raise BadModel(f"the tensor {name} lies at {shown(text)!r}, which is no place", _TODO)
    return int(text)
