"""Efficient attention: one softmax over features and one over tokens."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from lra_bench.attentions._common import (
    MASKED,
    head_major,
    summed,
    token_major,
    wide,
    without_padding,
)
from lra_bench.attentions._state import Options, kernel_sums
from lra_bench.contracts import Dims
from lra_bench.registry import register_attention


def _state(dims: Dims, options: Options) -> int:
    """Return the averages of the values, one for each of d features."""
    del options
    return kernel_sums(dims, dims.head_dim, normaliser=False)


@register_attention("efficient", equivariant=True, family="kernel", state=_state)
def efficient(
    q: Float[Array, "b l h d"],
    k: Float[Array, "b l h d"],
    v: Float[Array, "b l h d"],
    mask: Bool[Array, "b l"],
) -> Float[Array, "b l h d"]:
    """Compute softmax_d(Q) (softmax_l(K)^T V), with softmaxes over features and over tokens.

    Each feature of the keys is a distribution over the real tokens; the paper and its authors' code
    for images have no padding. Queries and keys are not scaled, as in the paper.
    Time O(l d^2), memory O(l d + d^2).

    References:
        Shen et al. 2021, "Efficient Attention: Attention with Linear Complexities",
        arXiv:1812.01243, with its softmax normalisation.
    """
    real = mask[:, None, :, None]
    queries = jax.nn.softmax(wide(head_major(q)), axis=-1)
    keys = jnp.where(real, wide(head_major(without_padding(k, mask))), MASKED)
    keys = jax.nn.softmax(keys, axis=2)
    values = head_major(without_padding(v, mask))
    context = summed("bhlf,bhld->bhfd", keys.astype(v.dtype), values)
    out = summed("bhlf,bhfd->bhld", queries.astype(v.dtype), context.astype(v.dtype))
    return token_major(out).astype(v.dtype)
