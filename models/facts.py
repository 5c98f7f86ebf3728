"""What a person and the node want to know about a model, whatever its file format."""

from typing import Any, Final, Literal

import msgspec

from models.errors import shown
from models.gguf import GgufHeader
from models.gguf_meaning import split_of
from models.gguf_types import quantisation

Role = Literal["model", "adapter", "projector", "other"]
_POOLING: Final = ("none", "mean", "cls", "last", "rank")
_TEXT_LIMIT: Final = 200
# Architectures that answer with vectors even where their file does not name a pooling.
_ENCODERS: Final = (
    "bert",
    "modern-bert",
    "nomic-bert",
    "nomic-bert-moe",
    "neo-bert",
    "jina-bert-v2",
    "jina-bert-v3",
    "eurobert",
    "t5encoder",
    "gemma-embedding",
)


class ModelFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A model in short. None stands for what the file does not say."""

    kind: Literal["gguf", "onnx"]
    size_bytes: int
    name: str | None = None
    role: Role = "model"
    architecture: str | None = None
    parameters: int | None = None
    context_length: int | None = None
    embedding_length: int | None = None
    block_count: int | None = None
    head_count: int | None = None
    head_count_kv: int | None = None
    kv_width: int | None = None  # numbers kept per token of context, over all layers
    vocabulary: int | None = None
    quantisation: str | None = None
    licence: str | None = None
    tokenizer: str | None = None
    chat_template: bool = False
    embedding: bool = False  # answers with vectors
    reranker: bool = False  # answers with a score for a pair of texts
    pooling: str | None = None
    split: tuple[int, int] | None = None  # (part, parts), counted from 1

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON, with every field."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain


def facts_of_gguf(header: GgufHeader) -> ModelFacts:
    """The facts in a checked GGUF header; raises BadModel for an impossible split."""
    architecture = header.architecture
    pooling = _pooling(header)
    tokens = header.array("tokenizer.ggml.tokens")
    licence = header.text("general.license") or header.text("general.license.name")
    return ModelFacts(
        kind="gguf",
        size_bytes=header.size_bytes,
        name=_text(header.text("general.name")),
        role=_role(header),
        architecture=_text(architecture),
        parameters=header.parameters,
        context_length=header.integer(header.own("context_length")),
        embedding_length=header.integer(header.own("embedding_length")),
        block_count=header.integer(header.own("block_count")),
        head_count=max(header.integers(header.own("attention.head_count")), default=None),
        head_count_kv=max(_kv_heads(header), default=None),
        kv_width=_kv_width(header),
        vocabulary=tokens.count if tokens else header.integer(header.own("vocab_size")),
        quantisation=quantisation(header.bytes_by_type, header.integer("general.file_type")),
        licence=_text(licence),
        tokenizer=_text(header.text("tokenizer.ggml.model")),
        chat_template="tokenizer.chat_template" in header.metadata,
        embedding=pooling != "rank" and (pooling is not None or architecture in _ENCODERS),
        reranker=pooling == "rank",
        pooling=pooling,
        split=split_of(header),
    )


def _text(value: str | None) -> str | None:
    """A text from the file, fit for a terminal: no control characters, not long."""
    return shown(value, _TEXT_LIMIT) if value else None


def _role(header: GgufHeader) -> Role:
    kind = header.text("general.type") or "model"
    if header.architecture in ("clip", "mmproj") or kind in ("clip-vision", "mmproj"):
        return "projector"
    if kind == "adapter":
        return "adapter"
    return "model" if kind == "model" else "other"


def _pooling(header: GgufHeader) -> str | None:
    number = header.integer(header.own("pooling_type"))
    if number is None or not 0 < number < len(_POOLING):
        return None
    return _POOLING[number]


def _kv_heads(header: GgufHeader) -> tuple[int, ...]:
    """Key-value heads: one number for all layers, or one for each; query heads where none."""
    own = header.integers(header.own("attention.head_count_kv"))
    return own or header.integers(header.own("attention.head_count"))


def _kv_width(header: GgufHeader) -> int | None:
    blocks = header.integer(header.own("block_count"))
    width = header.integer(header.own("embedding_length"))
    heads = max(header.integers(header.own("attention.head_count")), default=0)
    kv_heads = _kv_heads(header)
    if not blocks or not kv_heads:
        return None
    plain = width // heads if width and heads else None
    key = header.integer(header.own("attention.key_length")) or plain
    value = header.integer(header.own("attention.value_length")) or plain
    if key is None or value is None:
        return None
    per_layer = kv_heads[:blocks] if len(kv_heads) > 1 else kv_heads * blocks
    return sum(per_layer) * (key + value)
