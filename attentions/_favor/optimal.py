"""Make random features of the softmax kernel whose parameters keep the variance small.

Every feature here is, with x = q / d^(1/4) or y = k / d^(1/4), w ~ N(0, I_d) and a matrix B,

phi(x) = exp(w^T A w + w^T B x - |x|^2 / 2), A = (I - B B^T) / 4.

E[phi(x) phi(y)] = exp(x^T y) / sqrt(det(B B^T)) for every B of full rank, whatever B is. So the
estimate is unbiased but for a constant, which renormalisation divides out, and B can be chosen
from the data. With B = I these are the positive features of FAVOR+.
"""

import functools
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from lra_bench.attentions._common import wide, without_padding
from lra_bench.attentions._favor.features import Features
from lra_bench.attentions._favor.roots import identity_like, square_roots, symmetric, times

# Added to second moments before they are inverted, as a share of their mean eigenvalue, and in
# itself where all vectors are zero.
_RIDGE, _FLOOR = 1e-3, 1e-6


class Rows(NamedTuple):
    """Rows are projections that are ready for `exponential_features`.

    Attributes:
        rows: B^T w for each w.
        offset: w^T A w for each w.
    """

    rows: Float[Array, "*b m d"]
    offset: Float[Array, "*b 1 m"]

    @classmethod
    def of(cls, drawn: Float[Array, "m d"], transform: Float[Array, "*b d d"]) -> "Rows":
        """Make the rows of w ~ N(0, I_d) for a symmetric matrix B."""
        rows = times(drawn.astype(transform.dtype), transform)
        before, after = (jnp.sum(jnp.square(x), axis=-1) for x in (drawn, rows))
        return cls(rows, ((before - after) / 4)[..., None, :])

    @classmethod
    def scaled(cls, drawn: Float[Array, "m d"], square: Float[Array, "*b"]) -> "Rows":
        """Make the rows of w ~ N(0, I_d) for B = sqrt(square) I."""
        square = square[..., None, None]
        drawn = drawn.astype(square.dtype)
        offset = (1 - square) / 4 * jnp.sum(jnp.square(drawn), axis=-1)
        return cls(jnp.sqrt(square) * drawn, offset)


def exponential_features(x: Float[Array, "*b d"], rows: Any) -> Features:
    """Return exp(w^T A w + w^T B x - |x|^2 / 2), for x / d^(1/4) in place of x.

    The constant factor sqrt(det(B)) is left out.
    """
    x = x * x.shape[-1] ** -0.25
    half = jnp.sum(jnp.square(x), axis=-1, keepdims=True) / 2
    projections = jnp.asarray(rows.rows, x.dtype)
    products = jnp.einsum("...cd,...md->...cm", x, projections, precision=lax.Precision.HIGHEST)
    return Features(products + rows.offset.astype(x.dtype) - half, None)


def mean_size_of_sum(
    q: Float[Array, "b l h d"], k: Float[Array, "b l h d"], mask: Bool[Array, "b l"]
) -> Float[Array, "b h"]:
    """Return the mean of |x + y|^2 / d over all pairs of a real query and a real key.

    It is 0 where no token is real, and a constant to the gradient. Time O(l d).
    """
    x, y = (_real(vectors, mask) for vectors in (q, k))
    count = _count(mask)
    squares = sum(jnp.sum(jnp.square(x), axis=(1, 3)) / count for x in (x, y))
    means = (jnp.sum(x, axis=1) / count[..., None] for x in (x, y))
    across = jnp.sum(functools.reduce(jnp.multiply, means), axis=-1)
    return (squares + 2 * across) / q.shape[-1]


def _real(x: Float[Array, "b l h d"], mask: Bool[Array, "b l"]) -> Float[Array, "b l h d"]:
    """Return x / d^(1/4) at real tokens and 0 elsewhere, as constants."""
    return lax.stop_gradient(wide(without_padding(x, mask))) * x.shape[-1] ** -0.25


def _count(mask: Bool[Array, "b l"]) -> Float[Array, "b 1"]:
    """Return the number of real tokens, or 1 if there is none."""
    return jnp.maximum(jnp.sum(mask, axis=1, keepdims=True), 1).astype(jnp.float32)


