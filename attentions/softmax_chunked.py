"""Exact softmax attention in chunks, which never forms the matrix of all pairs."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from lra_bench.attentions._common import MASKED, check_count, dot_products, wide_dtype
from lra_bench.attentions._softmax_by_head import softmax_by_head
from lra_bench.attentions._state import all_pairs
from lra_bench.registry import register_attention
from lra_bench.runtime.mesh import one_device, platform


@register_attention("softmax-chunked", exact=True, equivariant=True, state=all_pairs)
def softmax_chunked(
    q: Float[Array, "b l h d"],
    k: Float[Array, "b l h d"],
    v: Float[Array, "b l h d"],
    mask: Bool[Array, "b l"],
    *,
    chunk_size: int = 512,
    causal: bool = False,
) -> Float[Array, "b l h d"]:
    """Compute exact softmax attention with an online softmax: Eq. (1) or, if `causal`, Eq. (2).

    For each chunk of queries, the chunks of keys are folded one by one into a running maximum,
    normaliser and sum. The backward pass recomputes the weights from the stored log-sum-exps.
    Chunks of keys that a causal query cannot see are skipped. On one CPU, attention that is not
    causal takes one head after the other instead, and all keys at once: see `softmax_by_head`.
    Time O(l^2 d), memory O(l (d + c)), also backward, with chunks of c = `chunk_size` tokens.

    Args:
        chunk_size: c, tokens of a chunk.
        causal: whether a token sees only itself and earlier tokens.

    References:
        Rabe and Staats 2021, "Self-attention Does Not Need O(n^2) Memory", arXiv:2112.05682; the
        backward pass as in Dao et al. 2022, "FlashAttention: Fast and Memory-Efficient Exact
        Attention with IO-Awareness", arXiv:2205.14135; equations as numbered in arXiv:2009.14794.
    """
    check_count(chunk_size=chunk_size)
    if platform() == "cpu" and one_device() and not causal:
        return softmax_by_head(q, k, v, mask, chunk_size)
    length = q.shape[1]
    count = -(-length // chunk_size)
    chunk = -(-length // count)
    fill = ((0, 0), (0, count * chunk - length), (0, 0), (0, 0))
    real = jnp.pad(mask, fill[:2])
    queries, keys, values = (_cut(jnp.pad(x, fill), chunk) for x in (q, k, v))
    out = _attend(causal, queries, keys, values, _cut(real, chunk))
    return jnp.moveaxis(out, (0, 3), (1, 2)).reshape(q.shape[0], -1, *q.shape[2:])[:, :length]


def _cut(x: Array, chunk: int) -> Array:
    """Cut (b, n c, h, d) into chunks (n, b, h, c, d), or a mask (b, n c) into (n, b, 1, c, 1)."""
    x = x.reshape(x.shape[0], -1, chunk, *(x.shape[2:] or (1, 1)))
    return jnp.moveaxis(x, (1, 3), (0, 2))


def _primal(causal: bool, q: Array, k: Array, v: Array, real: Array) -> Array:
    """Return the output in chunks, (n, b, h, c, d), from inputs in chunks."""
    return _forward(causal, q, k, v, real)[0]


def _logits(q: Array, k: Array, real: Array, offset: Array | None) -> Array:
    """Return the logits of a chunk of queries against a chunk of keys, (b, h, c, c).

    `offset` is the distance from the first key to the first query, in tokens; None if every query
    sees every key.
    """
    logits = dot_products(q, jnp.where(real, k, 0))
    seen = jnp.swapaxes(real, 2, 3)
    if offset is not None:
        position = jnp.arange(q.shape[2])
        seen = seen & (position[:, None] + offset >= position)
    return jnp.where(seen, logits, MASKED)


def _forward(causal: bool, q: Array, k: Array, v: Array, real: Array) -> tuple[Array, Any]:
    """Return the output in chunks, and the residuals of the backward pass."""
    numbers, chunk = jnp.arange(q.shape[0]), q.shape[3]

    def rows(x: tuple[Array, Array]) -> tuple[Array, Array]:
        row, q = x

        def fold(carry: Any, x: Any) -> Any:
            column, k, v, real = x
            largest, total, out = carry
            offset = (row - column) * chunk if causal else None
            logits = _logits(q, k, real, offset)
            higher = jnp.maximum(largest, jnp.max(logits, axis=-1, keepdims=True))
            weights, scale = jnp.exp(logits - higher), jnp.exp(largest - higher)
            total = total * scale + jnp.sum(weights, axis=-1, keepdims=True)
            out = out * scale + _product("bhqk,bhkd->bhqd", weights, jnp.where(real, v, 0))
            return higher, total, out

        start = jnp.full((*q.shape[:3], 1), MASKED, wide_dtype(q))
        start = (start, jnp.zeros_like(start), jnp.zeros(q.shape, wide_dtype(q)))
        step = _unless_later(causal, row, fold)
        (largest, total, out), _ = lax.scan(step, start, (numbers, k, v, real))
        return (out / total).astype(v.dtype), largest + jnp.log(total)

    out, totals = lax.map(rows, (numbers, q))
    return out, (q, k, v, real, out, totals)


def _product(equation: str, a: Array, b: Array) -> Array:
    dtype = min(a.dtype, b.dtype, key=lambda dtype: dtype.itemsize)
    a, b = a.astype(dtype), b.astype(dtype)
    return jnp.einsum(equation, a, b, preferred_element_type=wide_dtype(a))


def _unless_later(causal: bool, row: Array, fold: Any) -> Any:
    """Make a scan step of `fold`; if `causal`, it skips the chunks of keys after the queries'."""

    def step(carry: Any, x: Any) -> tuple[Any, None]:
        if not causal:
            return fold(carry, x), None
        return lax.cond(x[0] <= row, fold, lambda carry, _: carry, carry, x), None

    return step


