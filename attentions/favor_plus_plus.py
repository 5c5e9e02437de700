"""FAVOR++: softmax attention by optimal positive random features."""

from typing import Annotated, Literal

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Key

from lra_bench.attentions._common import check_count
from lra_bench.attentions._favor import kernel_attention
from lra_bench.attentions._favor.optimal import (
    Rows,
    exponential_features,
    mean_size_of_sum,
    optimal_square,
)
from lra_bench.attentions._favor.projections import PROJECTIONS
from lra_bench.attentions._state import Options, kernel_sums
from lra_bench.contracts import Dims, Range
from lra_bench.registry import register_attention


def _state(dims: Dims, options: Options) -> int:
    """Return the sums over keys, and s of each head unless it is given."""
    known = options["assumed_size"] is not None or options["causal"]
    return kernel_sums(dims, options["num_features"]) + (0 if known else dims.num_heads)


@register_attention("favor-plus-plus", equivariant=True, family="kernel", state=_state)
class FavorPlusPlus(nnx.Module):
    """Approximate softmax attention by optimal positive random features (FAVOR++).

    phi(x) = exp(A |w|^2 + sqrt(1 - 4 A) w^T x - |x|^2 / 2), w ~ N(0, I_d): the OPRFs of Section 3
    of the paper, with x = q / d^(1/4) and y = k / d^(1/4). With s the mean of |x + y|^2 / d,
    A = (1 - 2 s - sqrt((2 s + 1)^2 + 8 s)) / 16 minimises the variance. The features estimate the
    softmax kernel without bias for every A, and those of FAVOR+ have A = 0. They are bounded for
    A < 0.

    The mean s is over all pairs of a real query and a real key of the example, for each head. The
    gradient treats A as a constant: A changes the variance of the estimate, not its mean. The
    factor (1 - 4 A)^(d / 4), common to all features, is left out, since normalisation divides it
    out.
    Time O(l m d), memory O(l d + m d).
    Backward, the causal form also keeps l m d / c numbers, with chunks of c tokens
    (128 on CPUs, more on other devices).

    Args:
        dims: sizes of the model.
        num_features: m, the number of random projections.
        projection: rows that are orthogonal within blocks of d rows, or independent.
        assumed_size: the value to use in place of s; 0 gives FAVOR+. By default s is computed
            from the tokens. If `causal` this would look ahead, so the default is then 2 / sqrt(d),
            which is s of independent queries and keys whose elements have mean 0 and variance 1.
        causal: whether a token sees only itself and earlier tokens.
        rngs: draws the projections.

    References:
        Likhosherstov et al. 2022, "Chefs' Random Tables: Non-Trigonometric Random Features",
        arXiv:2205.15317.
    """

    def __init__(
        self,
        dims: Dims,
        *,
        num_features: int = 256,
        projection: Literal["orthogonal", "iid"] = "orthogonal",
        assumed_size: Annotated[float, Range(0, 1e6)] | None = None,
        causal: bool = False,
        rngs: nnx.Rngs,
    ) -> None:
        check_count(num_features=num_features)
        self.kind, self.shape, self.causal = projection, (num_features, dims.head_dim), causal
        if causal and assumed_size is None:
            assumed_size = 2 * dims.head_dim**-0.5
        self.assumed_size = assumed_size
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
        square = optimal_square(self._sizes(q, k, mask))
        rows = Rows.scaled(self.projection[...], square)
        return kernel_attention(
            q, k, v, mask, exponential_features, rows, own=True, causal=self.causal
        )

    def _sizes(self, q: Array, k: Array, mask: Array) -> Float[Array, "b h"]:
        """Return s for each example and head."""
        if self.assumed_size is not None:
            return jnp.full((q.shape[0], q.shape[2]), self.assumed_size, jnp.float32)
        return mean_size_of_sum(q, k, mask)

    def _draw(self, key: Key[Array, ""]) -> Array:
        return PROJECTIONS[self.kind].draw(key, *self.shape)