class Moments(NamedTuple):
    """The moments of x = q / d^(1/4) and y = k / d^(1/4) over the real tokens of each example.

    All are 0 where no token is real. They are constants to the gradient: for any of their values
    the estimate is unbiased, so they change its variance alone.

    Attributes:
        x, y: the means.
        xx, yy: the second moments E[x x^T] and E[y y^T].
    """

    x: Float[Array, "b h d"]
    y: Float[Array, "b h d"]
    xx: Float[Array, "b h d d"]
    yy: Float[Array, "b h d d"]

    @classmethod
    def of(
        cls, q: Float[Array, "b l h d"], k: Float[Array, "b l h d"], mask: Bool[Array, "b l"]
    ) -> "Moments":
        """Compute the moments. Time O(l d^2), memory O(d^2) beyond the inputs."""
        count = _count(mask)[..., None]
        both = [_real(vectors, mask) for vectors in (q, k)]
        means = (jnp.sum(x, axis=1) / count for x in both)
        seconds = (
            jnp.einsum("blhd,blhe->bhde", x, x, precision=lax.Precision.HIGHEST) / count[..., None]
            for x in both
        )
        return cls(*means, *seconds)

    @property
    def of_sum(self) -> Float[Array, "b h d d"]:
        """Return E[(x + y) (x + y)^T] over all pairs of a query and a key."""
        across = self.x[..., :, None] * self.y[..., None, :]
        return self.xx + self.yy + across + jnp.swapaxes(across, -2, -1)

    @property
    def size_of_sum(self) -> Float[Array, "b h"]:
        """Return E|x + y|^2 / d over all pairs of a query and a key."""
        return jnp.trace(self.of_sum, axis1=-2, axis2=-1) / self.x.shape[-1]

    def transformed(
        self, of_x: Float[Array, "b h d d"], of_y: Float[Array, "b h d d"]
    ) -> "Moments":
        """Return the moments of P x and R y, for symmetric matrices P and R."""
        x, y = (
            times(mean[..., None, :], matrix)[..., 0, :]
            for mean, matrix in ((self.x, of_x), (self.y, of_y))
        )
        xx, yy = (
            times(times(matrix, second), matrix)
            for second, matrix in ((self.xx, of_x), (self.yy, of_y))
        )
        return Moments(x, y, xx, yy)


def optimal_square(size: Array) -> Array:
    """Return the square of the optimal B, 1 - 4 A, in one dimension: from the mean of (x + y)^2.

    With s the mean, A = (1 - 2 s - sqrt((2 s + 1)^2 + 8 s)) / 16. It minimises the mean of the
    logarithm of E[phi(x)^2 phi(y)^2] over all pairs.
    """
    return (3 + 2 * size + jnp.sqrt(jnp.square(2 * size + 1) + 8 * size)) / 4


def optimal_matrix(second: Float[Array, "*b d d"]) -> Float[Array, "*b d d"]:
    """Return `optimal_square`'s root as a function of a matrix, E[(x + y) (x + y)^T].

    (2 s + 1)^2 + 8 s = (2 s + 3 - sqrt(8)) (2 s + 3 + sqrt(8)), whose two roots are better
    conditioned than their product's.
    """
    one = identity_like(second)
    low, high = (square_roots(2 * second + (3 + sign * 8**0.5) * one)[0] for sign in (-1, 1))
    return square_roots((3 * one + 2 * second + symmetric(times(low, high))) / 4)[0]


def balance(
    xx: Float[Array, "*b d d"], yy: Float[Array, "*b d d"]
) -> tuple[Float[Array, "*b d d"], Float[Array, "*b d d"]]:
    """Return the symmetric matrix P, and its inverse, for which P x and P^-1 y are equally large.

    P^2 = xx^(-1/2) (xx^(1/2) yy xx^(1/2))^(1/2) xx^(-1/2), so P xx P = P^-1 yy P^-1. Among all
    matrices this one minimises E|P x|^2 + E|P^-1 y|^2. A small multiple of I is added to xx and
    yy, which may be singular: 1/1000 of the trace, so that the condition number of the product of
    both is at most about 1e6, which float32 can still tell from a singular matrix.
    """
    xx, yy = (_regular(second, second.shape[-1] * _RIDGE) for second in (xx, yy))
    root, inverse = square_roots(xx)
    middle = square_roots(symmetric(times(times(root, yy), root)))[0]
    matrix, inverse = square_roots(symmetric(times(times(inverse, middle), inverse)))
    # One step of Newton's iteration removes the rounding of the inverse, which would be a bias.
    return matrix, times(inverse, 2 * identity_like(xx) - times(matrix, inverse))


def _regular(second: Float[Array, "*b d d"], ridge: float) -> Float[Array, "*b d d"]:
    """Return second moments that can be inverted; `ridge` is in mean eigenvalues."""
    mean = jnp.trace(second, axis1=-2, axis2=-1)[..., None, None] / second.shape[-1]
    return second + (ridge * mean + _FLOOR) * identity_like(second)


def balance_axes(
    xx: Float[Array, "*b d d"], yy: Float[Array, "*b d d"]
) -> tuple[Float[Array, "*b d d"], Float[Array, "*b d d"]]:
    """Return what `balance` returns among diagonal matrices: P_i = (yy_ii / xx_ii)^(1/4)."""
    of_x, of_y = (jnp.diagonal(_regular(x, _RIDGE), axis1=-2, axis2=-1) for x in (xx, yy))
    scale = (of_y / of_x) ** 0.25
    return scale[..., None] * identity_like(xx), (1 / scale)[..., None] * identity_like(xx)
