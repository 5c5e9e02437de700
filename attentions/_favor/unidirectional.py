"""Compute causal kernel attention: a state between chunks, masked products within blocks.

A chunk is a row of blocks, which are computed side by side. A block sees earlier blocks only as
sums, so that products of all pairs are needed only within a block.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from lra_bench.attentions._common import wide_dtype
from lra_bench.attentions._favor import halving
from lra_bench.attentions._favor.chunks import (
    Plan,
    PrefixSums,
    Residuals,
    gain_of,
    gradient_of_parts,
    is_weak,
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
from lra_bench.runtime.flops import uncounted


class Kept(NamedTuple):
    """The values of the chunks that the backward pass needs.

    Attributes:
        before: the sums over the keys before each chunk.
        shift: the largest exponent of each feature up to the end of each chunk; None for features
            without exponents.
        largest: each query's largest exponent.
        weak: whether this shift is too large for a query of its chunk, as in `is_weak`.
    """

    before: PrefixSums
    shift: Float[Array, "n b h 1 m"] | None
    largest: Float[Array, "n b h c 1"]
    weak: Bool[Array, ""]


def forward(
    features: FeatureMap, plan: Plan, q: Array, k: Array, v: Array, mask: Array, drawn: Any
) -> tuple[Array, Array, Kept]:
    """Return the output, each query's gain, and what the backward pass needs.

    Eq. (11): out_i = phi(q_i)^T G_i / phi(q_i)^T g_i with the prefix sums G_i = sum_{j <= i}
    phi(k_j) v_j^T, g_i = sum_{j <= i} phi(k_j). Prefix sums are formed only before each block.
    The keys of the block itself are added by a masked product of its features. If one shift per
    chunk turns out to be too coarse, `halving` computes the output again.
    """
    batch, _, heads, dim = v.shape
    weighted = jnp.zeros((batch, heads, dim, plan.dim), wide_dtype(v))
    start = PrefixSums(no_shift(plan, k.shape), weighted, weighted[:, :, 0])
    chunk = functools.partial(_forward_chunk, features, plan, drawn)
    _, (out,), stacked = over_chunks(chunk, start, (q, k, v, mask), plan.chunk)
    gain, kept = stacked
    kept = kept._replace(weak=jnp.any(kept.weak))
    if plan.exponential:
        halved = functools.partial(_halved, features, plan, drawn)
        x = out, kept.before, q, k, v, mask
        out = lax.cond(kept.weak, uncounted(halved), lambda x: x[0], x)
    return out, gain, kept


def _halved(features: FeatureMap, plan: Plan, drawn: Any, x: Any) -> Array:
    """Return the output, computed by `halving`."""
    _, before, *tokens = x

    def chunk(carry: None, chunk: Any, before: PrefixSums) -> Any:
        return carry, (halving.attend(features, plan, drawn, before, *chunk)[1],), None

    return over_chunks(chunk, None, tuple(tokens), plan.chunk, before)[1][0]


def _forward_chunk(
    features: FeatureMap, plan: Plan, drawn: Any, before: PrefixSums, chunk: Any, _: None
) -> tuple[PrefixSums, tuple[Array], Any]:
    """Return the sums after a chunk, and the chunk's output, gain and residuals."""
    q, k, v, mask = chunk
    key_features = keys_of(features, k, mask, drawn)
    shift = raised(before.shift, key_features)
    phi_k = _blocks(plan, key_features.shifted(opposite(usable(shift))).value())
    phi_q, largest = queries_of(features, q, usable(shift), drawn)
    phi_q = _blocks(plan, phi_q)
    v = _values(plan, v, mask)
    weighted, totals, after = _before_blocks(before.shifted_to(shift), phi_k, v)
    pairs = _pairs(phi_q, phi_k, v.dtype)
    normaliser = jnp.sum(pairs, -1) + jnp.einsum("bhntm,bhnm->bhnt", phi_q, totals)
    normaliser = normaliser.reshape(largest.shape)
    gain = gain_of(plan, normaliser, largest)
    out = product("bhntm,bhndm->bhntd", phi_q, weighted, v.dtype)
    out += product("bhnts,bhnsd->bhntd", pairs, v, v.dtype)
    out = jnp.swapaxes(_tokens(out) * gain, 1, 2).astype(v.dtype)
    weak = is_weak(plan, normaliser[..., 0], largest[..., 0], mask)
    return after, (out,), (gain, Kept(before, shift, largest, weak))


def backward(
    features: FeatureMap, plan: Plan, residuals: Residuals, gradient: Array
) -> tuple[Array, Array, Array]:
    """Return the gradients of q, k and v, computed from the last chunk to the first.

    The carry is the gradient of the sums after the chunk, over the queries of all later chunks.
    """
    q, k, v, mask, drawn, out, gain, kept = residuals
    before = kept.before
    start = jnp.zeros_like(before.weighted[0]), jnp.zeros_like(before.totals[0])
    x = (q, k, v, mask, out, gradient), (gain, kept._replace(weak=None))

    def by(chunk: Any) -> Any:
        chunk = functools.partial(chunk, features, plan, drawn)
        return lambda x: over_chunks(chunk, start, x[0], plan.chunk, x[1], reverse=True)[1]

    if not plan.exponential:
        return by(_backward_chunk)(x)
    return lax.cond(kept.weak, uncounted(by(_backward_halved)), by(_backward_chunk), x)


