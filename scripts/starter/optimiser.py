"""Muon for the matrices inside the blocks, Adam for the embedding and the norms."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

Tree = Any
MOMENTUM = 0.95
BETA_1, BETA_2 = 0.9, 0.98
ADAM_SHARE = 0.15  # Adam's rate as a share of Muon's
DECAY = 0.01


def _is_matrix(path: tuple[Any, ...], leaf: jax.Array) -> bool:
    return leaf.ndim == 2 and "blocks" in jax.tree_util.keystr(path)


def begin(params: Tree) -> Tree:
    """The optimiser's state: the first moment of all, the second where Adam works."""
    second = jax.tree_util.tree_map_with_path(
        lambda path, p: jnp.zeros(()) if _is_matrix(path, p) else jnp.zeros_like(p), params
    )
    return {"first": jax.tree.map(jnp.zeros_like, params), "second": second}


def _orthogonal(update: jax.Array) -> jax.Array:
    """The nearest orthogonal matrix, roughly: five Newton-Schulz steps."""
    tall = update.shape[0] > update.shape[1]
    x = update.T if tall else update
    x = x / (jnp.linalg.norm(x) + 1e-7)
    for _ in range(5):
        a = x @ x.T
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    result: jax.Array = x.T if tall else x
    return result


def update(params: Tree, grads: Tree, state: Tree, step: jax.Array, rate: jax.Array) -> Tree:
    """New parameters and state. `step` counts from 1."""
    size = jnp.sqrt(sum(jnp.sum(g * g) for g in jax.tree.leaves(grads)))
    grads = jax.tree.map(lambda g: g * jnp.minimum(1.0, 1.0 / (size + 1e-6)), grads)

    def one(
        path: tuple[Any, ...], p: jax.Array, g: jax.Array, m: jax.Array, v: jax.Array
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        if _is_matrix(path, p):
            m = MOMENTUM * m + g
            scale = max(1.0, p.shape[0] / p.shape[1]) ** 0.5
            change = _orthogonal(g + MOMENTUM * m) * scale
            return p * (1 - rate * DECAY) - rate * change, m, v
        m = BETA_1 * m + (1 - BETA_1) * g
        v = BETA_2 * v + (1 - BETA_2) * g * g
        change = (m / (1 - BETA_1**step)) / (jnp.sqrt(v / (1 - BETA_2**step)) + 1e-8)
        return p - rate * ADAM_SHARE * change, m, v

    moved = jax.tree_util.tree_map_with_path(one, params, grads, state["first"], state["second"])
    pick = [
        jax.tree.map(lambda t, i=i: t[i], moved, is_leaf=lambda t: isinstance(t, tuple))
        for i in range(3)
    ]
    return pick[0], {"first": pick[1], "second": pick[2]}
