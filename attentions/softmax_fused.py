"""Exact softmax attention by JAX's own function, which calls cuDNN on GPUs."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from lra_bench.attentions._common import without_padding
from lra_bench.registry import register_attention

_LARGEST_CUDNN_HEAD = 128


@register_attention("softmax-fused", exact=True, equivariant=True)
def softmax_fused(
    q: Float[Array, "b l h d"],
    k: Float[Array, "b l h d"],
    v: Float[Array, "b l h d"],
    mask: Bool[Array, "b l"],
    *,
    causal: bool = False,
) -> Float[Array, "b l h d"]:
    """Compute exact softmax attention by `jax.nn`: Eq. (1) or, if `causal`, Eq. (2).

    On a GPU this is cuDNN's flash attention, with memory O(l d), if the dtype is bfloat16 or
    float16 and d is a multiple of 8 up to 128. Otherwise it is compiled by XLA, with memory
    O(l^2).
    Time O(l^2 d).

    References:
        `jax.nn.dot_product_attention`; Dao et al. 2022, arXiv:2205.14135; equations as numbered
        in arXiv:2009.14794.
    """
    return jax.nn.dot_product_attention(
        q,
        without_padding(k, mask),
        without_padding(v, mask),
        mask=mask[:, None, None, :],
        is_causal=causal,
        implementation="cudnn" if _cudnn_takes(q) else "xla",
    )


def _cudnn_takes(q: Array) -> bool:
    head = q.shape[-1]
    short = q.dtype in (jnp.bfloat16, jnp.float16)
    fits = head % 8 == 0 and head <= _LARGEST_CUDNN_HEAD
    return jax.default_backend() == "gpu" and short and fits
