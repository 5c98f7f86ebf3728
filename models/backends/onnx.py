"""Embeddings with onnxruntime, of models in the usual folder of sentence-transformers.

The folder holds `tokenizer.json`, the network (`model.onnx`, here or in `onnx/`) and, if the mean is
not what is wanted, `1_Pooling/config.json`. Texts longer than the model reads are cut, and said so.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import numpy as np

from models.backends.base import Info, LoadError, RequestError, StepError
from models.onnxfile import folder_of
from protocols.worker import Load

if TYPE_CHECKING:
    from models.backends.base import Vector

DEFAULT_CONTEXT = 512
MAX_TEXTS = 16
MAX_ROWS = 8192
MAX_SETTINGS_BYTES = 1 << 20
MAX_TOKENIZER_BYTES = 256 << 20

Pooling = Literal["mean", "cls", "max", "last", "none"]  # none: the network pools by itself
_POOLING: dict[str, Pooling] = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_lasttoken": "last",
}
_KNOWN_INPUTS = frozenset({"input_ids", "attention_mask", "token_type_ids", "position_ids"})


class OnnxEmbedder:
    """An `Embedder` on onnxruntime's CPU provider."""

    def __init__(self, load: Load, threads: int) -> None:
        network = _network(Path(load.path))
        folder = folder_of(network)
        self._session = _open_session(network, threads)
        self._inputs = [each.name for each in self._session.get_inputs()]
        strange = sorted(set(self._inputs) - _KNOWN_INPUTS)
        if strange or "input_ids" not in self._inputs:
            raise LoadError(f"this network does not embed text: its inputs are {self._inputs}")
        self._output, self._pooling, self.dimensions = self._find_output(folder)
        context = _context(folder, load.context)
        self._tokenizer = _tokenizer(folder, context)
        self.info = Info(_build(), context, load.sequences, _memory(network), _memory(network))
        self.max_rows = max(MAX_ROWS, context)
        self.max_texts = MAX_TEXTS

    def _find_output(self, folder: Path) -> tuple[str, Pooling, int]:
        outputs = {each.name: each.shape for each in self._session.get_outputs()}
        if "sentence_embedding" in outputs:
            name, pooling = "sentence_embedding", "none"
        else:
            name = "last_hidden_state" if "last_hidden_state" in outputs else next(iter(outputs))
            pooling = "none" if len(outputs[name]) == 2 else _pooling(folder)
        size = outputs[name][-1] if outputs[name] else None
        if not isinstance(size, int):
            size = self._ask_size(name)
        return name, pooling, size  # type: ignore[return-value]

    def _ask_size(self, name: str) -> int:
        """The size of an output whose shape is not written down: run it once."""
        return int(self._run(name, [[0]]).shape[-1])

    def encode(self, text: str) -> tuple[list[int], bool]:
        try:
            encoding = self._tokenizer.encode(text)
        except Exception as error:
            raise RequestError("bad_request", f"the text could not be read: {error}") from error
        if not encoding.ids:
            raise RequestError("bad_request", "a text without a single token cannot be embedded")
        return list(encoding.ids), bool(encoding.overflowing)

    def embed(self, batch: Sequence[Sequence[int]]) -> list[Vector]:
        states = self._run(self._output, batch)
        if self._pooling == "none":
            return list(states)
        return [self._pool(rows[: len(tokens)]) for rows, tokens in zip(states, batch, strict=True)]

    def _run(self, output: str, batch: Sequence[Sequence[int]]) -> Vector:
        shape = (len(batch), max(map(len, batch)))
        ids, mask = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        for row, tokens in enumerate(batch):
            ids[row, : len(tokens)] = tokens
            mask[row, : len(tokens)] = 1
        known = {
            "input_ids": ids,
            "attention_mask": mask,
            "token_type_ids": np.zeros(shape, np.int64),
            "position_ids": np.broadcast_to(np.arange(shape[1], dtype=np.int64), shape),
        }
        try:
            (found,) = self._session.run([output], {name: known[name] for name in self._inputs})
        except Exception as error:
            raise StepError(f"onnxruntime could not compute: {_first_line(error)}") from error
        states: Vector = np.asarray(found, dtype=np.float32)
        if states.shape[0] != len(batch):
            raise StepError(f"the network answered {states.shape[0]} texts instead of {len(batch)}")
        return states

    def _pool(self, rows: Vector) -> Vector:
        match self._pooling:
            case "cls":
                pooled: Vector = rows[0]
            case "last":
                pooled = rows[-1]
            case "max":
                pooled = rows.max(axis=0)
            case _:
                pooled = rows.mean(axis=0)
        return pooled

    def close(self) -> None:
        """onnxruntime frees with the session."""


def _network(path: Path) -> Path:
    if path.is_file():
        return path
    for name in (
        "model.onnx",
        "onnx/model.onnx",
        "model_quantized.onnx",
        "onnx/model_quantized.onnx",
    ):
        if (path / name).is_file():
            return path / name
    raise LoadError(f"there is no model.onnx in {path}")


def _open_session(network: Path, threads: int) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise LoadError(f"onnxruntime could not be loaded: {error}") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(
            str(network), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:
        text = _first_line(error)
        lacking = any(words in text.lower() for words in ("allocate memory", "bad_alloc"))
        raise LoadError(
            f"the network could not be loaded: {text}", out_of_memory=lacking
        ) from error


def _tokenizer(folder: Path, context: int) -> Any:
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise LoadError(f"there is no tokenizer.json in {folder}")
    if path.stat().st_size > MAX_TOKENIZER_BYTES:
        raise LoadError(f"{path} is too large to be a tokenizer")
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:
        raise LoadError(f"tokenizer.json could not be read: {_first_line(error)}") from error
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length=context)
    return tokenizer


def _settings(path: Path) -> dict[str, Any]:
    """A small JSON object; empty when there is no such file."""
    if not path.is_file():
        return {}
    if path.stat().st_size > MAX_SETTINGS_BYTES:
        raise LoadError(f"{path} is too large to be a settings file")
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.MsgspecError) as error:
        raise LoadError(f"{path} could not be read: {error}") from error


def _pooling(folder: Path) -> Pooling:
    settings = _settings(folder / "1_Pooling" / "config.json")
    wanted = [key for key, value in settings.items() if key.startswith("pooling_mode") and value]
    if not wanted:
        return "mean"
    if len(wanted) > 1 or wanted[0] not in _POOLING:
        raise LoadError(f"the pooling {', '.join(wanted)} is not supported")
    return _POOLING[wanted[0]]


def _context(folder: Path, asked: int) -> int:
    """The longest text that the model reads, in tokens."""
    named = (
        _settings(folder / "sentence_bert_config.json").get("max_seq_length"),
        _settings(folder / "config.json").get("max_position_embeddings"),
        asked or None,
    )
    known = [value for value in named if isinstance(value, int) and value > 0]
    return min(known, default=DEFAULT_CONTEXT)


def _build() -> str:
    import onnxruntime

    return f"onnxruntime {onnxruntime.__version__} CPU"


def _memory(network: Path) -> int:
    beside = network.parent.glob(f"{network.name}*data*")
    return network.stat().st_size + sum(path.stat().st_size for path in beside)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:300]
