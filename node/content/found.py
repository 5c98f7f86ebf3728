"""Models that other programs keep on this machine: finding them, changing nothing.

What is found is only read. Manifests of other programs are untrusted: small, plain, and pointing
nowhere but into their own folder.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final, Literal

from models.errors import BadModel
from models.reading import read_small
from node.content import names
from node.content.refs import split_name

Program = Literal["ollama", "huggingface", "lmstudio"]

_MANIFEST_BYTES: Final = 1 << 20
_MODEL_LAYER: Final = "application/vnd.ollama.image.model"
_DIGEST: Final = re.compile(r"sha256:([0-9a-f]{64})", re.ASCII)
_MOST_FILES: Final = 20_000  # looked at in one folder
_MOST_MODELS: Final = 2_000


@dataclass(frozen=True)
class Found:
    """A file that may be a model: what to call it, and why it cannot be one, if that is plain."""

    program: Program
    name: str
    path: Path
    source: str
    problem: str = ""


def usual_folders(env: Mapping[str, str], user: Path) -> list[tuple[Program, Path]]:
    """Where these programs keep their models, unless they were told otherwise."""
    cache = Path(env.get("XDG_CACHE_HOME") or user / ".cache")
    hugging = Path(env.get("HF_HOME") or cache / "huggingface")
    return [
        ("ollama", Path(env.get("OLLAMA_MODELS") or user / ".ollama" / "models")),
        ("ollama", Path("/usr/share/ollama/.ollama/models")),
        ("huggingface", Path(env.get("HF_HUB_CACHE") or hugging / "hub")),
        ("lmstudio", user / ".lmstudio" / "models"),
        ("lmstudio", user / ".cache" / "lm-studio" / "models"),
    ]


def kind_of_folder(folder: Path) -> Program:
    """Whose folder this looks like; a plain folder of files is read as LM Studio's."""
    if (folder / "manifests").is_dir() and (folder / "blobs").is_dir():
        return "ollama"
    return "huggingface" if any(folder.glob("models--*")) else "lmstudio"


def search(program: Program, folder: Path) -> list[Found]:
    """Everything in a folder that may be a model. Blocks on the disk."""
    look = {"ollama": _ollama, "huggingface": _huggingface, "lmstudio": _lmstudio}[program]
    return list(islice(look(folder), _MOST_MODELS))


def _ollama(folder: Path) -> Iterator[Found]:
    """manifests/<registry>/<owner>/<model>/<tag> say which blobs/sha256-… holds the weights."""
    root = folder / "manifests"
    for manifest in sorted(_files(root)):
        words = manifest.relative_to(root).parts
        if len(words) != 4 or any(word.startswith(".") for word in words):
            continue
        registry, owner, model, tag = words
        shown = "/".join(([] if owner == "library" else [owner]) + [model]) + f":{tag}"
        name = names.clean(model if tag == "latest" else f"{model}-{tag}")
        try:
            path = _blob(folder, read_small(manifest, _MANIFEST_BYTES))
        except (BadModel, ValueError, RecursionError) as error:
            yield Found("ollama", name, manifest, shown, f"its manifest cannot be used: {error}")
        else:
            yield Found("ollama", name, path, f"ollama {shown} ({registry})")


def _blob(folder: Path, text: bytes) -> Path:
    manifest = json.loads(text)
    layers = manifest.get("layers") if isinstance(manifest, dict) else None
    found: list[dict[str, Any]] = [
        layer
        for layer in (layers if isinstance(layers, list) else [])
        if isinstance(layer, dict) and layer.get("mediaType") == _MODEL_LAYER
    ]
    if len(found) != 1:
        raise ValueError(f"it names {len(found)} files with weights, and one is needed")
    match = _DIGEST.fullmatch(str(found[0].get("digest")))
    if match is None:
        raise ValueError("it names no sha256 for the weights")
    blob, size = folder / "blobs" / f"sha256-{match[1]}", found[0].get("size")
    if not blob.is_file():
        raise ValueError(f"{blob.name} is not there: the download is not whole")
    if isinstance(size, int) and blob.stat().st_size != size:
        raise ValueError(f"{blob.name} has not the {size:,} bytes that it should have")
    return blob


def _huggingface(folder: Path) -> Iterator[Found]:
    """models--<owner>--<repo>/snapshots/<revision>/**.gguf are links to blobs; revisions share them."""
    seen: set[tuple[int, int]] = set()
    for repo in sorted(folder.glob("models--*")):
        shown = "/".join(repo.name.split("--")[1:])
        for path in sorted(_files(repo / "snapshots")):
            if path.suffix.lower() != ".gguf" or _is_later_part(path):
                continue
            inside = "/".join(path.relative_to(repo / "snapshots").parts[1:])
            found = Found("huggingface", names.clean(path.name), path, f"hf:{shown}/{inside}")
            try:
                status = path.stat()
            except OSError:
                yield _broken(found)
                continue
            if (key := (status.st_dev, status.st_ino)) not in seen:
                seen.add(key)
                yield found


def _lmstudio(folder: Path) -> Iterator[Found]:
    """<publisher>/<repo>/<file>.gguf."""
    for path in sorted(_files(folder)):
        if path.suffix.lower() == ".gguf" and not _is_later_part(path):
            found = Found("lmstudio", names.clean(path.name), path, str(path))
            yield found if path.exists() else _broken(found)


def _broken(found: Found) -> Found:
    return Found(
        found.program,
        found.name,
        found.path,
        found.source,
        "the file that it links to is not there",
    )


def _is_later_part(path: Path) -> bool:
    """The first part of a split model stands for all of it."""
    split = split_name(path.name)
    return split is not None and split[1] != 1


def _files(folder: Path) -> Iterator[Path]:
    """Every file below a folder, not following links to folders, up to a bound."""
    count = 0
    for root, folders, files in os.walk(folder):
        folders.sort()
        for name in files:
            count += 1
            if count > _MOST_FILES:
                return
            yield Path(root) / name
