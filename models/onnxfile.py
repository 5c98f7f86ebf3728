"""A strict check of an ONNX model and the folder around it, without the onnx package."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from models.errors import BadModel, shown
from models.facts import ModelFacts
from models.onnxdata import check_external
from models.onnxgraph import Graph, GraphReader, Port
from models.protobuf import Walker
from models.reading import Cursor, open_regular, os_error, read_small

DOMAINS: Final = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft"})
# Operators of these domains that load further files or code by themselves.
_REFUSED: Final = frozenset({("com.microsoft", "EPContext")})
MAX_TOKENIZER_BYTES: Final = 64 << 20
MAX_CONFIG_BYTES: Final = 1 << 20
_CANDIDATES: Final = ("model.onnx", "onnx/model.onnx")
_TODO_FOLDER: Final = "Give the folder that holds model.onnx and tokenizer.json, or the .onnx file"
_LARGEST: Final = 1 << 31
_TYPE_NAMES: Final = {1: "F32", 2: "INT8", 3: "INT8", 10: "F16", 11: "F64", 16: "BF16", 21: "INT4", 22: "INT4"}  # fmt: skip


_T = TypeVar("_T")


class _TokenizerModel(msgspec.Struct, frozen=True):
    type: str | None = None


class _Tokenizer(msgspec.Struct, frozen=True):
    model: _TokenizerModel


class _Config(msgspec.Struct, frozen=True):
    model_type: str | None = None
    hidden_size: int | None = None
    dim: int | None = None
    num_hidden_layers: int | None = None
    num_attention_heads: int | None = None
    max_position_embeddings: int | None = None
    vocab_size: int | None = None


class _Pooling(msgspec.Struct, frozen=True):
    word_embedding_dimension: int | None = None
    pooling_mode_cls_token: bool = False
    pooling_mode_mean_tokens: bool = False
    pooling_mode_max_tokens: bool = False
    pooling_mode_lasttoken: bool = False


@dataclass(frozen=True)
class OnnxModel:
    """A checked ONNX model: its files, what goes in, what comes out."""

    folder: Path
    file: Path
    tokenizer: Path
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    external: dict[Path, int]  # other files with weights, and their sizes
    pooling: str | None  # "mean", "cls", "max", "last"; None when the folder does not say
    facts: ModelFacts


def read_onnx(path: Path) -> OnnxModel:
    """Check the model in a folder, or the .onnx file inside one; raises BadModel."""
    file, folder = _find(path)
    graph, size = _read_graph(file)
    try:
        _check_operators(graph)
        external = check_external(file.parent, graph.external)
    except BadModel as error:
        raise error.named(file) from None
    if not graph.inputs or not graph.outputs:
        raise BadModel("it has no inputs or no outputs").named(file)
    tokenizer = _beside(folder, file, "tokenizer.json")
    if tokenizer is None:
        raise BadModel("tokenizer.json is not beside it", _TODO_FOLDER).named(file)
    kind = _decode(tokenizer, _Tokenizer, MAX_TOKENIZER_BYTES).model.type
    pooling, width = _pooling(folder, file)
    facts = _facts(graph, _config(folder, file), pooling, width)
    facts = msgspec.structs.replace(
        facts,
        size_bytes=size + sum(external.values()),
        name=shown(folder.resolve().name),
        tokenizer=shown(kind) if kind else None,
    )
    inputs, outputs = tuple(graph.inputs), tuple(graph.outputs)
    return OnnxModel(folder, file, tokenizer, inputs, outputs, external, pooling, facts)


def _find(path: Path) -> tuple[Path, Path]:
    """The .onnx file and the model's folder, from either of the two."""
    try:
        if path.is_dir():
            return _find_in(path), path
    except OSError as error:
        raise os_error(error, path) from error
    return path, folder_of(path)


def folder_of(file: Path) -> Path:
    """The model's folder: where the .onnx file is, or above an `onnx` folder without a tokenizer."""
    parent = file.parent
    nested = parent.name == "onnx" and not (parent / "tokenizer.json").exists()
    return parent.parent if nested else parent


