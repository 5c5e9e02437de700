"""Draw and apply the random projections w_1 .. w_m of FAVOR+.

Each value of `PROJECTIONS` has `draw(key, num_features, dim)`, which returns an array, and
`apply(x, drawn)`, which returns w^T x for every row w. Each row has the distribution N(0, I_d),
except where a docstring says that it is only close to that.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Key


@dataclass(frozen=True)
class Projection:
    """A projection draws rows and multiplies by them.

    Attributes:
        draw: maps (key, num_features, dim) to the drawn array.
        apply: maps (x, drawn), with x of shape (..., d), to w^T x of shape (..., m).
        regular: rescales a drawn array so that every row has the length sqrt(d); the kernel that
            is estimated is then SMREG of Theorem 1.
    """

    draw: Callable[[Key, int, int], Array]
    apply: Callable[[Array, Any], Array]
    regular: Callable[[Array], Array]


def dense(x: Float[Array, "*b d"], rows: Float[Array, "m d"]) -> Float[Array, "*b m"]:
    """Return x W^T at full precision: the exponents need the digits."""
    return jnp.einsum("...d,md->...m", x, rows.astype(x.dtype), precision=lax.Precision.HIGHEST)


def iid_gaussian(key: Key[Array, ""], num_features: int, dim: int) -> Float[Array, "m d"]:
    """Draw independent rows from N(0, I_d)."""
    return jax.random.normal(key, (num_features, dim), jnp.float32)


def orthogonal_gaussian(key: Key[Array, ""], num_features: int, dim: int) -> Float[Array, "m d"]:
    """Draw rows from N(0, I_d) that are orthogonal within each block of d rows.

    Gaussian rows are orthonormalised, which gives a Haar-distributed orthogonal matrix per block.
    Its rows are then scaled to the norms of independent Gaussian vectors. This is "R-ORF" of
    Section 2.4 and Appendix B.2 of the Performer paper. It is unbiased like iid rows, with less
    variance (Theorem 2).
    """
    blocks = -(-num_features // dim)
    direction_key, norm_key = jax.random.split(key)
    gaussian = jax.random.normal(direction_key, (blocks, dim, dim), jnp.float32)
    directions = _orthonormal_rows(gaussian)
    return _with_gaussian_norms(norm_key, directions, num_features)


def givens_gaussian(key: Key[Array, ""], num_features: int, dim: int) -> Float[Array, "m d"]:
    """Draw rows as `orthogonal_gaussian` does, by random Givens rotations: "G-ORF", Appendix B.2.

    A block is a product of layers. Each layer rotates d/2 disjoint random pairs of coordinates by
    random angles. This is Kac's random walk, which comes close to the Haar distribution on
    rotations after O(d log d) of them; that many are taken. The walk starts from coordinates of
    random signs, so that reflections are drawn too, and both signs if d = 1. A block costs
    O(d^2 log d), against O(d^3) for `orthogonal_gaussian`.
    """
    blocks = -(-num_features // dim)
    direction_key, norm_key = jax.random.split(key)
    keys = jax.random.split(direction_key, blocks)
    return _with_gaussian_norms(norm_key, jax.vmap(_kac_walk, (0, None))(keys, dim), num_features)


def _kac_walk(key: Key[Array, ""], dim: int) -> Float[Array, "d d"]:
    def layer(index: Array, rows: Array) -> Array:
        pair_key, angle_key = jax.random.split(jax.random.fold_in(key, index))
        order = jax.random.permutation(pair_key, dim)
        first, second = order[: dim // 2], order[dim // 2 : dim // 2 * 2]
        angle = jax.random.uniform(angle_key, (dim // 2, 1), jnp.float32, maxval=2 * jnp.pi)
        cos, sin = jnp.cos(angle), jnp.sin(angle)
        a, b = rows[first], rows[second]
        return rows.at[first].set(cos * a - sin * b).at[second].set(sin * a + cos * b)

    layers = 8 * max(dim - 1, 1).bit_length() + 8
    start = jnp.diag(_signs(jax.random.fold_in(key, layers), (dim,)))
    return lax.fori_loop(0, layers, layer, start)


def _signs(key: Key[Array, ""], shape: tuple[int, ...]) -> Float[Array, "..."]:
    """Draw 1 or -1 with equal probability; `jax.random.rademacher` draws in the default type."""
    return 2 * jax.random.bernoulli(key, jnp.float32(0.5), shape).astype(jnp.float32) - 1


def hadamard_signs(key: Key[Array, ""], num_features: int, dim: int) -> Float[Array, "n 4 p"]:
    """Draw the signs and norms of `hadamard`, for n blocks of p rows.

    p is the smallest power of two that is at least d. Each block has three rows of random signs,
    and one row of norms, which are those of Gaussian vectors in p dimensions.
    """
    size = 1 << max(dim - 1, 0).bit_length()
    blocks = -(-num_features // size)
    sign_key, norm_key = jax.random.split(key)
    signs = _signs(sign_key, (blocks, 3, size))
    gaussian = jax.random.normal(norm_key, (blocks, size, size), jnp.float32)
    norms = jnp.linalg.norm(gaussian, axis=-1)
    return jnp.concatenate([signs, norms[:, None]], axis=1)


def hadamard(x: Float[Array, "*b d"], drawn: Float[Array, "n 4 p"]) -> Float[Array, "*b m"]:
    """Return w^T x for the rows w of N H D_1 H D_2 H D_3: "H-ORF" of Appendix B.2.

    H is the orthonormal Walsh-Hadamard matrix; D_i are diagonal matrices of random signs, and N
    of norms. The rows are orthogonal if d is a power of two; their directions are only close to
    those of Gaussian vectors. A feature costs O(log d).
    """
    size = drawn.shape[-1]
    x = jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, size - x.shape[-1])])[..., None, :]
    first, second, third, norms = jnp.moveaxis(drawn.astype(x.dtype), 1, 0)
    for signs in (first, second, third):
        x = walsh_hadamard(x * signs)
    return (x * norms).reshape(*x.shape[:-2], -1)


def walsh_hadamard(x: Float[Array, "*b p"]) -> Float[Array, "*b p"]:
    """Return H x by the fast transform: log2(p) rounds of sums and differences.

    p must be a power of two.
    """
    size = x.shape[-1]
    half = 1
    while half < size:
        pairs = x.reshape(*x.shape[:-1], -1, 2, half)
        a, b = pairs[..., 0, :], pairs[..., 1, :]
        x = jnp.stack([a + b, a - b], axis=-2).reshape(x.shape)
        half *= 2
    return x * size**-0.5


def _with_gaussian_norms(
    key: Key[Array, ""], directions: Float[Array, "n d d"], num_features: int
) -> Float[Array, "m d"]:
    dim = directions.shape[-1]
    norms = jnp.linalg.norm(jax.random.normal(key, (num_features, dim), jnp.float32), axis=1)
    return directions.reshape(-1, dim)[:num_features] * norms[:, None]


def _rows_of_root_length(rows: Float[Array, "m d"]) -> Float[Array, "m d"]:
    return rows * (rows.shape[1] ** 0.5 / jnp.linalg.norm(rows, axis=1, keepdims=True))


def _norms_of_root_length(drawn: Float[Array, "n 4 p"]) -> Float[Array, "n 4 p"]:
    return drawn.at[:, 3].set(drawn.shape[-1] ** 0.5)


PROJECTIONS = {
    "orthogonal": Projection(orthogonal_gaussian, dense, _rows_of_root_length),
    "iid": Projection(iid_gaussian, dense, _rows_of_root_length),
    "givens": Projection(givens_gaussian, dense, _rows_of_root_length),
    "hadamard": Projection(hadamard_signs, hadamard, _norms_of_root_length),
}


def _orthonormal_rows(rows: Float[Array, "n d d"]) -> Float[Array, "n d d"]:
    """Orthonormalise rows by Gram-Schmidt, subtracting earlier rows twice, as float32 needs.

    `jnp.linalg.qr` is not used: on a CPU with two threads its batched LAPACK kernel deadlocks at
    times (jaxlib 0.10.2). This was seen after 200 calls beside other work, and after 30,000 calls
    alone.
    """

    def orthonormalise(index: Array, rows: Array) -> Array:
        earlier = jnp.where(jnp.arange(rows.shape[1])[:, None] < index, rows, 0)
        row = rows[:, index]
        for _ in range(2):
            along = jnp.einsum("nkd,nd->nk", earlier, row, precision=lax.Precision.HIGHEST)
            row -= jnp.einsum("nk,nkd->nd", along, earlier, precision=lax.Precision.HIGHEST)
        return rows.at[:, index].set(row / jnp.linalg.norm(row, axis=1, keepdims=True))

    return lax.fori_loop(0, rows.shape[1], orthonormalise, rows)
