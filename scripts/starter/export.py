"""Writes the trained network as a Q8_0 GGUF file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np
from gguf import GGMLQuantizationType, quants
from tokenizers import Tokenizer

from starter.network import EPSILON, ROPE_BASE, Params, Shape
from starter.tokens import END, SPECIAL, TEMPLATE, vocabulary

TEMPERATURE = (
    0.3  # recommended to whoever runs it: low, because a tiny model's second choices are poor
)
DESCRIPTION = (
    "A starter: a very small model that tells jokes and answers questions about a Kith node. "
    "Add a real model for anything else."
)


def write_gguf(path: Path, shape: Shape, params: Params, tokenizer: Tokenizer) -> None:
    writer = gguf.GGUFWriter(str(path), "llama")
    _facts(writer, shape)
    _tokens(writer, shape, tokenizer)
    _matrix(writer, "token_embd.weight", params["token_embd"])  # also the output, tied
    _vector(writer, "output_norm.weight", params["output_norm"])
    for number, block in enumerate(params["blocks"]):
        for name, value in block.items():
            write = _vector if name.endswith("norm") else _matrix
            write(writer, f"blk.{number}.{name}.weight", value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _facts(writer: gguf.GGUFWriter, shape: Shape) -> None:
    writer.add_name("Kith starter")
    writer.add_description(DESCRIPTION)
    writer.add_license("apache-2.0")
    writer.add_author("The Kith project")
    writer.add_languages(["en"])
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.hidden)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_layer_norm_rms_eps(EPSILON)
    writer.add_rope_dimension_count(shape.head_width)
    writer.add_rope_freq_base(ROPE_BASE)
    writer.add_vocab_size(shape.vocab)
    writer.add_float32("general.sampling.temp", TEMPERATURE)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    writer.add_quantization_version(2)


def _tokens(writer: gguf.GGUFWriter, shape: Shape, tokenizer: Tokenizer) -> None:
    ids, merges = vocabulary(tokenizer)
    names = {number: token for token, number in ids.items()}
    tokens = [names.get(number, f"[unused{number}]") for number in range(shape.vocab)]
    kinds = [
        gguf.TokenType.CONTROL
        if token in SPECIAL
        else gguf.TokenType.NORMAL
        if number in names
        else gguf.TokenType.UNUSED
        for number, token in enumerate(tokens)
    ]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges(merges)
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(END)
    writer.add_eot_token_id(END)
    writer.add_pad_token_id(0)
    writer.add_add_bos_token(False)
    writer.add_chat_template(TEMPLATE)


def _matrix(writer: gguf.GGUFWriter, name: str, value: Any) -> None:
    kind = GGMLQuantizationType.Q8_0
    writer.add_tensor(name, quants.quantize(np.asarray(value, np.float32), kind), raw_dtype=kind)


def _vector(writer: gguf.GGUFWriter, name: str, value: Any) -> None:
    writer.add_tensor(name, np.asarray(value, np.float32))
