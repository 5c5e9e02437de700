"""Exact softmax attention for CPUs: one head after the other, a chunk of queries at a time."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from lra_bench.attentions._common import (
    head_major,
    summed,
    token_major,
    wide,
    wide_dtype,
    without_padding,
)

# The weights of a chunk of queries are at most so many, or those of the fewest queries. They then
# stay in a CPU's cache between the operations of a chunk.
_WEIGHTS = 2**19
_FEWEST = 32


def softmax_by_head(
    q: Float[Array, "b l h d"],
    k: Float[Array, "b l h d"],
    v: Float[Array, "b l h d"],
    mask: Bool[Array, "b l"],
    chunk_size: int,
) -> Float[Array, "b l h d"]:
    """Compute Eq. (1), softmax(Q K^T / sqrt(d)) V, with the weights of one chunk in memory.

    The backward pass computes the weights again from the largest logit of each query and the
    logarithm of its sum, which are kept apart, as their sum would lose digits. Padded keys repeat a
    real key, so that they change no maximum and no pass over the weights is needed to mask them.
    Their values count 0.
    Time O(l^2 d), memory O(l (d + c)), also backward, with chunks of c queries.

    Args:
        q, k, v: queries, keys and values.
        mask: True where a token is real.
        chunk_size: the largest number of queries in a chunk.
    """
    length = q.shape[1]
    most = min(chunk_size, max(_FEWEST, _WEIGHTS // length))
    count = -(-length // most)
    padding = -length % count
    queries = jnp.pad(q, ((0, 0), (0, padding), (0, 0), (0, 0)))
    return _attend(count, queries, k, v, mask)[:, :length]


def _primal(count: int, q: Array, k: Array, v: Array, mask: Array) -> Array:
    return _forward(count, q, k, v, mask)[0]


def _forward(count: int, q: Array, k: Array, v: Array, mask: Array) -> tuple[Array, Any]:
    """Return the output (b, n c, h, d), and the residuals of the backward pass."""
    scale = q.shape[-1] ** -0.5

    def head(x: Any) -> tuple[Array, tuple[Array, Array]]:
        queries, keys, values, real = x

        def chunk(q: Float[Array, "c d"]) -> tuple[Array, tuple[Array, Array]]:
            logits = summed("qd,dk->qk", q, keys)
            largest = jnp.max(logits, axis=1)
            weights = jnp.exp((logits - largest[:, None]) * scale)
            total = jnp.maximum(weights @ real, jnp.finfo(real.dtype).tiny)
            out = summed("qk,kd->qd", weights.astype(values.dtype), values) / total[:, None]
            return out.astype(values.dtype), (largest, jnp.log(total))

        return lax.map(chunk, queries)

    real = jnp.repeat(mask.astype(wide_dtype(q)), q.shape[2], axis=0)
    keys = jnp.swapaxes(_heads(_repeated(k, mask)), 1, 2)
    values = _heads(without_padding(v, mask))
    out, totals = lax.map(head, (_chunks(q, count), keys, values, real))
    out = _tokens(out, q)
    return out, (q, k, v, mask, out, totals)


def _repeated(k: Array, mask: Array) -> Array:
    """Put the first real key in place of padded keys; zeros if no key is real."""
    first = jnp.take_along_axis(k, jnp.argmax(mask, axis=1)[:, None, None, None], axis=1)
    any_real = jnp.any(mask, axis=1)[:, None, None, None]
    return jnp.where(mask[:, :, None, None], k, jnp.where(any_real, first, 0))


def _heads(x: Float[Array, "b l h d"]) -> Float[Array, "n l d"]:
    """Return each head of each example."""
    return head_major(x).reshape(-1, x.shape[1], x.shape[3])


def _chunks(x: Float[Array, "b l h d"], count: int) -> Float[Array, "n count c d"]:
    """Return the chunks of each head of each example."""
    return head_major(x).reshape(x.shape[0] * x.shape[2], count, -1, x.shape[3])


def _tokens(x: Array, like: Float[Array, "b l h d"]) -> Float[Array, "b l h d"]:
    """Undo `_heads` or `_chunks`."""
    batch, _, heads, dim = like.shape
    return token_major(x.reshape(batch, heads, -1, dim))


def _transposed(x: Float[Array, "c d"]) -> Float[Array, "d c"]:
    """Return the transposed matrix, which XLA may not replace by a slower product of columns."""
    return lax.optimization_barrier(x.T)


def _backward(count: int, residuals: Any, gradient: Array) -> tuple[Array, Array, Array, None]:
    """Return the gradients of q, k and v; the mask has none."""
    q, k, v, mask, out, totals = residuals
    scale = q.shape[-1] ** -0.5
    inner = jnp.sum(wide(gradient) * wide(out), axis=-1, keepdims=True)

    def head(x: Any) -> tuple[Array, Array, Array]:
        *rows, repeated, keys, values = x

        def chunk(sums: tuple[Array, Array], x: Any) -> tuple[Any, Array]:
            q, gradient, inner, (largest, total) = x
            dk, dv = sums
            logits = summed("qd,dk->qk", q, repeated)
            weights = jnp.exp((logits - largest[:, None]) * scale - total[:, None])
            d_weights = summed("qd,dk->qk", gradient, values)
            d_logits = (weights * (d_weights - inner)).astype(q.dtype)
            dv += summed("dq,qk->dk", _transposed(gradient), weights.astype(v.dtype))
            dk += summed("dq,qk->dk", _transposed(q), d_logits)
            return (dk, dv), summed("qk,kd->qd", d_logits, keys)

        zero = jnp.zeros(repeated.shape, wide_dtype(q))
        (dk, dv), dq = lax.scan(chunk, (zero, zero), tuple(rows))
        return (dq * scale).astype(q.dtype), (dk.T * scale).astype(k.dtype), dv.T.astype(v.dtype)

    rows = (*(_chunks(x, count) for x in (q, gradient, inner)), totals)
    repeated = jnp.swapaxes(_heads(_repeated(k, mask)), 1, 2)
    keys = _heads(without_padding(k, mask))
    values = jnp.swapaxes(_heads(without_padding(v, mask)), 1, 2)
    dq, dk, dv = lax.map(head, (*rows, repeated, keys, values))
    dk, dv = (without_padding(_tokens(x, k), mask) for x in (dk, dv))
    return _tokens(dq, q), dk, dv, None


_attend: Any = jax.custom_vjp(_primal, nondiff_argnums=(0,))
_attend.defvjp(_forward, _backward)