def _backward_halved(
    features: FeatureMap, plan: Plan, drawn: Any, carry: Any, chunk: Any, kept: Any
) -> tuple[tuple[Array, Array], tuple[Array, Array, Array], None]:
    """Return what `_backward_chunk` returns, for outputs that `halving` computed."""
    q, k, v, mask, _, gradient = chunk
    before = kept[1].before

    def attend(weighted: Array, totals: Array, q: Array, k: Array, v: Array) -> Any:
        sums = PrefixSums(before.shift, weighted, totals)
        after, out = halving.attend(features, plan, drawn, sums, q, k, v, mask)
        return (after.weighted, after.totals), out

    pull = jax.vjp(attend, before.weighted, before.totals, q, k, v)[1]
    d_weighted, d_totals, *gradients = pull((carry, gradient))
    return (d_weighted, d_totals), tuple(gradients), None


def _backward_chunk(
    features: FeatureMap, plan: Plan, drawn: Any, carry: Any, chunk: Any, kept: Any
) -> tuple[tuple[Array, Array], tuple[Array, Array, Array], None]:
    """Return the carry for the chunk before, and the gradients of q, k and v of this chunk."""
    q, k, v, mask, out, gradient = chunk
    gain, (before, end, largest, _) = kept
    shift = usable(end)
    phi_q, pull_q = jax.vjp(lambda q: queries_of(features, q, shift, drawn, largest)[0], q)
    phi_k, pull_k = jax.vjp(
        lambda k: keys_of(features, k, mask, drawn).shifted(opposite(shift)).value(), k
    )
    phi_q, phi_k, v = _blocks(plan, phi_q), _blocks(plan, phi_k), _values(plan, v, mask)
    parts = gradient_of_parts(plan, gain, out, gradient)
    d_numerator, d_normaliser = (_blocks(plan, part) for part in parts)
    weighted, totals, _ = _before_blocks(before.shifted_to(end), phi_k, v)
    first, d_weighted, d_totals = _after_blocks(carry, phi_q, d_numerator, d_normaliser, v.dtype)
    d_pairs = product("bhntd,bhnsd->bhnts", d_numerator, v, v.dtype) + d_normaliser
    d_pairs = _seen(d_pairs)
    d_phi_q = _query_gradients(d_numerator, d_normaliser, d_pairs, phi_k, weighted, totals, v.dtype)
    d_phi_k = _key_gradients(v, d_pairs, phi_q, d_weighted, d_totals)
    dv = _value_gradients(phi_q, phi_k, d_numerator, d_weighted, v.dtype)
    (dq,), (dk,) = pull_q(_tokens(d_phi_q)), pull_k(_tokens(d_phi_k))
    # The sums before the chunk were rescaled to its shift, so their gradients are too.
    earlier = rescaled(*first, before.shift, end)
    return earlier, (dq, dk, jnp.swapaxes(_tokens(dv), 1, 2).astype(v.dtype)), None


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
    d_phi_k += product("bhnst,bhntm->bhnsm", jnp.swapaxes(d_pairs, 3, 4), phi_q, v.dtype)
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
    pairs = product("bhnsm,bhntm->bhnst", phi_k, phi_q, dtype)
    pairs = jnp.where(jnp.tri(pairs.shape[-1], dtype=bool).T, pairs, 0)
    return dv + product("bhnst,bhntd->bhnsd", pairs, d_numerator, dtype)


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
    before: PrefixSums, phi_k: Float[Array, "b h n t m"], v: Float[Array, "b h n t d"]
) -> tuple[Float[Array, "b h n d m"], Float[Array, "b h n m"], PrefixSums]:
    """Return the sums before each block, and those after the chunk."""
    sums = product("bhndt,bhntm->bhndm", jnp.swapaxes(v, 3, 4), phi_k, v.dtype)
    weighted, last = _running(before.weighted, sums)
    totals, last_total = _running(before.totals, jnp.sum(phi_k, axis=3))
    return weighted, totals, PrefixSums(before.shift, last, last_total)


def _after_blocks(
    later: tuple[Array, Array],
    phi_q: Array,
    d_numerator: Array,
    d_normaliser: Array,
    dtype: Any,
) -> tuple[tuple[Array, Array], Float[Array, "b h n d m"], Float[Array, "b h n m"]]:
    """Return the gradients of the state before the chunk, and of the sums with each block's keys.

    A key of a block is in the sums before every later block, so each block gets the gradients
    from all later queries.
    """
    sums = product("bhndt,bhntm->bhndm", jnp.swapaxes(d_numerator, 3, 4), phi_q, dtype)
    totals = jnp.einsum("bhntm,bhnt->bhnm", phi_q, d_normaliser[..., 0])
    weighted, first = _running(later[0], sums, backwards=True)
    totals, first_total = _running(later[1], totals, backwards=True)
    return (first, first_total), weighted, totals


def _running(
    start: Array, parts: Float[Array, "b h n *x"], *, backwards: bool = False
) -> tuple[Float[Array, "b h n *x"], Array]:
    """Return the running sums before each part (start, start + part 0, ...), and the last sum.

    Backwards they are the sums of the later parts. No array is reversed for that: the compiler for
    TPUs in jax 0.10.2 aborts on some of such programs.
    """
    count = parts.shape[2]
    before: list[Array] = [start] * count
    for index in reversed(range(count)) if backwards else range(count):
        before[index], start = start, start + parts[:, :, index]
    return jnp.stack(before, axis=2), start
