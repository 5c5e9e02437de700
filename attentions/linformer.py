"""Linformer: keys and values projected along the sequence to a fixed length."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from lra_bench.attentions._common import (
    dot_products,
    head_major,
    softmax_average,
    token_major,
    without_padding,
)
from lra_bench.dims import Dims
from lra_bench.registry import register_attention


@register_attention("linformer")
class Linformer(nnx.Module):
    """softmax(Q (E K)^T / sqrt(d)) (F V), Eq. (7) of Wang et al.

    E and F, learned, of shape (num_projected, max_len), are shared by the heads of a layer.
    Padded keys and values are zero before they are projected, and a sequence shorter than
    `max_len` uses the first columns only.
    Time O(l k d), memory O(l k), with k = `num_projected`.

    Args:
        dims: sizes.
        num_projected: k, the length that keys and values are projected to; `max_len` at most.
        rngs: initialises E and F, each element N(0, 1/k).

    Raises:
        ValueError: in the call, for a sequence longer than `max_len`.

    References:
        Wang et al. 2020, arXiv:2006.04768.
    """

    def __init__(self, dims: Dims, *, num_projected: int = 256, rngs: nnx.Rngs) -> None:
        self.max_len = dims.max_len
        shape = (dims.max_len, min(num_projected, dims.max_len))
        init = nnx.initializers.normal(shape[1] ** -0.5)
        self.key_projection = nnx.Param(init(rngs.params(), shape))
        self.value_projection = nnx.Param(init(rngs.params(), shape))

    def __call__(
        self,
        q: Float[Array, "b l h d"],
        k: Float[Array, "b l h d"],
        v: Float[Array, "b l h d"],
        mask: Bool[Array, "b l"],
    ) -> Float[Array, "b l h d"]:
        """Attend to the projected keys and values."""
        if q.shape[1] > self.max_len:
            raise ValueError(f"linformer built for {self.max_len} tokens got {q.shape[1]}")
        keys = self._shorten(without_padding(k, mask), self.key_projection[...])
        values = self._shorten(without_padding(v, mask), self.value_projection[...])
        logits = dot_products(head_major(q) * q.shape[-1] ** -0.5, keys)
        return token_major(softmax_average(logits, values))

    def _shorten(
        self, x: Float[Array, "b l h d"], projection: Float[Array, "max_len k"]
    ) -> Float[Array, "b h k d"]:
        used = projection[: x.shape[1]].astype(x.dtype)
        return jnp.einsum("blhd,lk->bhkd", x, used)
