"""Let every query attend to every key, by a loop over chunks of keys, then of queries."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from lra_bench.attentions._common import wide_dtype
from lra_bench.attentions._favor.chunks import (
    Plan,
    Residuals,
    gain_of,
    gradient_of_parts,
    keys_of,
    no_shift,
    opposite,
    over_chunks,
    product,
    queries_of,
    raised,
    rescaled,
    usable,
    values_of,
)
from lra_bench.attentions._favor.features import FeatureMap
from lra_bench.attentions._favor.sharded import added, of_all


def forward(
    features: FeatureMap, plan: Plan, q: Array, k: Array, v: Array, mask: Array, drawn: Any
) -> tuple[Array, Array, Any]:
    """Return the output, each query's gain, and the sums for the backward pass."""
    shift, weighted, totals = _summarise(features, plan, k, v, mask, drawn)

    def queries(carry: None, chunk: Any, _: None) -> Any:
        (q,) = chunk
        phi, largest = queries_of(features, q, shift, drawn)
        gain = gain_of(plan, jnp.einsum("bhcm,bhm->bhc", phi, totals)[..., None], largest)
        out = product("bhcm,bhdm->bhcd", phi, weighted, v.dtype) * gain
        return carry, (jnp.swapaxes(out, 1, 2).astype(v.dtype),), (gain, largest)

    _, (out,), (gain, largest) = over_chunks(queries, None, (q,), plan.chunk)
    return out, gain, (largest, shift, weighted, totals)


def _summarise(
    features: FeatureMap, plan: Plan, k: Array, v: Array, mask: Array, drawn: Any
) -> tuple[Array | None, Array, Array]:
    """Return the shift of each feature, (K')^T V as (b, h, d, m), and (K')^T 1 as (b, h, m)."""

    def keys(carry: Any, chunk: Any, kept: None) -> Any:
        shift, weighted, totals = carry
        k, v, mask = chunk
        key_features = keys_of(features, k, mask, drawn)
        higher = raised(shift, key_features)
        weighted, totals = rescaled(weighted, totals, shift, higher)
        phi = key_features.shifted(opposite(higher)).value()
        v = values_of(v, mask)
        weighted += product("bhdc,bhcm->bhdm", jnp.swapaxes(v, 2, 3), phi, v.dtype)
        return (higher, weighted, totals + jnp.sum(phi, axis=2)), (), kept

    batch, _, heads, dim = v.shape
    dtype = wide_dtype(v)
    weighted = jnp.zeros((batch, heads, dim, plan.dim), dtype)
    start = (no_shift(plan, k.shape), weighted, weighted[:, :, 0])
    (shift, weighted, totals), _, _ = over_chunks(keys, start, (k, v, mask), plan.chunk)
    shift, weighted, totals = of_all(plan, shift, weighted, totals)
    return usable(shift), weighted, totals


def backward(
    features: FeatureMap, plan: Plan, residuals: Residuals, gradient: Array
) -> tuple[Array, Array, Array]:
    """Return the gradients of q, k and v."""
    q, k, v, mask, drawn, out, gain, (largest, shift, weighted, totals) = residuals

    def queries(carry: Any, chunk: Any, kept: Any) -> Any:
        d_weighted, d_totals = carry
        (q, out, gradient), (gain, largest) = chunk, kept
        phi, pull = jax.vjp(lambda q: queries_of(features, q, shift, drawn, largest)[0], q)
        d_numerator, d_normaliser = gradient_of_parts(plan, gain, out, gradient)
        d_phi = product("bhcd,bhdm->bhcm", d_numerator, weighted, v.dtype)
        d_weighted += product("bhdc,bhcm->bhdm", jnp.swapaxes(d_numerator, 2, 3), phi, v.dtype)
        d_totals += jnp.einsum("bhcm,bhc->bhm", phi, d_normaliser[..., 0])
        return (d_weighted, d_totals), pull(d_phi + d_normaliser * totals[:, :, None]), None

    def keys(carry: None, chunk: Any, kept: None) -> Any:
        k, v, mask = chunk
        phi, pull = jax.vjp(
            lambda k: keys_of(features, k, mask, drawn).shifted(opposite(shift)).value(), k
        )
        v = values_of(v, mask)
        d_phi = product("bhcd,bhdm->bhcm", v, d_weighted, v.dtype)
        dv = product("bhcm,bhdm->bhcd", phi, d_weighted, v.dtype)
        (dk,) = pull(d_phi + d_totals[:, :, None])
        return carry, (dk, jnp.swapaxes(dv, 1, 2).astype(v.dtype)), kept

    start = (jnp.zeros_like(weighted), jnp.zeros_like(totals))
    sums, (dq,), _ = over_chunks(queries, start, (q, out, gradient), plan.chunk, (gain, largest))
    d_weighted, d_totals = added(plan, *sums)
    _, (dk, dv), _ = over_chunks(keys, None, (k, v, mask), plan.chunk, into=(out, gradient))
    return dq, dk, dv
