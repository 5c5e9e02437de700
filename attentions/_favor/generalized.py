"""Generalized attention: kernel attention with other kernels than that of softmax."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Key

from lra_bench.attentions._favor.attention import kernel_attention
from lra_bench.attentions._favor.features import generalized_features
from lra_bench.attentions._favor.projections import PROJECTIONS
from lra_bench.contracts import Dims


class GeneralizedAttention(nnx.Module):
    """Compute kernel attention with `generalized_features`, whose arguments it takes."""

    def __init__(
        self,
        dims: Dims,
        kernel: str,
        *,
        num_features: int,
        epsilon: float,
        projection: str,
        renormalize: bool,
        causal: bool,
        rngs: nnx.Rngs,
    ) -> None:
        self.features = generalized_features(kernel, projection, num_features, epsilon)
        self.shape = (num_features, dims.head_dim)
        self.renormalize, self.causal, self.kind = renormalize, causal, projection
        # The features of `exp` lack the factor 1 / sqrt(m).
        self.lacks_factor = kernel == "exp"
        if projection != "none":
            self.projection = nnx.Variable(PROJECTIONS[projection].draw(rngs(), *self.shape))

    def resample(self, key: Key[Array, ""]) -> None:
        """Draw new projections, if there are any."""
        if self.kind != "none":
            self.projection[...] = PROJECTIONS[self.kind].draw(key, *self.shape)

    def __call__(
        self,
        q: Float[Array, "b l h d"],
        k: Float[Array, "b l h d"],
        v: Float[Array, "b l h d"],
        mask: Bool[Array, "b l"],
    ) -> Float[Array, "b l h d"]:
        """Compute generalized attention of `q` over the real `k` and `v`."""
        if self.lacks_factor and not self.renormalize:
            v = v / jnp.asarray(q.shape[-1] if self.kind == "none" else self.shape[0], v.dtype)
        return kernel_attention(
            q,
            k,
            v,
            mask,
            self.features,
            None if self.kind == "none" else self.projection[...],
            causal=self.causal,
            renormalize=self.renormalize,
        )
