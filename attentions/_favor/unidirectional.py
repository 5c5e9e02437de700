"""Compute causal kernel attention: a state between chunks, masked products within blocks.

A chunk is a row of blocks, which are computed side by side. A block sees earlier blocks only as
sums, so that products of all pairs are needed only within a block.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from lra_bench.attentions._favor.chunks import (
    Plan,
    Residuals,
    cut,
    gain_of,
    gradient_of_parts,
    keys_of,
    no_shift,
    opposite,
    product,
    queries_of,
    raised,
    rescaled,
    usable,
    values_of,
)
from lra_bench.attentions._favor.features import FeatureMap


class PrefixSums(NamedTuple):
    """A state holds sums over the keys before a chunk.

    Attributes:
        shift: the shift of the sums: the largest exponents up to the end of the chunk; None for
            features without exponents.
        weighted: the sum of phi(k_j) v_j^T.
        totals: the sum of phi(k_j).
    """

    shift: Float[Array, "b h 1 m"] | None
    weighted: Float[Array, "b h d m"]
    totals: Float[Array, "b h m"]


def forward(
    features: FeatureMap, plan: Plan, q: Array, k: Array, v: Array, mask: Array, drawn: Any
) -> tuple[Array, Array, PrefixSums]:
    """Return the output in chunks, each query's gain, and the state before each chunk.

    Eq. (11): out_i = phi(q_i)^T G_i / phi(q_i)^T g_i with the prefix sums G_i = sum_{j <= i}
    phi(k_j) v_j^T, g_i = sum_{j <= i} phi(k_j). Prefix sums are formed only before each block.
    The keys of the block itself are added by a masked product of its features.
    """

    def chunk(carry: PrefixSums, x: Any) -> tuple[PrefixSums, Any]:
        q, k, v, mask = x
        key_features = keys_of(features, k, mask, drawn)
        shift = raised(carry.shift, key_features)
        state = PrefixSums(shift, *rescaled(carry.weighted, carry.totals, carry.shift, shift))
        phi_k = _blocks(plan, key_features.shifted(opposite(usable(shift))).value())
        phi_q, largest = queries_of(features, q, usable(shift), drawn)
        phi_q = _blocks(plan, phi_q)
        v = _values(plan, v, mask)
        weighted, totals, after = _before_blocks(state, phi_k, v)
        pairs = _pairs(phi_q, phi_k, v.dtype)
        normaliser = jnp.sum(pairs, -1) + jnp.einsum("bhntm,bhnm->bhnt", phi_q, totals)
        gain = gain_of(plan, normaliser.reshape(largest.shape), largest)
        out = product("bhntm,bhndm->bhntd", phi_q, weighted, v.dtype)
        out += product("bhnts,bhnsd->bhntd", pairs, v, v.dtype)
        out = jnp.swapaxes(_tokens(out) * gain, 1, 2).astype(v.dtype)
        return after, (out, gain, state)

    batch, _, heads, dim = v.shape
    weighted = jnp.zeros((batch, heads, dim, plan.dim), jnp.promote_types(v.dtype, jnp.float32))
    start = PrefixSums(no_shift(plan, k.shape), weighted, weighted[:, :, 0])
    chunks = tuple(cut(x, plan.chunk) for x in (q, k, v, mask))
    out, gain, states = lax.scan(chunk, start, chunks)[1]
    return out, gain, states


def backward(
    features: FeatureMap, plan: Plan, residuals: Residuals, gradient: Array
) -> tuple[Array, Array, Array]:
    """Return the gradients of q, k and v in chunks, computed from the last chunk to the first.

    The carry is the gradient of the state, summed over the queries of later chunks. It is shifted
    by the exponents of the later chunk, which are at least as high as those of this chunk.
    Rescaling the carry to this chunk therefore only shrinks it.
    """
    states = residuals.kept
    last = None if states.shift is None else states.shift[-1]
    start = PrefixSums(last, jnp.zeros_like(states.weighted[0]), jnp.zeros_like(states.totals[0]))
    q, k, v, mask, out = residuals.by_token(plan.chunk)
    chunks = (q, k, v, mask, out, residuals.gain, cut(gradient, plan.chunk), states)
    chunk = functools.partial(_backward_chunk, features, plan, residuals.drawn)
    return lax.scan(chunk, start, chunks, reverse=True)[1]


def _backward_chunk(
    features: FeatureMap, plan: Plan, drawn: Any, carry: PrefixSums, x: Any
) -> tuple[PrefixSums, tuple[Array, Array, Array]]:
    """Return the carry for the chunk before, and the gradients of q, k and v of this chunk."""
    q, k, v, mask, out, gain, gradient, state = x
    later = rescaled(carry.weighted, carry.totals, state.shift, carry.shift)
    shift = usable(state.shift)
    phi_q, pull_q, _ = jax.vjp(lambda q: queries_of(features, q, shift, drawn), q, has_aux=True)
    phi_k, pull_k = jax.vjp(
        lambda k: keys_of(features, k, mask, drawn).shifted(opposite(shift)).value(), k
    )
    phi_q, phi_k, v = _blocks(plan, phi_q), _blocks(plan, phi_k), _values(plan, v, mask)
    parts = gradient_of_parts(plan, gain, out, gradient)
    d_numerator, d_normaliser = (_blocks(plan, part) for part in parts)
    weighted, totals, _ = _before_blocks(state, phi_k, v)
    after, d_weighted, d_totals = _after_blocks(
        PrefixSums(state.shift, *later), phi_q, d_numerator, d_normaliser, v.dtype
    )
    d_pairs = product("bhntd,bhnsd->bhnts", d_numerator, v, v.dtype) + d_normaliser
    d_pairs = _seen(d_pairs)
    d_phi_q = _query_gradients(d_numerator, d_normaliser, d_pairs, phi_k, weighted, totals, v.dtype)
    d_phi_k = _key_gradients(v, d_pairs, phi_q, d_weighted, d_totals)
    dv = _value_gradients(phi_q, phi_k, d_numerator, d_weighted, v.dtype)
    (dq,), (dk,) = pull_q(_tokens(d_phi_q)), pull_k(_tokens(d_phi_k))
    return after, (dq, dk, jnp.swapaxes(_tokens(dv), 1, 2).astype(v.dtype))


def _query_gradients(
    d_numerator: Float[Array, "b h n t d"],
    d_normaliser: Float[Array, "b h n t 1"],
    d_pairs: Float[Array, "b h n t t"],
    phi_k: Float[Array, "b h n t m"],
    weighted: Float[Array, "b h n d m"],
    totals: Float[Array, "b h n m"],
    dtype: Any,
) -> Float[Array, "b h n t m"]:
    """Return the gradients of the query features, from earlier blocks and from the own block."""
    d_phi_q = product("bhntd,bhndm->bhntm", d_numerator, weighted, dtype)
    d_phi_q += product("bhnts,bhnsm->bhntm", d_pairs, phi_k, dtype)
    return d_phi_q + d_normaliser * totals[:, :, :, None]


def _key_gradients(
    v: Float[Array, "b h n t d"],
    d_pairs: Float[Array, "b h n t t"],
    phi_q: Float[Array, "b h n t m"],
    d_weighted: Float[Array, "b h n d m"],
    d_totals: Float[Array, "b h n m"],
) -> Float[Array, "b h n t m"]:
    """Return the gradients of the key features, from later blocks and from the own block."""
    d_phi_k = product("bhnsd,bhndm->bhnsm", v, d_weighted, v.dtype)
    d_phi_k += product("bhnts,bhntm->bhnsm", d_pairs, phi_q, v.dtype)
    return d_phi_k + d_totals[:, :, :, None]


def _value_gradients(
    phi_q: Float[Array, "b h n t m"],
    phi_k: Float[Array, "b h n t m"],
    d_numerator: Float[Array, "b h n t d"],
    d_weighted: Float[Array, "b h n d m"],
    dtype: Any,
) -> Float[Array, "b h n t d"]:
    """Return the gradients of the values, from later blocks and from the own block."""
    dv = product("bhnsm,bhndm->bhnsd", phi_k, d_weighted, dtype)
    pairs = _pairs(phi_q, phi_k, dtype)
    return dv + product("bhnts,bhntd->bhnsd", pairs, d_numerator, dtype)


def _blocks(plan: Plan, x: Float[Array, "b h c m"]) -> Float[Array, "b h n t m"]:
    return x.reshape(*x.shape[:2], -1, plan.block, x.shape[-1])


def _tokens(x: Float[Array, "b h n t m"]) -> Float[Array, "b h c m"]:
    return x.reshape(*x.shape[:2], -1, x.shape[-1])


def _values(plan: Plan, v: Float[Array, "b c h d"], mask: Array) -> Float[Array, "b h n t d"]:
    """Return the values in blocks, zero at padding."""
    return _blocks(plan, values_of(v, mask))


def _pairs(phi_q: Array, phi_k: Array, dtype: Any) -> Float[Array, "b h n t t"]:
    """Return phi(q_i)^T phi(k_j) for j <= i within a block, and 0 for j > i."""
    return _seen(product("bhntm,bhnsm->bhnts", phi_q, phi_k, dtype))


def _seen(pairs: Float[Array, "b h n t t"]) -> Float[Array, "b h n t t"]:
    return jnp.where(jnp.tri(pairs.shape[-1], dtype=bool), pairs, 0)


def _before_blocks(
    state: PrefixSums, phi_k: Float[Array, "b h n t m"], v: Float[Array, "b h n t d"]
) -> tuple[Float[Array, "b h n d m"], Float[Array, "b h n m"], PrefixSums]:
    """Return the sums before each block, and the state after the chunk."""
    sums = product("bhntd,bhntm->bhndm", v, phi_k, v.dtype)
    weighted, last = _running(state.weighted, sums)
    totals, last_total = _running(state.totals, jnp.sum(phi_k, axis=3))
    return weighted, totals, PrefixSums(state.shift, last, last_total)


def _after_blocks(
    later: PrefixSums, phi_q: Array, d_numerator: Array, d_normaliser: Array, dtype: Any
) -> tuple[PrefixSums, Float[Array, "b h n d m"], Float[Array, "b h n m"]]:
    """Return the gradients of the state before the chunk, and of the sums with each block's keys.

    A key of a block is in the sums before every later block, so each block gets the gradients
    from all later queries.
    """
    sums = product("bhntd,bhntm->bhndm", d_numerator, phi_q, dtype)
    totals = jnp.einsum("bhntm,bhnt->bhnm", phi_q, d_normaliser[..., 0])
    weighted, first = _running(later.weighted, sums[:, :, ::-1])
    totals, first_total = _running(later.totals, totals[:, :, ::-1])
    return PrefixSums(later.shift, first, first_total), weighted[:, :, ::-1], totals[:, :, ::-1]


def _running(start: Array, parts: Float[Array, "b h n *x"]) -> tuple[Array, Array]:
    """Return the running sums before each part (start, start + part 0, ...), and the last sum."""
    sums = [start]
    for index in range(parts.shape[2]):
        sums.append(sums[-1] + parts[:, :, index])
    return jnp.stack(sums[:-1], axis=2), sums[-1]
