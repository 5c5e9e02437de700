"""Sums over earlier tokens that decay by a gate of each token, in chunks."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lra_bench.attentions._common import MASKED, summed


def in_chunks(x: Float[Array, "b l h ..."], chunk: int) -> Float[Array, "b h n c ..."]:
    """Cut tokens into chunks, after zeros up to a whole number of them."""
    rest = -x.shape[1] % chunk
    x = jnp.pad(x, ((0, 0), (0, rest), *((0, 0) for _ in x.shape[2:])))
    return jnp.moveaxis(x.reshape(x.shape[0], -1, chunk, *x.shape[2:]), 3, 1)


def out_of_chunks(x: Float[Array, "b h n c d"], length: int) -> Float[Array, "b l h d"]:
    """Undo `in_chunks`."""
    x = jnp.moveaxis(x, 1, 3)
    return x.reshape(x.shape[0], -1, *x.shape[3:])[:, :length]


def ratios(totals: Float[Array, "... c"]) -> Float[Array, "... c c"]:
    """Return exp(total_i - total_j) where j <= i, and 0 where j > i.

    With totals of logarithms of gates up to each token of a chunk, it is by how much what token j
    wrote has decayed at token i. Gates are at most 1, so nothing overflows.
    """
    chunk = totals.shape[-1]
    exponents = totals[..., :, None] - totals[..., None, :]
    return jnp.exp(jnp.where(jnp.tri(chunk, dtype=bool), exponents, MASKED))


def gated_sums(
    q: Float[Array, "b l h d"],
    k: Float[Array, "b l h d"],
    v: Float[Array, "b l h e"],
    log_gate: Float[Array, "b l h"],
    chunk: int,
    own: float = 1.0,
) -> Float[Array, "b l h e"]:
    """Return q_i S_i with S_i = exp(log_gate_i) S_(i-1) + k_i v_i^T, in chunks.

    A chunk's tokens are added up by products of matrices, and a scan carries the sum S from chunk
    to chunk. Time O(l d (c + e)), memory O(l (c + d e / c)), with chunks of c = `chunk` tokens.

    Args:
        q, k, v: queries, keys and values; keys or values at padding are zero.
        log_gate: logarithms of the gates, at most 0.
        chunk: tokens of a chunk; at most the length is used.
        own: the factor of a token's own key and value.
    """
    length = q.shape[1]
    chunk = min(chunk, length)
    queries, keys, values, gates = (in_chunks(x, chunk) for x in (q, k, v, log_gate))
    totals = jnp.cumsum(gates, axis=-1)
    weights = summed("bhnid,bhnjd->bhnij", queries, keys) * ratios(totals)
    weights *= jnp.where(jnp.eye(chunk, dtype=bool), own, 1.0)
    before = _sums_before(totals, keys, values)
    decayed = queries * jnp.exp(totals)[..., None]
    out = summed("bhnij,bhnje->bhnie", weights, values)
    out += summed("bhnid,nbhde->bhnie", decayed, before)
    return out_of_chunks(out, length)


def _sums_before(
    totals: Float[Array, "b h n c"], keys: Float[Array, "b h n c d"], values: Array
) -> Float[Array, "n b h d e"]:
    """Return the sum S before each chunk."""
    last = totals[..., -1:]
    decayed = keys * jnp.exp(last - totals)[..., None]
    added = summed("bhnjd,bhnje->nbhde", decayed, values)
    factors = jnp.moveaxis(jnp.exp(last), 2, 0)[..., None]

    def step(state: Array, chunk: tuple[Array, Array]) -> tuple[Array, Array]:
        factor, addition = chunk
        return factor * state + addition, state

    return jax.lax.scan(step, jnp.zeros_like(added[0]), (factors, added))[1]
