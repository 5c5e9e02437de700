"""The random projections w_1 .. w_m of FAVOR+: how they are drawn and applied.

Each member of `PROJECTIONS` has `draw(key, num_features, dim)`, an array, and `apply(x, drawn)`,
w^T x for every row. All are marginally N(0, I_d), or close to it where said so.
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
    """A way to draw rows and to multiply by them.

    Attributes:
        draw: (key, num_features, dim) to what is drawn.
        apply: (x of (..., d), drawn) to w^T x, (..., m).
        regular: what is drawn to the same with every row of length sqrt(d), so that the kernel
            estimated is SMREG of Theorem 1.
    """

    draw: Callable[[Key, int, int], Array]
    apply: Callable[[Array, Any], Array]
    regular: Callable[[Array], Array]


def dense(x: Float[Array, "*b d"], rows: Float[Array, "m d"]) -> Float[Array, "*b m"]:
    """x W^T, at full precision: exponents of exp need the digits."""
    return jnp.einsum("...d,md->...m", x, rows.astype(x.dtype), precision=lax.Precision.HIGHEST)


def iid_gaussian(key: Key[Array, ""], num_features: int, dim: int) -> Float[Array, "m d"]:
    """Independent rows N(0, I_d)."""
    return jax.random.normal(key, (num_features, dim))


def orthogonal_gaussian(key: Key[Array, ""], num_features: int, dim: int) -> Float[Array, "m d"]:
    """Rows that are marginally N(0, I_d) and orthogonal within each block of d rows.

    Each block is a Haar-distributed orthogonal matrix, got by orthonormalising Gaussian rows,
    whose rows get the norms of independent Gaussian vectors: "R-ORF" of Section 2.4 and Appendix
    B.2 of the Performer paper. Unbiased as iid rows are, with less variance (Theorem 2).
    """
    blocks = -(-num_features // dim)
    direction_key, norm_key = jax.random.split(key)
    directions = _orthonormal_rows(jax.random.normal(direction_key, (blocks, dim, dim)))
    return _with_gaussian_norms(norm_key, directions, num_features)


def givens_gaussian(key: Key[Array, ""], num_features: int, dim: int) -> Float[Array, "m d"]:
    """As `orthogonal_gaussian`, by random Givens rotations: "G-ORF" of Appendix B.2.

    A block is a product of layers of d/2 rotations of disjoint random pairs of coordinates by
    random angles: Kac's random walk, which nears the Haar distribution after the O(d log d)
    rotations that are taken here. O(d^2 log d) to draw a block, against O(d^3).
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
        angle = jax.random.uniform(angle_key, (dim // 2, 1), maxval=2 * jnp.pi)
        cos, sin = jnp.cos(angle), jnp.sin(angle)
        a, b = rows[first], rows[second]
        return rows.at[first].set(cos * a - sin * b).at[second].set(sin * a + cos * b)

    return lax.fori_loop(0, 8 * max(dim - 1, 1).bit_length() + 8, layer, jnp.eye(dim))


def hadamard_signs(key: Key[Array, ""], num_features: int, dim: int) -> Float[Array, "n 4 p"]:
    """What `hadamard` multiplies by, for n blocks of p rows, p the power of two from d on.

    Three rows of random signs a block, and the norms of its rows, those of Gaussian vectors in p
    dimensions.
    """
    size = 1 << max(dim - 1, 0).bit_length()
    blocks = -(-num_features // size)
    sign_key, norm_key = jax.random.split(key)
    signs = jax.random.rademacher(sign_key, (blocks, 3, size), jnp.float32)
    norms = jnp.linalg.norm(jax.random.normal(norm_key, (blocks, size, size)), axis=-1)
    return jnp.concatenate([signs, norms[:, None]], axis=1)


def hadamard(x: Float[Array, "*b d"], drawn: Float[Array, "n 4 p"]) -> Float[Array, "*b m"]:
    """w^T x for the rows of N H D_1 H D_2 H D_3: "H-ORF" of Appendix B.2, O(log d) a feature.

    H is the orthonormal Walsh-Hadamard matrix, D_i are diagonals of random signs, N of norms.
    Rows are orthogonal (where d is a power of two) but only nearly Gaussian in direction.
    """
    size = drawn.shape[-1]
    x = jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, size - x.shape[-1])])[..., None, :]
    first, second, third, norms = jnp.moveaxis(drawn.astype(x.dtype), 1, 0)
    for signs in (first, second, third):
        x = walsh_hadamard(x * signs)
    return (x * norms).reshape(*x.shape[:-2], -1)


def walsh_hadamard(x: Float[Array, "*b p"]) -> Float[Array, "*b p"]:
    """H x by the fast transform: log2(p) rounds of sums and differences; p a power of two."""
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
    norms = jnp.linalg.norm(jax.random.normal(key, (num_features, dim)), axis=1)
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
    """Gram-Schmidt, each row freed twice of those before it, as float32 needs.

    Not `jnp.linalg.qr`: on a CPU with two threads its batched LAPACK kernel deadlocks now and
    then (jaxlib 0.10.2): seen after 200 calls beside other work, after 30,000 alone.
    """

    def free(index: Array, rows: Array) -> Array:
        earlier = jnp.where(jnp.arange(rows.shape[1])[:, None] < index, rows, 0)
        row = rows[:, index]
        for _ in range(2):
            along = jnp.einsum("nkd,nd->nk", earlier, row, precision=lax.Precision.HIGHEST)
            row -= jnp.einsum("nk,nkd->nd", along, earlier, precision=lax.Precision.HIGHEST)
        return rows.at[:, index].set(row / jnp.linalg.norm(row, axis=1, keepdims=True))

    return lax.fori_loop(0, rows.shape[1], free, rows)
