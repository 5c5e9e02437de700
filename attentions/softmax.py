"""Exact softmax attention in its textbook form."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from lra_bench.attentions._common import (
    MASKED,
    dot_products,
    head_major,
    softmax_average,
    token_major,
    without_padding,
)
from lra_bench.registry import register_attention


@register_attention("softmax", exact=True, equivariant=True)
def softmax(
    q: Float[Array, "b l h d"],
    k: Float[Array, "b l h d"],
    v: Float[Array, "b l h d"],
    mask: Bool[Array, "b l"],
    *,
    causal: bool = False,
) -> Float[Array, "b l h d"]:
    """Compute exact softmax attention: D^-1 A V with A = exp(Q K^T / sqrt(d)), Eq. (1).

    If `causal`, only the lower triangle of A is used: Eq. (2).
    Time O(l^2 d), memory O(l^2).

    References:
        Vaswani et al. 2017, arXiv:1706.03762; equations as numbered in arXiv:2009.14794.
    """
    keys = head_major(without_padding(k, mask))
    seen = mask[:, None, None, :]
    if causal:
        seen = seen & jnp.tri(q.shape[1], dtype=bool)
    logits = jnp.where(seen, dot_products(head_major(q), keys), MASKED)
    return token_major(softmax_average(logits, head_major(without_padding(v, mask))))
