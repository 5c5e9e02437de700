"""Linformer: keys and values projected along the sequence to a fixed length."""

from typing import Literal

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
from lra_bench.contracts import Dims
from lra_bench.registry import register_attention


@register_attention("linformer")
class Linformer(nnx.Module):
    """softmax(Q (E K)^T / sqrt(d)) (F V), Eq. (7) of Wang et al.

    E and F are learned, of shape (max_len, num_projected) for each head or for all of a layer.
    Padded keys and values are zero before they are projected, and a sequence shorter than
    `max_len` uses the first columns only.
    Time O(l k d), memory O(l k), with k = `num_projected`.

    Args:
        dims: sizes.
        num_projected: k, the length that keys and values are projected to; `max_len` at most.
        sharing: "headwise": E and F serve all heads of a layer; "key-value": so does E, and F = E;
            "none": each head has its own. Section 4 of the paper, which uses `headwise` in Eq. (7)
            and finds all alike.
        rngs: initialises E and F, each element N(0, 1/k).

    Raises:
        ValueError: in the call, for a sequence longer than `max_len`.

    References:
        Wang et al. 2020, arXiv:2006.04768.
    """

    def __init__(
        self,
        dims: Dims,
        *,
        num_projected: int = 256,
        sharing: Literal["headwise", "key-value", "none"] = "headwise",
        rngs: nnx.Rngs,
    ) -> None:
        self.max_len = dims.max_len
        length = min(num_projected, dims.max_len)
        heads = dims.num_heads if sharing == "none" else 1
        init = nnx.initializers.normal(length**-0.5)
        shape = (heads, dims.max_len, length)
        self.key_projection = nnx.Param(init(rngs.params(), shape))
        self.value_projection = (
            None if sharing == "key-value" else nnx.Param(init(rngs.params(), shape))
        )

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
        of_values = self.value_projection or self.key_projection
        keys = _shortened(without_padding(k, mask), self.key_projection[...])
        values = _shortened(without_padding(v, mask), of_values[...])
        logits = dot_products(head_major(q), keys)
        return token_major(softmax_average(logits, values))


def _shortened(
    x: Float[Array, "b l h d"], projection: Float[Array, "h_or_1 max_len k"]
) -> Float[Array, "b h k d"]:
    used = projection[:, : x.shape[1]].astype(x.dtype)
    return jnp.einsum("blhd,hlk->bhkd", x, jnp.broadcast_to(used, (x.shape[2], *used.shape[1:])))
