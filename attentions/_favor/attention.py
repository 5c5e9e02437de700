"""Kernel attention, D^-1 (Q' ((K')^T V)), in time and memory linear in the length.

Features are many times larger than queries and keys, so they are never written out: tokens go
through in chunks whose features stay in cache, and the backward pass makes them again. That pass
is written by hand, since differentiating the loop would store every chunk's features.
"""

import functools
from typing import Any

import jax
from jaxtyping import Array, Bool, Float

from lra_bench.attentions._favor import bidirectional, sharded, unidirectional
from lra_bench.attentions._favor.chunks import Plan, Residuals, join, padded
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
    causal: bool = False,
    renormalize: bool = True,
) -> Float[Array, "b l h d"]:
    """Eq. (4) of the Performer paper or, if `causal`, its Eq. (11), Section 2.5.1 and App. B.1.

    Exponents of features are shifted before they are exponentiated: each feature by its largest
    exponent over the real keys (those up to the chunk's last, if causal) and the queries by the
    opposite, then each query by its own largest. All cancels between numerator and normaliser,
    which is thereby never below 1 where no factor is (but for causal queries whose every key is
    e^-69 times weaker than a later one of their chunk: these get 0). So no epsilon is needed.

    Where the mesh of devices has an axis "sequence", each device keeps its tokens and the sums
    over keys are added up by one all-reduce (`sharded`); causal attention is then left to XLA.

    Time O(l m d), causal O(l m d + l c m) with chunks of c. Memory O(l d + m d), backward too.

    Args:
        q, k, v: queries, keys and values.
        mask: True where a token is real.
        features: the feature map.
        drawn: what `features` projects by; not differentiated.
        causal: whether a token sees itself and those before it only.
        renormalize: whether to divide by the normaliser D. If not, this is Q' ((K')^T V), the
            sum of the kernel's values times V; queries without a real key get 0 either way.
    """
    attend = functools.partial(_in_chunks, features, causal, renormalize)
    count = 1 if causal else sequence_shards()
    if count == 1:
        return attend(None, q, k, v, mask, drawn)
    length = q.shape[1]
    q, k, v, mask = (padded(x, -length % count) for x in (q, k, v, mask))
    whole = sharded.over_tokens(functools.partial(attend, SEQUENCE))
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
    """Attention where the tokens given are all, or all that this device has of them."""
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
    way = unidirectional if plan.causal else bidirectional
    out, gain, kept = way.forward(features, plan, q, k, v, mask, drawn)
    out = join(out)
    return out, Residuals(q, k, v, mask, drawn, out, gain, kept)


def _backward(
    features: FeatureMap, plan: Plan, residuals: Residuals, gradient: Array
) -> tuple[Array, Array, Array, None, None]:
    way = unidirectional if plan.causal else bidirectional
    dq, dk, dv = map(join, way.backward(features, plan, residuals, gradient))
    return dq, dk, dv, None, None


_attend: Any = jax.custom_vjp(_primal, nondiff_argnums=(0, 1))
_attend.defvjp(_forward, _backward)
