"""Compute causal kernel attention where exponents differ too much for one shift per chunk.

`unidirectional` shifts each feature of all keys of a chunk by one number. A query whose keys are
much weaker than a later key of the chunk then loses digits, and in the end all of them. Here the
keys that a query sees are split into sets that hold no later key, and each set has a shift of its
own. The sets are the keys of earlier blocks, the query's own key and, for s = 1, 2, 4, ... up to
half a block, the left half of a segment of 2 s tokens, if the query is in the right half.

With blocks of t tokens this takes log2(t) + 2 times as many exponentials as one shift does.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from lra_bench.attentions._common import MASKED, wide
from lra_bench.attentions._favor.chunks import (
    Plan,
    PrefixSums,
    gain_of,
    keys_of,
    lifted,
    opposite,
    over_chunks,
    padded,
    product,
    raised,
    usable,
    values_of,
)
from lra_bench.attentions._favor.features import FeatureMap, Features


class Part(NamedTuple):
    """A part holds each query's sums over one set of keys, divided by exp(largest).

    Attributes:
        numerator: the sum of phi(q_i)^T phi(k_j) v_j.
        normaliser: the sum of phi(q_i)^T phi(k_j).
        largest: the largest exponent of the products; about `MASKED` if the set is empty.
    """

    numerator: Float[Array, "b h t d"]
    normaliser: Float[Array, "b h t 1"]
    largest: Float[Array, "b h t 1"]


def attend(
    features: FeatureMap,
    plan: Plan,
    drawn: Any,
    before: PrefixSums,
    q: Float[Array, "b c h d"],
    k: Float[Array, "b c h d"],
    v: Float[Array, "b c h d"],
    mask: Bool[Array, "b c"],
) -> tuple[PrefixSums, Float[Array, "b c h d"]]:
    """Return the sums after a chunk and its output, given the sums over the keys before it."""
    length = q.shape[1]
    block = 1 << (plan.block - 1).bit_length()
    tokens = tuple(padded(x, -length % block) for x in (q, k, v, mask))
    step = functools.partial(_block, features, plan, drawn)
    after, (out,), _ = over_chunks(step, before, tokens, block)
    return after, out[:, :length]


def _block(
    features: FeatureMap, plan: Plan, drawn: Any, before: PrefixSums, tokens: Any, _: None
) -> tuple[PrefixSums, tuple[Array], None]:
    """Return the sums after a block and its output."""
    q, k, v, mask = tokens
    queries = features(wide(jnp.swapaxes(q, 1, 2)), drawn)
    keys, values = keys_of(features, k, mask, drawn), values_of(v, mask)
    # The features of only one set are in memory at a time, also in the backward pass.
    add = jax.checkpoint(functools.partial(_add, queries, keys, values), prevent_cse=False)
    total, _ = lax.scan(add, _earlier(before, queries, v.dtype), _sets(q.shape[1]))
    out = total.numerator * gain_of(plan, total.normaliser, total.largest)
    return _after(before, keys, values), (jnp.swapaxes(out, 1, 2).astype(v.dtype),), None


def _after(before: PrefixSums, keys: Features, values: Float[Array, "b h t d"]) -> PrefixSums:
    """Add the keys of a block to the sums before it."""
    shift = raised(before.shift, keys)
    phi = keys.shifted(opposite(usable(shift))).value()
    _, weighted, totals = before.shifted_to(shift)
    weighted += product("bhtd,bhtm->bhdm", values, phi, values.dtype)
    return PrefixSums(shift, weighted, totals + jnp.sum(phi, axis=2))


def _earlier(before: PrefixSums, queries: Features, dtype: Any) -> Part:
    """Return the sums over the keys of earlier blocks."""
    phi, largest = lifted(queries, before.shift)
    numerator = product("bhtm,bhdm->bhtd", phi, before.weighted, dtype)
    return Part(numerator, jnp.einsum("bhtm,bhm->bht", phi, before.totals)[..., None], largest)


class Sets(NamedTuple):
    """For each token of a block, the set of keys that its query sees.

    Attributes:
        seen: whether key j is in the set of query i.
        peak: the row of `_peaks` with the largest exponents of the set that query i sees and,
            for a key, of the set that holds it.
    """

    seen: Bool[np.ndarray, "s t t"]
    peak: Int[np.ndarray, "s t"]


def _sets(block: int) -> Sets:
    """Return the own keys, then the left halves of segments of 2, 4, ..., `block` tokens."""
    tokens = np.arange(block)
    seen, peak, row = [np.eye(block, dtype=bool)], [tokens], 0
    for level in range(block.bit_length() - 1):
        half = tokens >> level
        seen.append((half[:, None] == half + 1) & (half[:, None] % 2 == 1))
        peak.append(row + half // 2 * 2)
        row += block >> level
    return Sets(np.stack(seen), np.stack(peak))


def _peaks(keys: Features) -> Float[Array, "b h p m"]:
    """Return the largest exponents of each token, of each 2 tokens, of each 4, and so on."""
    assert keys.exponent is not None
    levels = [lax.stop_gradient(keys.exponent)]
    while levels[-1].shape[2] > 1:
        last = levels[-1]
        levels.append(jnp.maximum(last[:, :, ::2], last[:, :, 1::2]))
    return jnp.concatenate(levels, axis=2)


def _add(
    queries: Features, keys: Features, values: Float[Array, "b h t d"], total: Part, sets: Any
) -> tuple[Part, None]:
    """Add the sums over one set of keys for each query."""
    seen, peak = sets
    shift = jnp.take(_peaks(keys), peak, axis=2, mode="clip")
    phi_q, largest = lifted(queries, shift)
    of_a_set = jnp.any(seen, axis=0)[:, None]
    phi_k = keys.where(of_a_set).shifted(opposite(usable(shift))).value()
    pairs = jnp.where(seen, product("bhtm,bhsm->bhts", phi_q, phi_k, values.dtype), 0)
    numerator = product("bhts,bhsd->bhtd", pairs, values, values.dtype)
    largest = jnp.where(jnp.any(seen, axis=1)[:, None], largest, MASKED)
    return _plus(total, Part(numerator, jnp.sum(pairs, axis=-1, keepdims=True), largest)), None


def _plus(one: Part, other: Part) -> Part:
    """Add two parts, rescaled to the larger of their largest exponents."""
    largest = jnp.maximum(one.largest, other.largest)
    a, b = jnp.exp(one.largest - largest), jnp.exp(other.largest - largest)
    return Part(
        one.numerator * a + other.numerator * b,
        one.normaliser * a + other.normaliser * b,
        largest,
    )