def _find_in(folder: Path) -> Path:
    for name in _CANDIDATES:
        if (folder / name).is_file():
            return folder / name
    found = sorted(folder.glob("*.onnx"))
    if len(found) == 1:
        return found[0]
    if found:
        why, todo = "it holds several .onnx files and none is model.onnx", "Give the path of one"
        raise BadModel(why, todo).named(folder)
    raise BadModel("it is a folder without a model.onnx", _TODO_FOLDER).named(folder)


def _read_graph(file: Path) -> tuple[Graph, int]:
    with open_regular(file) as (opened, size):
        if size == 0:
            raise BadModel("it is empty").named(file)
        if size >= _LARGEST:
            todo = "Export it with its weights as external data"
            raise BadModel("it is larger than 2 GiB, which ONNX cannot be", todo).named(file)
        try:
            return GraphReader(Walker(Cursor(opened, size))).read(size), size
        except BadModel as error:
            raise error.named(file) from None


def _check_operators(graph: Graph) -> None:
    for domain, name in sorted(graph.operators - graph.functions):
        if domain not in DOMAINS or (domain, name) in _REFUSED:
            why = (
                f"it needs the operator {shown(name)} of {shown(domain)!r}, which loads native code"
            )
            raise BadModel(why, "Export it with standard operators")


def _beside(folder: Path, file: Path, name: str) -> Path | None:
    """A file of the model's folder, or of the .onnx file's own."""
    for place in (folder, file.parent):
        path = place / name
        if path.is_symlink() or path.exists():
            return path
    return None


def _decode(path: Path, kind: type[_T], limit: int) -> _T:
    """A small JSON file's fields that are of interest, of the right types; raises BadModel."""
    try:
        return msgspec.json.decode(read_small(path, limit), type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadModel(f"its text is not what it should be ({shown(str(error))})").named(
            path
        ) from None
    except RecursionError:
        raise BadModel("its text is nested too deeply").named(path) from None


def _config(folder: Path, file: Path) -> _Config:
    path = _beside(folder, file, "config.json")
    return _Config() if path is None else _decode(path, _Config, MAX_CONFIG_BYTES)


def _pooling(folder: Path, file: Path) -> tuple[str | None, int | None]:
    path = _beside(folder, file, "1_Pooling/config.json")
    if path is None:
        return None, None
    config = _decode(path, _Pooling, MAX_CONFIG_BYTES)
    modes = (
        ("cls", config.pooling_mode_cls_token),
        ("mean", config.pooling_mode_mean_tokens),
        ("max", config.pooling_mode_max_tokens),
        ("last", config.pooling_mode_lasttoken),
    )
    chosen = [name for name, used in modes if used]
    if len(chosen) > 1:
        why = f"it joins several kinds of pooling ({', '.join(chosen)}), which is not supported"
        raise BadModel(why, "Choose a model with one kind of pooling").named(path)
    return (chosen[0] if chosen else None), config.word_embedding_dimension


def _facts(graph: Graph, config: _Config, pooling: str | None, width: int | None) -> ModelFacts:
    last = graph.outputs[0].dims[-1] if graph.outputs[0].dims else None
    takes_text = any(port.name == "input_ids" for port in graph.inputs)
    scores = any(port.name == "logits" for port in graph.outputs)
    widths = (width, config.hidden_size, config.dim, None if scores else last)
    dominant = max(graph.bits_by_type, key=lambda kind: graph.bits_by_type[kind], default=0)
    return ModelFacts(
        kind="onnx",
        size_bytes=0,
        architecture=shown(config.model_type) if config.model_type else None,
        parameters=graph.parameters,
        context_length=_size(config.max_position_embeddings),
        embedding_length=next((size for size in map(_size, widths) if size), None),
        block_count=_size(config.num_hidden_layers),
        head_count=_size(config.num_attention_heads),
        vocabulary=_size(config.vocab_size),
        quantisation=_TYPE_NAMES.get(dominant),
        embedding=takes_text and not scores,
        reranker=takes_text and scores,
        pooling=pooling,
    )


def _size(number: int | None) -> int | None:
    """A size that a configuration file claims, or None when it makes no sense."""
    return number if number is not None and 0 < number < _LARGEST else None
