"""Code that the Nystrom methods share: the iteration for the inverse."""

from typing import Annotated

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from lra_bench.contracts import Range

_MOST = 20
Iterations = Annotated[int, Range(1, _MOST)]


def check_iterations(iterations: int) -> None:
    """Raise ValueError unless there are 1 to 20; more may diverge: see `pseudo_inverse`."""
    if not 1 <= iterations <= _MOST:
        raise ValueError(f"iterations={iterations}: must be from 1 to {_MOST}")


def product(equation: str, a: Array, b: Array) -> Array:
    """Return `jnp.einsum(equation, a, b)` of wide arrays, with all their digits on any device."""
    dtype = jnp.promote_types(a.dtype, b.dtype)
    precision = lax.Precision.HIGHEST
    return jnp.einsum(equation, a, b, precision=precision, preferred_element_type=dtype)


def pseudo_inverse(matrix: Float[Array, "*b m m"], iterations: int) -> Float[Array, "*b m m"]:
    """Approximate the Moore-Penrose inverse A^+ of matrices without negative entries.

    Z_(j+1) = Z_j (13 I - A Z_j (15 I - A Z_j (7 I - A Z_j))) / 4, from Z_0 = A^T / (|A|_1 |A|_inf).
    After a step the distance e of an eigenvalue of A Z_j from 1 is e^3 (3 + e) / 4: it is cubed,
    but for a factor from 3/4 to 1 where e is in [0, 1]. An eigenvalue of 0 that rounding makes
    negative grows by 13/4 times in each step; after about 30 steps in float32 it diverges.
    The bound |A|_1 |A|_inf, the largest sum of a column times that of a row, is that of each matrix
    by itself. A matrix of zeros gives zeros.
    """
    bound = jnp.max(jnp.sum(matrix, axis=-2), axis=-1) * jnp.max(jnp.sum(matrix, axis=-1), axis=-1)
    bound = jnp.where(bound == 0, 1, bound)[..., None, None]
    eye = jnp.eye(matrix.shape[-1], dtype=matrix.dtype)

    def step(_: Array, inverse: Array) -> Array:
        near_eye = product("...ij,...jk->...ik", matrix, inverse)
        inner = 15 * eye - product("...ij,...jk->...ik", near_eye, 7 * eye - near_eye)
        inner = 13 * eye - product("...ij,...jk->...ik", near_eye, inner)
        return product("...ij,...jk->...ik", inverse, inner) / 4

    return lax.fori_loop(0, iterations, step, jnp.swapaxes(matrix, -1, -2) / bound)
