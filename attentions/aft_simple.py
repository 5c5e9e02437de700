"""AFT-simple: attention free of products between queries and keys."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from lra_bench.attentions._common import MASKED, wide_dtype, without_padding
from lra_bench.attentions._state import Options
from lra_bench.contracts import Dims
from lra_bench.registry import register_attention


def _state(dims: Dims, options: Options) -> int:
    """Return one average of the values; if causal, also its weight, which a token adds to."""
    return dims.inner * (2 if options["causal"] else 1)


@register_attention("aft-simple", equivariant=True, family="kernel", state=_state)
def aft_simple(
    q: Float[Array, "b l h d"],
    k: Float[Array, "b l h d"],
    v: Float[Array, "b l h d"],
    mask: Bool[Array, "b l"],
    *,
    causal: bool = False,
) -> Float[Array, "b l h d"]:
    """Compute sigmoid(q_t) * sum_s softmax_s(k_s) * v_s, where * is elementwise: AFT-simple.

    It is the attention free Transformer of Section 3.2 of the paper without its position biases.
    The softmax of each feature is over the real tokens s or, if `causal`, over those up to t. There
    are no products of tokens, so heads make no difference.
    Time O(l d), memory O(l d).

    Args:
        causal: whether a token sees only itself and earlier tokens.

    References:
        Zhai et al. 2021, "An Attention Free Transformer", arXiv:2105.14103.
    """
    dtype = wide_dtype(v)
    real = mask[:, :, None, None]
    logits = jnp.where(real, k.astype(dtype), MASKED)
    values = without_padding(v, mask).astype(dtype)
    average = _running_average(logits, values) if causal else _average(logits, values)
    return (jax.nn.sigmoid(q.astype(dtype)) * average).astype(v.dtype)


def _average(
    logits: Float[Array, "b l h d"], values: Float[Array, "b l h d"]
) -> Float[Array, "b 1 h d"]:
    """Return the average of the values over tokens, with a softmax of its own for each feature.

    `jax.nn.softmax` over this axis takes 20 times as long on CPUs.
    """
    largest = lax.stop_gradient(jnp.max(logits, axis=1, keepdims=True))
    weights = jnp.exp(logits - largest)
    weighted = jnp.sum(weights * values, axis=1, keepdims=True)
    return weighted / jnp.sum(weights, axis=1, keepdims=True)


def _running_average(
    logits: Float[Array, "b l h d"], values: Float[Array, "b l h d"]
) -> Float[Array, "b l h d"]:
    """Return the averages over the tokens up to each token.

    Parts of the sequence are added as an online softmax adds them, by a parallel scan.
    """
    one = jnp.ones_like(values)
    _, total, weighted = lax.associative_scan(_joined, (logits, one, values), axis=1)
    return weighted / total


def _joined(one: tuple[Array, ...], other: tuple[Array, ...]) -> tuple[Array, ...]:
    """Add the sums over two parts, divided by the exponential of each part's largest logit."""
    largest = lax.stop_gradient(jnp.maximum(one[0], other[0]))
    a, b = jnp.exp(one[0] - largest), jnp.exp(other[0] - largest)
    return largest, one[1] * a + other[1] * b, one[2] * a + other[2] * b
