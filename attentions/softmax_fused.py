"""Exact softmax attention by JAX's own function, which calls cuDNN on GPUs."""

from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from lra_bench.attentions._common import without_padding
from lra_bench.attentions._state import all_pairs
from lra_bench.registry import register_attention
from lra_bench.runtime.mesh import compute_capability, sequence_shards

_LARGEST_CUDNN_HEAD = 128
# Since this compute capability, of an A100, GPUs compute in bfloat16, and cuDNN has the kernel.
_AMPERE = (8, 0)


@register_attention("softmax-fused", exact=True, equivariant=True, state=all_pairs)
def softmax_fused(
    q: Float[Array, "b l h d"],
    k: Float[Array, "b l h d"],
    v: Float[Array, "b l h d"],
    mask: Bool[Array, "b l"],
    *,
    causal: bool = False,
) -> Float[Array, "b l h d"]:
    """Compute exact softmax attention by `jax.nn`: Eq. (1) or, if `causal`, Eq. (2).

    On a GPU of compute capability 8.0 or more this is cuDNN's flash attention, with memory
    O(l d), if the dtype is bfloat16 or float16 and d is a multiple of 8 up to 128. Otherwise it is
    compiled by XLA, with memory O(l^2); in float32 if the dtype is bfloat16 and the GPU is older.
    Time O(l^2 d).

    Args:
        causal: whether a token sees only itself and earlier tokens.

    References:
        `jax.nn.dot_product_attention`; Dao et al. 2022, "FlashAttention: Fast and Memory-Efficient
        Exact Attention with IO-Awareness", arXiv:2205.14135; equations as numbered in
        arXiv:2009.14794.
    """
    k, v = without_padding(k, mask), without_padding(v, mask)
    if _cudnn_takes(q):
        return _real_tokens_first(q, k, v, mask, causal=causal, implementation="cudnn")
    wide = (x.astype(_dtype_of_xla(q.dtype)) for x in (q, k, v))
    seen = mask[:, None, None, :]
    out = jax.nn.dot_product_attention(*wide, mask=seen, is_causal=causal, implementation="xla")
    return out.astype(q.dtype)


def _dtype_of_xla(dtype: jnp.dtype) -> jnp.dtype:
    """Return the type in which XLA computes: an old GPU has no products in bfloat16."""
    capability = compute_capability()
    lacks = dtype == jnp.bfloat16 and capability is not None and capability < _AMPERE
    return jnp.dtype(jnp.float32) if lacks else dtype


def _cudnn_takes(q: Array) -> bool:
    """Return whether the device that the program is compiled for has a kernel for the queries."""
    head = q.shape[-1]
    short = q.dtype in (jnp.bfloat16, jnp.float16)
    fits = head % 8 == 0 and head <= _LARGEST_CUDNN_HEAD and sequence_shards() == 1
    return short and fits and (compute_capability() or (0, 0)) >= _AMPERE


def _real_tokens_first(
    q: Float[Array, "b l h d"],
    k: Float[Array, "b l h d"],
    v: Float[Array, "b l h d"],
    mask: Bool[Array, "b l"],
    *,
    causal: bool,
    implementation: Literal["xla", "cudnn"],
) -> Float[Array, "b l h d"]:
    """Compute the attention by the number of real keys, which are brought to the front.

    cuDNN takes no mask of one row, and a mask of all pairs would take memory O(l^2). Attention
    does not depend on the order of keys. If `causal`, queries are brought to the front too:
    real tokens keep their order, so a real query sees the same keys as before. The output of a
    padded query is then zero.

    Args:
        q, k, v: zero where `k` and `v` are padded, so that an example of padding alone gives zero.
        mask: true for real tokens.
        causal: whether a token sees only itself and earlier tokens.
        implementation: of `jax.nn.dot_product_attention`.
    """
    order = jnp.argsort(~mask, axis=1, stable=True)
    length, counts = mask.shape[1], jnp.sum(mask, axis=1, dtype=jnp.int32)
    out = jax.nn.dot_product_attention(
        _even(_reordered(q, order) if causal else q),
        _even(_reordered(k, order)),
        _even(_reordered(v, order)),
        key_value_seq_lengths=jnp.maximum(counts, 1),  # of no key there is no softmax
        is_causal=causal,
        implementation=implementation,
    )[:, :length]
    return without_padding(_reordered(out, jnp.argsort(order, axis=1)), mask) if causal else out


def _reordered(x: Float[Array, "b l h d"], order: Int[Array, "b l"]) -> Float[Array, "b l h d"]:
    """Return the tokens in a new order, in which each of them occurs once."""

    def of_one(tokens: Array, order: Array) -> Array:
        # Indices that are known to differ need no atomic additions in the gradient.
        return tokens.at[order].get(unique_indices=True, mode="promise_in_bounds")

    return jax.vmap(of_one)(x, order)


def _even(x: Float[Array, "b l h d"]) -> Float[Array, "b l2 h d"]:
    """Append a token of zeros if the length is odd: cuDNN's gradient takes even lengths only."""
    return jnp.pad(x, ((0, 0), (0, x.shape[1] % 2), (0, 0), (0, 0)))
