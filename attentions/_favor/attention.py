"""Compute kernel attention, D^-1 (Q' ((K')^T V)), in time and memory linear in the length.

Features are many times larger than queries and keys, so they are never all in memory. Tokens are
processed in chunks whose features stay in cache, and the backward pass computes the features
again. The backward pass is written by hand, because differentiating the loop would store the
features of every chunk.
"""

import functools
from typing import Any

import jax
from jaxtyping import Array, Bool, Float

from lra_bench.attentions._favor import bidirectional, sharded, unidirectional
from lra_bench.attentions._favor.chunks import Plan, Residuals, padded
from lra_bench.attentions._favor.features import FeatureMap
from lra_bench.runtime.mesh import SEQUENCE, sequence_shards


def kernel_attention(
    q: Float[Array, "b l h d"],
    k: Float[Array, "b l h d"],
    v: Float[Array, "b l h d"],
    mask: Bool[Array, "b l"],
    features: FeatureMap,
    drawn: Any = None,
    *,
    own: bool = False,
    causal: bool = False,
    renormalize: bool = True,
) -> Float[Array, "b l h d"]:
    """Compute Eq. (4) of the Performer paper or, if `causal`, Eq. (11), Section 2.5.1, App. B.1.

    Exponents are shifted before they are exponentiated. First each feature of the keys is shifted
    down by its largest exponent over the real keys (if causal, over the keys up to the end of the
    chunk), and the same feature of the queries is shifted up by as much. Then each query is
    shifted down by its own largest exponent. The shifts cancel between numerator and normaliser.
    For features without a factor the normaliser is therefore at least 1, and no epsilon is
    needed. In a causal chunk a later key can be so much stronger that the normaliser of a query
    falls below 1e-20. The whole call is then computed by `halving`, in about four times the time.

    If the mesh of devices has an axis "sequence", each device keeps its own tokens, and one
    all-reduce adds up the sums over keys (`sharded`). Causal attention is then left to XLA.

    Time O(l m d), causal O(l m d + l c m) with chunks of c. Memory O(l d + m d), also backward,
    but causal O(l d + l m d / c) backward, because the sums before each chunk are kept.

    Args:
        q, k, v: queries, keys and values.
        mask: True where a token is real.
        features: the feature map.
        drawn: the projections for `features`; not differentiated.
        own: whether every example has its own projections: arrays (b, ...) in `drawn`.
        causal: whether a token sees only itself and earlier tokens.
        renormalize: whether to divide by the normaliser D. Without it the result is
            Q' ((K')^T V), the sum of the kernel's values times V, where exponents above 60 count
            as 60. Queries without a real key get 0 in either case.
    """
    attend = functools.partial(_in_chunks, features, causal, renormalize)
    count = 1 if causal else sequence_shards()
    if count == 1:
        return attend(None, q, k, v, mask, drawn)
    length = q.shape[1]
    q, k, v, mask = (padded(x, -length % count) for x in (q, k, v, mask))
    whole = sharded.over_tokens(functools.partial(attend, SEQUENCE), own=own)
    return whole(q, k, v, mask, drawn)[:, :length]


def _in_chunks(
    features: FeatureMap,
    causal: bool,
    renormalize: bool,
    axis: str | None,
    q: Array,
    k: Array,
    v: Array,
    mask: Array,
    drawn: Any,
) -> Array:
    """Attend over the given tokens: all tokens, or the share of them that this device has."""
    plan = Plan.of(q.shape, features, drawn, causal=causal, renormalize=renormalize, axis=axis)
    if plan.padding:
        q, k, v, mask = (padded(x, plan.padding) for x in (q, k, v, mask))
    return _attend(features, plan, q, k, v, mask, drawn)[:, : plan.length]


def _primal(
    features: FeatureMap, plan: Plan, q: Array, k: Array, v: Array, mask: Array, drawn: Any
) -> Array:
    return _forward(features, plan, q, k, v, mask, drawn)[0]


def _forward(
    features: FeatureMap, plan: Plan, q: Array, k: Array, v: Array, mask: Array, drawn: Any
) -> tuple[Array, Residuals]:
    module = unidirectional if plan.causal else bidirectional
    out, gain, kept = module.forward(features, plan, q, k, v, mask, drawn)
    return out, Residuals(q, k, v, mask, drawn, out, gain, kept)


def _backward(
    features: FeatureMap, plan: Plan, residuals: Residuals, gradient: Array
) -> tuple[Array, Array, Array, None, None]:
    module = unidirectional if plan.causal else bidirectional
    dq, dk, dv = module.backward(features, plan, residuals, gradient)
    return dq, dk, dv, None, None


_attend: Any = jax.custom_vjp(_primal, nondiff_argnums=(0, 1))
_attend.defvjp(_forward, _backward)
