"""Linear attention with the feature map elu(x) + 1."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from lra_bench.attentions._common import (
    MASKED,
    head_major,
    kernel_attention,
    token_major,
    without_padding,
)
from lra_bench.registry import register_attention


def _scaled_features(
    x: Float[Array, "b h l d"], log_scale: Float[Array, "b h l_or_1 d"]
) -> Float[Array, "b h l d"]:
    """(elu(x) + 1) exp(log_scale): elu(x) + 1 is exp(min(x, 0)) (1 + max(x, 0))."""
    return jnp.exp(jnp.minimum(x, 0) + log_scale) * (1 + jnp.maximum(x, 0))


@register_attention("linear", equivariant=True)
def linear(
    q: Float[Array, "b l h d"],
    k: Float[Array, "b l h d"],
    v: Float[Array, "b l h d"],
    mask: Bool[Array, "b l"],
) -> Float[Array, "b l h d"]:
    """Kernel attention with phi(x) = elu(x) + 1, Eqs. (4) to (7) of Katharopoulos et al.

    Each feature of the keys is scaled by its largest value over the real keys and the queries'
    by its inverse, then each query by its own largest; both cancel between numerator and
    normaliser, so that inputs far below zero don't underflow to 0 / 0.
    Time O(l d^2), memory O(l d + d^2).

    References:
        Katharopoulos et al. 2020, arXiv:2006.16236.
    """
    dtype = jnp.promote_types(q.dtype, jnp.float32)
    real = mask[:, None, :, None]
    queries = head_major(q).astype(dtype)
    keys = head_major(without_padding(k, mask)).astype(dtype)
    log_keys = jnp.where(real, jnp.minimum(keys, 0), MASKED)
    largest = lax.stop_gradient(jnp.max(log_keys, axis=2, keepdims=True))
    largest = jnp.where(largest == MASKED, 0, largest)
    peak = jnp.max(jnp.minimum(queries, 0) + largest, axis=3, keepdims=True)
    phi_q = _scaled_features(queries, largest - lax.stop_gradient(peak))
    phi_k = jnp.where(real, _scaled_features(keys, -largest), 0)
    values = head_major(without_padding(v, mask))
    return token_major(kernel_attention(phi_q.astype(v.dtype), phi_k.astype(v.dtype), values))
