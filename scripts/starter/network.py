"""The network in JAX: llama's architecture, computed exactly as llama.cpp computes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

ROPE_BASE = 10000.0
EPSILON = 1e-5
TARGET_SHARE = 0.6
Params = dict[str, Any]
Angles = tuple[jax.Array, jax.Array]  # cosine and sine, [B, T, 1, D/2]


@dataclass(frozen=True)
class Shape:
    """Sizes. Rows of all matrices are multiples of 32, as Q8_0 needs."""

    vocab: int
    width: int = 160
    layers: int = 5
    heads: int = 5
    kv_heads: int = 5
    hidden: int = 448
    context: int = 2048

    @property
    def head_width(self) -> int:
        return self.width // self.heads


def init(shape: Shape, seed: int) -> Params:
    keys = iter(jax.random.split(jax.random.PRNGKey(seed), 1 + 7 * shape.layers))
    kv = shape.kv_heads * shape.head_width

    def matrix(out: int, inside: int, scale: float = 1.0) -> jax.Array:
        drawn: jax.Array = jax.random.normal(next(keys), (out, inside))
        scaled: jax.Array = drawn * (scale * inside**-0.5)
        return scaled

    blocks = [
        {
            "attn_norm": jnp.ones(shape.width),
            "attn_q": matrix(shape.width, shape.width),
            "attn_k": matrix(kv, shape.width),
            "attn_v": matrix(kv, shape.width),
            "attn_output": matrix(shape.width, shape.width, 0.3),
            "ffn_norm": jnp.ones(shape.width),
            "ffn_gate": matrix(shape.hidden, shape.width),
            "ffn_up": matrix(shape.hidden, shape.width),
            "ffn_down": matrix(shape.width, shape.hidden, 0.3),
        }
        for _ in range(shape.layers)
    ]
    embedding = jax.random.normal(next(keys), (shape.vocab, shape.width)) * 0.02
    return {"token_embd": embedding, "blocks": blocks, "output_norm": jnp.ones(shape.width)}


def count(params: Params) -> int:
    return sum(int(leaf.size) for leaf in jax.tree.leaves(params))


def _norm(x: jax.Array, weight: jax.Array) -> jax.Array:
    return x * jax.lax.rsqrt(jnp.mean(x * x, -1, keepdims=True) + EPSILON) * weight


def _angles(shape: Shape, position: jax.Array) -> Angles:
    """Cosine and sine for every position, from a table that all layers use."""
    half = shape.head_width // 2
    table = np.outer(np.arange(shape.context), ROPE_BASE ** (-np.arange(half) / half))
    cos, sin = np.cos(table).astype(np.float32), np.sin(table).astype(np.float32)
    return jnp.asarray(cos)[position][:, :, None], jnp.asarray(sin)[position][:, :, None]


def _rotate(x: jax.Array, angles: Angles) -> jax.Array:
    """Rotary positions on neighbouring pairs, llama.cpp's order for this architecture. x: [B, T, H, D]."""
    cos, sin = angles
    even, odd = x[..., 0::2], x[..., 1::2]
    turned = jnp.stack([even * cos - odd * sin, even * sin + odd * cos], -1)
    return turned.reshape(x.shape)


def states(
    shape: Shape, params: Params, tokens: jax.Array, dialogue: jax.Array, position: jax.Array
) -> jax.Array:
    """[B, T] -> [B, T, width], before the output matrix; a token sees earlier tokens of its own dialogue."""
    length = tokens.shape[1]
    causal = jnp.tril(jnp.ones((length, length), bool))
    allowed = causal[None] & (dialogue[:, :, None] == dialogue[:, None, :])
    bias = jnp.where(allowed, 0.0, -1e9)[:, None]
    angles = _angles(shape, position)
    x = params["token_embd"][tokens]
    for block in params["blocks"]:
        x = x + _attention(shape, block, _norm(x, block["attn_norm"]), bias, angles)
        h = _norm(x, block["ffn_norm"])
        inner = jax.nn.silu(h @ block["ffn_gate"].T) * (h @ block["ffn_up"].T)
        x = x + inner @ block["ffn_down"].T
    return _norm(x, params["output_norm"])


def _attention(
    shape: Shape, block: Params, h: jax.Array, bias: jax.Array, angles: Angles
) -> jax.Array:
    rows, length, _ = h.shape
    size = shape.head_width

    def split(name: str, heads: int) -> jax.Array:
        made: jax.Array = (h @ block[name].T).reshape(rows, length, heads, size)
        return made

    q = _rotate(split("attn_q", shape.heads), angles)
    k = _rotate(split("attn_k", shape.kv_heads), angles)
    v = split("attn_v", shape.kv_heads)
    group = shape.heads // shape.kv_heads
    k, v = jnp.repeat(k, group, 2), jnp.repeat(v, group, 2)
    scores = jnp.einsum("bqhd,bkhd->bhqk", q, k) * size**-0.5 + bias
    mixed = jnp.einsum("bhqk,bkhd->bqhd", jax.nn.softmax(scores, -1), v)
    result: jax.Array = mixed.reshape(rows, length, -1) @ block["attn_output"].T
    return result


def loss(
    shape: Shape,
    params: Params,
    tokens: jax.Array,
    weights: jax.Array,
    dialogue: jax.Array,
    position: jax.Array,
) -> jax.Array:
    """Mean cross entropy of the next tokens, weighted, never across two dialogues.

    The output matrix is the widest of all, so it works only where the weights are: on at most
    `TARGET_SHARE` of the tokens, the heaviest first.
    """
    seen = states(shape, params, tokens[:, :-1], dialogue[:, :-1], position[:, :-1])
    target = tokens[:, 1:].reshape(-1)
    weight = (weights[:, 1:] * (dialogue[:, 1:] == dialogue[:, :-1])).reshape(-1)
    weight, places = jax.lax.top_k(weight, int(weight.size * TARGET_SHARE))
    out = seen.reshape(-1, shape.width)[places] @ params["token_embd"].T
    chosen = jnp.take_along_axis(out, target[places][:, None], -1)[:, 0]
    nll = jax.nn.logsumexp(out, -1) - chosen
    return jnp.sum(nll * weight) / jnp.sum(weight)
