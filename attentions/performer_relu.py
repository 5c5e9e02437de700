"""Performer with the ReLU kernel: generalized attention."""

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jaxtyping import Array, Bool, Float, Key

from lra_bench.attentions._common import (
    head_major,
    kernel_attention,
    token_major,
    without_padding,
)
from lra_bench.attentions._random_features import orthogonal_gaussian
from lra_bench.dims import Dims
from lra_bench.registry import register_attention


@register_attention("performer-relu", equivariant=True)
class PerformerRelu(nnx.Module):
    """Generalized attention with the ReLU kernel, in Eq. (4).

    phi(x) = relu(W x) / sqrt(m) + epsilon: Eq. (5) with h = 1, f = ReLU and W of orthogonal
    Gaussian rows, plus the paper's kernel epsilon.
    Time O(l m d), memory O(l m + m d).

    Args:
        dims: sizes.
        num_features: m, the number of random features.
        epsilon: kernel epsilon, keeps every feature positive (1e-3 in the paper).
        rngs: draws the features.

    References:
        Choromanski et al. 2021, arXiv:2009.14794, Section 2.2, Appendix A.4 and D.3.
    """

    def __init__(
        self,
        dims: Dims,
        *,
        num_features: int = 256,
        epsilon: float = 1e-3,
        rngs: nnx.Rngs,
    ) -> None:
        self.epsilon = epsilon
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
        """Generalized attention of `q` over the real `k` and `v`."""
        phi_q = self._features(q)
        phi_k = self._features(without_padding(k, mask))
        phi_k = jnp.where(mask[:, None, :, None], phi_k, 0)
        values = head_major(without_padding(v, mask))
        return token_major(kernel_attention(phi_q.astype(v.dtype), phi_k.astype(v.dtype), values))

    def _features(self, x: Float[Array, "b l h d"]) -> Float[Array, "b h l m"]:
        dtype = jnp.promote_types(x.dtype, jnp.float32)
        projection = self.projection[...].astype(dtype) * self.projection.shape[0] ** -0.5
        projected = jnp.einsum(
            "bhld,md->bhlm",
            head_major(x).astype(dtype),
            projection,
            precision=lax.Precision.HIGHEST,
        )
        return jax.nn.relu(projected) + self.epsilon
