"""Performer: softmax attention by positive orthogonal random features (FAVOR+)."""

from typing import Literal

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Key

from lra_bench.attentions._common import check_count
from lra_bench.attentions._favor import kernel_attention
from lra_bench.attentions._favor.features import softmax_features
from lra_bench.attentions._favor.projections import PROJECTIONS
from lra_bench.attentions._state import random_features
from lra_bench.contracts import Dims
from lra_bench.registry import register_attention


@register_attention("performer-softmax", equivariant=True, family="kernel", state=random_features)
class PerformerSoftmax(nnx.Module):
    """Approximate softmax attention by positive orthogonal random features (FAVOR+).

    The softmax kernel is estimated without bias, then put into Eq. (4):
    SM(x, y) = E[exp(w^T x - |x|^2 / 2) exp(w^T y - |y|^2 / 2)], w ~ N(0, I_d), Lemma 1, with
    x = q / d^(1/4), y = k / d^(1/4).

    Queries and keys may have any norm: see `kernel_attention`.
    Time O(l m d), memory O(l d + m d).
    Backward, the causal form also keeps l m d / c numbers, with chunks of c tokens
    (128 on CPUs, more on other devices).

    Args:
        dims: sizes of the model.
        num_features: m, the number of random projections. `hyperbolic` and `trigonometric` make
            two features from each projection.
        estimator: the estimator of the softmax kernel: SM+, SMhyp+ (both Lemma 1) or SMtrig
            (Section 2.3). SMtrig is neither positive nor stable.
        projection: rows that are orthogonal within blocks of d rows (R-ORF), made of Hadamard
            matrices (H-ORF) or of Givens rotations (G-ORF), both of Appendix B.2, or independent.
        regularized: whether all rows have length sqrt(d), which gives the kernel SMREG of
            Theorem 1. That kernel is biased. With `hadamard` this needs a d that is a power of two;
            otherwise rows have that length before they are cut to d features.
        renormalize: whether to divide by the normaliser, as softmax does; if not, exponents above
            60 count as 60, so that all is finite.
        causal: whether a token sees only itself and earlier tokens.
        rngs: draws the projections.

    References:
        Choromanski et al. 2021, arXiv:2009.14794.
    """

    def __init__(
        self,
        dims: Dims,
        *,
        num_features: int = 256,
        estimator: Literal["positive", "hyperbolic", "trigonometric"] = "positive",
        projection: Literal["orthogonal", "hadamard", "givens", "iid"] = "orthogonal",
        regularized: bool = False,
        renormalize: bool = True,
        causal: bool = False,
        rngs: nnx.Rngs,
    ) -> None:
        check_count(num_features=num_features)
        self.features = softmax_features(estimator, projection, num_features)
        self.kind, self.num_features, self.dim = projection, num_features, dims.head_dim
        self.regularized, self.renormalize, self.causal = regularized, renormalize, causal
        self.projection = nnx.Variable(self._draw(rngs()))

    def resample(self, key: Key[Array, ""]) -> None:
        """Draw new projections."""
        self.projection[...] = self._draw(key)

    def __call__(
        self,
        q: Float[Array, "b l h d"],
        k: Float[Array, "b l h d"],
        v: Float[Array, "b l h d"],
        mask: Bool[Array, "b l"],
    ) -> Float[Array, "b l h d"]:
        """Approximate softmax attention of `q` over the real `k` and `v`."""
        if not self.renormalize:
            v = v / jnp.asarray(self.num_features, v.dtype)
        return kernel_attention(
            q,
            k,
            v,
            mask,
            self.features,
            self.projection[...],
            causal=self.causal,
            renormalize=self.renormalize,
        )

    def _draw(self, key: Key[Array, ""]) -> Array:
        projection = PROJECTIONS[self.kind]
        drawn = projection.draw(key, self.num_features, self.dim)
        return projection.regular(drawn) if self.regularized else drawn
