"""Compute square roots of symmetric positive definite matrices by matrix products alone.

No eigenvectors are computed: they are not continuous functions of a matrix, so two roundings of one
sum could give two different sets of features. Products also run on every accelerator.
"""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

# Each step multiplies the root of a small eigenvalue by 1.5 until it is near its end. With as many
# steps, roots of matrices whose condition number is up to 1e9 are found in float64. In float32
# it may be about 1e6: rounding may make smaller eigenvalues negative, and these diverge.
_STEPS = 30


def square_roots(
    matrices: Float[Array, "*b d d"],
) -> tuple[Float[Array, "*b d d"], Float[Array, "*b d d"]]:
    """Return M^(1/2) and M^(-1/2), by the coupled Newton-Schulz iteration.

    Y <- Y (3 I - Z Y) / 2 and Z <- (3 I - Z Y) Z / 2 start from Y = M / |M| and Z = I, with the
    Frobenius norm. Y tends to (M / |M|)^(1/2), and Z to its inverse.
    Time O(d^3), memory O(d^2).

    Args:
        matrices: symmetric positive definite, in float32 or wider.

    References:
        Higham 2008, Functions of Matrices, Section 6.3.
    """
    norm = jnp.linalg.norm(matrices, axis=(-2, -1), keepdims=True)
    one = jnp.broadcast_to(identity_like(matrices), matrices.shape)

    def step(_: Array, roots: tuple[Array, Array]) -> tuple[Array, Array]:
        y, z = roots
        change = (3 * one - times(z, y)) / 2
        return times(y, change), times(change, z)

    y, z = lax.fori_loop(0, _STEPS, step, (matrices / norm, one))
    return symmetric(y) * jnp.sqrt(norm), symmetric(z) / jnp.sqrt(norm)


def times(a: Float[Array, "*b d d"], b: Float[Array, "*b d d"]) -> Float[Array, "*b d d"]:
    """Return the products of matrices at full precision."""
    return jnp.matmul(a, b, precision=lax.Precision.HIGHEST)


def symmetric(matrices: Float[Array, "*b d d"]) -> Float[Array, "*b d d"]:
    """Return the symmetric part of matrices, which removes what rounding has added to it."""
    return (matrices + jnp.swapaxes(matrices, -2, -1)) / 2


def identity_like(matrices: Float[Array, "*b d d"]) -> Float[Array, "d d"]:
    """Return the identity of the same size and dtype."""
    return jnp.eye(matrices.shape[-1], dtype=matrices.dtype)
