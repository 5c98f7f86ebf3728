"""Whether the parts of a GGUF header fit together, where native code would not ask."""

from collections.abc import Callable
from typing import Final

from models.errors import BadModel, shown
from models.gguf import GgufHeader
from models.gguf_values import FLOAT32, INT_TYPES, STRING, TOKENS, TYPE_NAMES, LongText

# Tokens that native code takes for granted, by the kind of tokenizer: its default special ones.
_FEWEST_TOKENS: Final = {"llama": 3, "gpt2": 12, "bert": 104, "t5": 3}
_EMBEDDING: Final = "token_embd.weight"
# Bounds of the numbers that native code turns into sizes. Zero stands for "none" where allowed.
_BOUNDS: Final = {
    "block_count": (1, 512),
    "embedding_length": (1, 1 << 20),
    "context_length": (1, 1 << 31),
    "feed_forward_length": (0, 1 << 24),
    "attention.head_count": (0, 1 << 14),
    "attention.head_count_kv": (0, 1 << 14),
    "attention.key_length": (0, 1 << 16),
    "attention.value_length": (0, 1 << 16),
    "expert_count": (0, 1024),
    "expert_used_count": (0, 1024),
    "rope.dimension_count": (0, 1 << 16),
    "vocab_size": (1, 1 << 24),
}
_ID_SUFFIX: Final = "_token_id"
_NO_ID: Final = (1 << 32) - 1


def check_meaning(header: GgufHeader) -> None:
    """Check what belongs together: sizes, vocabulary, tokenizer, split; raises BadModel."""
    split = split_of(header)
    if split is not None and split[0] > 1:
        return  # only the first part of a split file says what the model is
    architecture = header.architecture
    if not architecture:
        raise BadModel("it does not say its architecture (general.architecture)")
    if not architecture.replace("-", "").replace("_", "").isalnum() or len(architecture) > 64:
        raise BadModel(f"its architecture is not a name: {shown(architecture)!r}")
    if not header.tensors and split is None:
        raise BadModel("it holds no weights", "Take the whole model, not only its vocabulary")
    _check_bounds(header)
    _check_layers(header)
    _check_tokenizer(header)
    _check_vocabulary(header)


def split_of(header: GgufHeader) -> tuple[int, int] | None:
    """(part, parts) counted from 1 for a split file, None for a whole one; raises BadModel."""
    number, count = header.integer("split.no"), header.integer("split.count")
    if count is None or count == 0 or (count == 1 and not number):
        return None
    if not 1 <= count <= 9999 or number is None or not 0 <= number < count:
        raise BadModel(f"it says that it is part {number} (counted from 0) of {count}")
    return number + 1, count


def _check_bounds(header: GgufHeader) -> None:
    for name, (low, high) in _BOUNDS.items():
        key = header.own(name)
        value = header.metadata.get(key)
        numbers = header.integers(key)
        array = header.array(key)
        if array is not None and array.item_type in INT_TYPES and array.count:
            pass  # one entry per layer
        elif value is not None and not numbers:
            raise BadModel(f"{key} is not a whole number")
        for number in numbers:
            if not low <= number <= high:
                raise BadModel(f"{key} is {number:,}; {low:,} to {high:,} is possible")
    _check_heads(header)
    _check_experts(header)


def _check_heads(header: GgufHeader) -> None:
    heads = header.integers(header.own("attention.head_count"))
    kv_heads = header.integers(header.own("attention.head_count_kv"))
    if len(heads) == 1 and len(kv_heads) == 1 and kv_heads[0] and heads[0] % kv_heads[0]:
        raise BadModel(f"{heads[0]} attention heads cannot share {kv_heads[0]} key-value heads")


def _check_experts(header: GgufHeader) -> None:
    count = header.integer(header.own("expert_count")) or 0
    used = max(header.integers(header.own("expert_used_count")), default=0)
    if used > count or (count and not used):
        raise BadModel(f"it says to use {used} of {count} experts")


def _check_layers(header: GgufHeader) -> None:
    blocks = header.integer(header.own("block_count"))
    if blocks is None:
        return
    for name in ("attention.head_count", "attention.head_count_kv", "feed_forward_length"):
        array = header.array(header.own(name))
        if array is not None and array.count < blocks:
            raise BadModel(f"{header.own(name)} has {array.count} entries for {blocks} layers")
    for tensor in header.tensors:
        start, _, rest = tensor.name.partition("blk.")
        number = rest.partition(".")[0]
        if not start and number.isdigit() and int(number[:9]) >= blocks:
            raise BadModel(f"the tensor {tensor.name} belongs to none of the {blocks} layers")


def _check_tokenizer(header: GgufHeader) -> None:
    """Arrays that native code indexes by token must be as long as the vocabulary."""
    tokens = header.metadata.get(TOKENS)
    if tokens is None:
        return
    count = _array_length(header, TOKENS, lambda kind: kind == STRING)
    fewest = _FEWEST_TOKENS.get(header.text("tokenizer.ggml.model") or "", 1)
    if count is None or count < fewest:
        raise BadModel(f"its vocabulary of {count} tokens is too small")
    scores = _array_length(header, "tokenizer.ggml.scores", lambda kind: kind == FLOAT32)
    types = _array_length(header, "tokenizer.ggml.token_type", lambda kind: kind in INT_TYPES)
    _array_length(header, "tokenizer.ggml.merges", lambda kind: kind == STRING)
    for name, length in (("scores", scores), ("token types", types)):
        if length is not None and length != count:
            raise BadModel(f"it has {length:,} {name} for {count:,} tokens")
    for key in header.metadata:
        if key.startswith("tokenizer.ggml.") and key.endswith(_ID_SUFFIX):
            number = header.integer(key)
            if number is None or not (0 <= number < count or number in (-1, _NO_ID)):
                raise BadModel(f"{key} is {number}, which is none of the {count:,} tokens")
    template = header.metadata.get("tokenizer.chat_template")
    if template is not None and not isinstance(template, str | LongText):
        raise BadModel("its chat template is not a text")


def _array_length(header: GgufHeader, key: str, allows: Callable[[int], bool]) -> int | None:
    value = header.metadata.get(key)
    if value is None:
        return None
    array = header.array(key)
    if array is None:
        raise BadModel(f"{key} is not an array")
    if not allows(array.item_type):
        raise BadModel(f"{key} is an array of the wrong type ({TYPE_NAMES[array.item_type]})")
    return array.count


def _check_vocabulary(header: GgufHeader) -> None:
    embedding = next((tensor for tensor in header.tensors if tensor.name == _EMBEDDING), None)
    if embedding is None:
        return
    if len(embedding.dims) != 2:
        raise BadModel("its token embedding is not a table")
    width, rows = embedding.dims
    length = header.integer(header.own("embedding_length"))
    if length is not None and width != length:
        raise BadModel(f"its token embedding is {width:,} wide where {length:,} was promised")
    tokens = header.array(TOKENS)
    if tokens is not None and rows != tokens.count:
        raise BadModel(f"it has {tokens.count:,} tokens and embeddings for {rows:,}")
