"""FAVOR#: softmax attention by dense-exponential random features."""

from typing import Literal

import jax.numpy as jnp
from flax import nnx
from jax import lax
from jaxtyping import Array, Bool, Float, Key

from lra_bench.attentions._common import check_count, wide
from lra_bench.attentions._favor import kernel_attention
from lra_bench.attentions._favor.optimal import (
    Moments,
    Rows,
    balance,
    balance_axes,
    exponential_features,
    optimal_matrix,
    optimal_square,
)
from lra_bench.attentions._favor.projections import PROJECTIONS
from lra_bench.attentions._state import Options, kernel_sums
from lra_bench.contracts import Dims
from lra_bench.registry import register_attention

_BALANCES = {"asymmetric": balance, "simplified": balance_axes}


def _state(dims: Dims, options: Options) -> int:
    """Return the sums over keys, and each head's parameters of the queries' features.

    These are a matrix, which is diagonal for "simplified", and a scale unless "symmetric".
    """
    diagonal, scaled = options["estimator"] == "simplified", options["estimator"] != "symmetric"
    size = (dims.head_dim if diagonal else dims.head_dim**2) + scaled
    return kernel_sums(dims, options["num_features"]) + dims.num_heads * size


@register_attention("favor-sharp", equivariant=True, family="kernel", state=_state)
class FavorSharp(nnx.Module):
    """Approximate softmax attention by dense-exponential random features (FAVOR#).

    phi(x) = exp(w^T A w + w^T B x + x^T C x), w ~ N(0, I_d), with x = q / d^(1/4) and, with a B and
    a C of its own, y = k / d^(1/4): the DERFs of Section 4 of the paper, with matrices A, B and C.
    Its closed forms give the parameters that minimise the variance:

    - SDERF: one B = (I - 4 A)^(1/2) and C = -I / 2 for both. A is a function of the matrix
      S = E[(x + y) (x + y)^T]: A = (I - 2 S - ((2 S + I)^2 + 8 S)^(1/2)) / 16.
    - ADERF: the features of `favor-plus-plus` for P x and P^-1 y, where P E[x x^T] P =
      P^-1 E[y y^T] P^-1. Their A is a multiple of I.
    - SADERF: the same with a diagonal P.

    The means are over the real tokens of the example, for each head; S is over all pairs. The
    gradient treats the parameters as constants: they change the variance of the estimate, not its
    mean. The paper rotates w to eigenvectors; here A, B and P are functions of the matrices
    themselves, so that the output is a continuous function of the tokens. The distribution of w is
    the same in all directions, so the distribution of the output is too. Factors common to all
    features are left out, since normalisation divides them out.
    ADERF adds 1/1000 of the trace to the diagonals of E[x x^T] and of E[y y^T], which may be
    singular; SADERF adds 1/1000 of the mean of the diagonal.

    There is no causal form, because the parameters depend on all tokens.
    Time O(l m d + l d^2 + m d^2 + d^3), memory O(l d + m d). The d^3 stands for 270 products of
    matrices for each head, which take longer than the rest if the sequence is short; SADERF has
    none of them.

    Args:
        dims: sizes of the model.
        num_features: m, the number of random projections.
        estimator: "symmetric" (SDERF), "asymmetric" (ADERF) or "simplified" (SADERF).
        projection: rows that are orthogonal within blocks of d rows, or independent.
        rngs: draws the projections.

    References:
        Likhosherstov et al. 2023, "FAVOR#: Sharp Attention Kernel Approximations via New Classes of
        Positive Random Features", arXiv:2302.00787.
    """

    def __init__(
        self,
        dims: Dims,
        *,
        num_features: int = 256,
        estimator: Literal["symmetric", "asymmetric", "simplified"] = "symmetric",
        projection: Literal["orthogonal", "iid"] = "orthogonal",
        rngs: nnx.Rngs,
    ) -> None:
        check_count(num_features=num_features)
        self.estimator, self.kind = estimator, projection
        self.shape = (num_features, dims.head_dim)
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
        moments = Moments.of(q, k, mask)
        if self.estimator == "symmetric":
            rows = Rows.of(self.projection[...], optimal_matrix(moments.of_sum))
        else:
            of_x, of_y = _BALANCES[self.estimator](moments.xx, moments.yy)
            q, k = _transformed(q, of_x), _transformed(k, of_y)
            size = moments.transformed(of_x, of_y).size_of_sum
            rows = Rows.scaled(self.projection[...], optimal_square(size))
        return kernel_attention(q, k, v, mask, exponential_features, rows, own=True)

    def _draw(self, key: Key[Array, ""]) -> Array:
        return PROJECTIONS[self.kind].draw(key, *self.shape)


def _transformed(
    x: Float[Array, "b l h d"], matrix: Float[Array, "b h d d"]
) -> Float[Array, "b l h d"]:
    """Multiply by a symmetric matrix, in float32 or wider: exponents need the digits."""
    return jnp.einsum("blhd,bhde->blhe", wide(x), matrix, precision=lax.Precision.HIGHEST)
