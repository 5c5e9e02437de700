"""Exact softmax attention in its textbook form."""

from typing import Annotated, Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from lra_bench.attentions._common import (
    MASKED,
    dot_products,
    head_major,
    summed,
    token_major,
    without_padding,
)
from lra_bench.attentions._state import all_pairs
from lra_bench.contracts import Range
from lra_bench.registry import register_attention


@register_attention("softmax", exact=True, equivariant=True, state=all_pairs)
def softmax(
    q: Float[Array, "b l h d"],
    k: Float[Array, "b l h d"],
    v: Float[Array, "b l h d"],
    mask: Bool[Array, "b l"],
    *,
    causal: bool = False,
    dropout: Annotated[float, Range(0, 0.99)] = 0.0,
    padded_queries: Literal["like-others", "uniform"] = "like-others",
    rngs: nnx.Rngs | None = None,
) -> Float[Array, "b l h d"]:
    """Compute exact softmax attention: D^-1 A V with A = exp(Q K^T / sqrt(d)), Eq. (1).

    If `causal`, only the lower triangle of A is used: Eq. (2). In training, a share `dropout` of
    D^-1 A is set to zero, and the rest is divided by 1 - `dropout`. With `padded_queries`
    "uniform", queries at padding take the mean of all values, padding too, as in Flax's attention
    with a mask of queries and keys; with pooling over padding this matters.
    Time O(l^2 d), memory O(l^2).

    Args:
        causal: whether a token sees only itself and earlier tokens.
        dropout: share of the weights that is set to zero in training.
        padded_queries: what queries at padding get: what others get, or the mean of all values.

    References:
        Vaswani et al. 2017, "Attention Is All You Need", arXiv:1706.03762; equations as numbered in
        arXiv:2009.14794.
    """
    keys = head_major(without_padding(k, mask))
    seen = mask[:, None, None, :]
    if causal:
        seen = seen & jnp.tri(q.shape[1], dtype=bool)
    logits = jnp.where(seen, dot_products(head_major(q), keys), MASKED)
    weights, values = jax.nn.softmax(logits, axis=-1), head_major(without_padding(v, mask))
    if padded_queries == "uniform":
        weights = jnp.where(mask[:, None, :, None], weights, 1 / mask.shape[1])
        values = head_major(v)
    if rngs is not None and dropout:
        kept = jax.random.bernoulli(rngs.dropout(), 1 - dropout, weights.shape)
        weights = jnp.where(kept, weights / (1 - dropout), 0)
    out = summed("bhqk,bhkd->bhqd", weights.astype(v.dtype), values)
    return token_major(out.astype(v.dtype))
