"""Writes a tiny sentence-embedding model as an ONNX folder, in the shape of the MiniLM family.

Random weights, seeded; one attention layer; mean pooling. Needs `onnx` and `tokenizers`.
"""

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper, save_model
from tokenizers import Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import WordPiece

from tests.support.gguf_vocab import WORDS

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
INPUTS = ("input_ids", "attention_mask", "token_type_ids")
DIM = 32
POSITIONS = 128


def tiny_embedder(
    folder: Path,
    *,
    seed: int = 0,
    dim: int = DIM,
    external: str | None = None,
    nested: bool = False,
) -> Path:
    """Write the model into `folder` and return the folder.

    With `external`, the weights go into a file of that name; with `nested`, the model lies in
    `onnx/model.onnx`, as many published folders have it.
    """
    place = folder / "onnx" if nested else folder
    place.mkdir(parents=True, exist_ok=True)
    tokenizer = _tokenizer()
    model = embedder_model(tokenizer.get_vocab_size(), seed=seed, dim=dim)
    if external is None:
        save_model(model, place / "model.onnx")
    else:
        save_model(
            model, place / "model.onnx", save_as_external_data=True, location=external,
            size_threshold=256,
        )  # fmt: skip
    tokenizer.save(str(folder / "tokenizer.json"))
    _write_configs(folder, tokenizer.get_vocab_size(), dim)
    return folder


def embedder_model(vocabulary: int, *, seed: int = 0, dim: int = DIM) -> ModelProto:
    """The model alone, as a message that a test may change before it saves it."""
    weights = _weights(vocabulary, dim, np.random.default_rng(seed))
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "sequence"])
        for name in INPUTS
    ]
    output = helper.make_tensor_value_info(
        "last_hidden_state", TensorProto.FLOAT, ["batch", "sequence", dim]
    )
    initializers = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph(_nodes(), "tiny-embedder", inputs, [output], initializers)
    opset = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opset, producer_name="tests", ir_version=9)
    assert isinstance(model, ModelProto)
    return model


def _nodes() -> list[NodeProto]:
    node = helper.make_node
    return [
        node("Gather", ["words", "input_ids"], ["word"]),
        node("Gather", ["types", "token_type_ids"], ["type"]),
        node("Shape", ["input_ids"], ["length"], start=1, end=2),
        node("Squeeze", ["length"], ["count"]),
        node("Range", ["zero", "count", "one"], ["range"]),
        node("Gather", ["positions", "range"], ["position"]),
        node("Sum", ["word", "type"], ["token"]),
        node("Add", ["token", "position"], ["embedded"]),
        node("MatMul", ["embedded", "query"], ["q"]),
        node("MatMul", ["embedded", "key"], ["k"]),
        node("MatMul", ["embedded", "value"], ["v"]),
        node("Transpose", ["k"], ["k_turned"], perm=[0, 2, 1]),
        node("MatMul", ["q", "k_turned"], ["scores"]),
        # Padding must not be seen: (1 - mask) * -10,000 is added to every row of scores.
        node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        node("Unsqueeze", ["mask", "axis"], ["mask_row"]),
        node("Sub", ["one_float", "mask_row"], ["hidden"]),
        node("Mul", ["hidden", "minus_much"], ["penalty"]),
        node("Add", ["scores", "penalty"], ["masked"]),
        node("Softmax", ["masked"], ["attention"], axis=-1),
        node("MatMul", ["attention", "v"], ["mixed"]),
        node("Add", ["embedded", "mixed"], ["residual"]),
        node("LayerNormalization", ["residual", "scale"], ["last_hidden_state"], axis=-1),
    ]


def _weights(vocabulary: int, dim: int, rng: np.random.Generator) -> dict[str, NDArray[np.generic]]:
    def table(rows: int, scale: float) -> NDArray[np.float32]:
        return (rng.standard_normal((rows, dim)) * scale).astype(np.float32)

    return {
        "words": table(vocabulary, 1.0),
        "types": table(2, 0.1),
        "positions": table(POSITIONS, 0.1),
        "query": table(dim, dim**-0.75),
        "key": table(dim, dim**-0.75),
        "value": table(dim, dim**-0.5),
        "scale": np.ones(dim, np.float32),
        "one_float": np.ones((), np.float32),
        "minus_much": np.array(-10_000, np.float32),
        "zero": np.array(0, np.int64),
        "one": np.array(1, np.int64),
        "axis": np.array([1], np.int64),
    }


def _tokenizer() -> Tokenizer:
    letters = "abcdefghijklmnopqrstuvwxyz0123456789.,!?'\"-:;()"
    tokens = [*SPECIAL, *letters, *(f"##{letter}" for letter in letters)]
    tokens += [word for word in WORDS if word not in tokens]
    vocabulary = {token: number for number, token in enumerate(dict.fromkeys(tokens))}
    tokenizer = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.BertProcessing(
        ("[SEP]", vocabulary["[SEP]"]), ("[CLS]", vocabulary["[CLS]"])
    )
    tokenizer.add_special_tokens(list(SPECIAL))
    return tokenizer


def _write_configs(folder: Path, vocabulary: int, dim: int) -> None:
    config = {
        "model_type": "bert", "hidden_size": dim, "max_position_embeddings": POSITIONS,
        "num_hidden_layers": 1, "num_attention_heads": 1, "vocab_size": vocabulary,
    }  # fmt: skip
    pooling = {"word_embedding_dimension": dim, "pooling_mode_mean_tokens": True}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "1_Pooling").mkdir(exist_ok=True)
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