def _backward(causal: bool, residuals: Any, gradient: Array) -> tuple[Array, Array, Array, None]:
    """Return the gradients of q, k and v, in chunks; the mask has none."""
    q, k, v, real, out, totals = residuals
    numbers, (chunk, dim) = jnp.arange(q.shape[0]), q.shape[3:]
    inner = jnp.sum(gradient.astype(wide_dtype(q)) * out, axis=-1, keepdims=True)

    def columns(dq: Array, x: Any) -> tuple[Array, Any]:
        column, k, v, real = x
        k, v = jnp.where(real, k, 0), jnp.where(real, v, 0)

        def pair(carry: Any, x: Any) -> tuple[Any, Array]:
            row, q, gradient, inner, totals = x
            dk, dv = carry
            logits = _logits(q, k, real, (row - column) * chunk if causal else None)
            weights = jnp.where(logits == MASKED, 0, jnp.exp(logits - totals))
            dv += _product("bhqd,bhqk->bhdk", gradient, weights)
            d_weights = _product("bhqd,bhkd->bhqk", gradient, v)
            d_logits = weights * (d_weights - inner) * dim**-0.5
            dk += _product("bhqd,bhqk->bhdk", q, d_logits)
            return (dk, dv), _product("bhqk,bhkd->bhqd", d_logits, k)

        def step(carry: Any, x: Any) -> tuple[Any, Array]:
            if not causal:
                return pair(carry, x)
            no_gradient = jnp.zeros(q.shape[1:], wide_dtype(q))
            return lax.cond(x[0] >= column, pair, lambda c, _: (c, no_gradient), carry, x)

        zero = jnp.zeros((*k.shape[:2], dim, chunk), wide_dtype(k))
        (dk, dv), parts = lax.scan(step, (zero, zero), (numbers, q, gradient, inner, totals))
        return dq + parts, tuple(jnp.swapaxes(x, 2, 3).astype(k.dtype) for x in (dk, dv))

    start = jnp.zeros(q.shape, wide_dtype(q))
    dq, (dk, dv) = lax.scan(columns, start, (numbers, k, v, real))
    return dq.astype(q.dtype), dk, dv, None


_attend: Any = jax.custom_vjp(_primal, nondiff_argnums=(0,))
_attend.defvjp(_forward, _backward)
