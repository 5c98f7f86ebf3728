"""Which files make up the model at a path, after the strict readers have checked them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from models.errors import BadModel
from models.facts import ModelFacts
from models.formats import check_model
from models.onnxfile import read_onnx
from node.content.refs import split_name

_BESIDE = (
    "config.json",
    "1_Pooling/config.json",
    "sentence_bert_config.json",
    "tokenizer_config.json",
)
_ROLES = {
    "adapter": "it is an adapter, which changes another model and is none by itself",
    "projector": "it is the part of a model that reads pictures, and no model by itself",
    "other": "it holds data for another purpose, and no model",
}


@dataclass(frozen=True)
class Layout:
    """A checked model on disk: the file to open, and all its files below one folder, in order."""

    facts: ModelFacts
    folder: Path
    names: tuple[str, ...]
    opened: str  # the one of `names` that a worker opens

    @property
    def paths(self) -> list[Path]:
        return [self.folder / name for name in self.names]


def lay_out(path: Path) -> Layout:
    """Check the model that `path` belongs to and find all its files. Blocks on the disk.

    Any part of a split model stands for all of it, and an .onnx file for its folder. Raises `BadModel`.
    """
    facts = check_model(path)
    if facts.role != "model":
        raise BadModel(_ROLES[facts.role], "Add the model itself").named(path)
    if facts.kind == "onnx":
        return _onnx(path, facts)
    split = split_name(path.name) if facts.split else None
    if split is None:
        return Layout(facts, path.parent, (path.name,), path.name)
    stem, _, count = split
    names = tuple(f"{stem}-{number:05d}-of-{count:05d}.gguf" for number in range(1, count + 1))
    return Layout(facts, path.parent, names, names[0])


def _onnx(path: Path, facts: ModelFacts) -> Layout:
    found = read_onnx(path)
    beside = [place / name for name in _BESIDE for place in (found.folder, found.file.parent)]
    files = [found.file, found.tokenizer, *found.external, *(p for p in beside if p.is_file())]
    names = dict.fromkeys(file.relative_to(found.folder).as_posix() for file in files)
    return Layout(
        facts, found.folder, tuple(sorted(names)), found.file.relative_to(found.folder).as_posix()
    )
