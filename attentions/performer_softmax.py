"""Performer: softmax attention by positive orthogonal random features (FAVOR+)."""

import jax.numpy as jnp
from flax import nnx
from jax import lax
from jaxtyping import Array, Bool, Float, Key

from lra_bench.attentions._common import (
    MASKED,
    head_major,
    kernel_attention,
    token_major,
    without_padding,
)
from lra_bench.attentions._random_features import orthogonal_gaussian
from lra_bench.dims import Dims
from lra_bench.registry import register_attention


@register_attention("performer-softmax", equivariant=True)
class PerformerSoftmax(nnx.Module):
    """FAVOR+: unbiased softmax attention by positive orthogonal random features.

    SM(x, y) = E[exp(w^T x - |x|^2 / 2) exp(w^T y - |y|^2 / 2)], w ~ N(0, I_d), Lemma 1, with
    x = q / d^(1/4), y = k / d^(1/4), put into Eq. (4).

    Exponents are shifted before they are exponentiated: each feature by its largest exponent
    over the real keys (and the queries by the opposite), then each query by its own largest.
    Both shifts, and the queries' |x|^2 / 2, cancel between numerator and normaliser, which is
    thereby never below 1: no epsilon is needed at any norm.
    Time O(l m d), memory O(l m + m d).

    Args:
        dims: sizes.
        num_features: m, the number of random features.
        rngs: draws the features.

    References:
        Choromanski et al. 2021, arXiv:2009.14794.
    """

    def __init__(self, dims: Dims, *, num_features: int = 256, rngs: nnx.Rngs) -> None:
        self.projection = nnx.Variable(orthogonal_gaussian(rngs(), num_features, dims.head_dim))

    def resample(self, key: Key[Array, ""]) -> None:
        """Draw new features."""
        self.projection[...] = orthogonal_gaussian(key, *self.projection.shape)

    def __call__(
        self,
        q: Float[Array, "b l h d"],
        k: Float[Array, "b l h d"],
        v: Float[Array, "b l h d"],
        mask: Bool[Array, "b l"],
    ) -> Float[Array, "b l h d"]:
        """Approximate softmax attention of `q` over the real `k` and `v`."""
        scale = q.shape[-1] ** -0.25
        k = without_padding(k, mask)
        keys = self._project(k, scale)
        half_norms = jnp.sum(jnp.square(head_major(k).astype(keys.dtype) * scale), -1) / 2
        keys = jnp.where(mask[:, None, :, None], keys - half_norms[..., None], MASKED)
        largest = lax.stop_gradient(jnp.max(keys, axis=2, keepdims=True))
        queries = self._project(q, scale) + jnp.where(largest == MASKED, 0, largest)
        queries -= lax.stop_gradient(jnp.max(queries, axis=3, keepdims=True))
        phi_q = jnp.exp(queries).astype(v.dtype)
        phi_k = jnp.where(mask[:, None, :, None], jnp.exp(keys - largest), 0).astype(v.dtype)
        return token_major(kernel_attention(phi_q, phi_k, head_major(without_padding(v, mask))))

    def _project(self, x: Float[Array, "b l h d"], scale: float) -> Float[Array, "b h l m"]:
        """w^T x for every feature, in float32 or better: exponents of exp need the digits."""
        dtype = jnp.promote_types(x.dtype, jnp.float32)
        projection = self.projection[...].astype(dtype) * scale
        return jnp.einsum(
            "bhld,md->bhlm",
            head_major(x).astype(dtype),
            projection,
            precision=lax.Precision.HIGHEST,
        )
