"""Positions: sinusoids that are added to tokens, rotations of queries and keys."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

_LONGEST = 1e4  # the ratio of the periods of the last and the first pair of features, over d


def _rates(dim: int) -> Float[np.ndarray, " half"]:
    """Return the angles in radians by which a pair of features turns from token to token."""
    return _LONGEST ** (-np.arange(0, dim, 2) / dim)


def _angles(length: int, dim: int) -> Float[np.ndarray, "l half"]:
    return np.arange(length)[:, None] * _rates(dim)


def sinusoids(length: int, dim: int) -> Float[np.ndarray, "l e"]:
    """Return the positions of Vaswani et al. 2017: sines, then cosines, of geometric periods."""
    angles = _angles(length, dim)
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1)[:, :dim].astype(np.float32)


def rotated(x: Float[Array, "b l h d"]) -> Float[Array, "b l h d"]:
    """Turn each pair of features by an angle that grows with the token's place.

    The pair (x_2i, x_2i+1) of token n is turned by n 10000^(-2i/d), Eqs. (14), (15) and (34) of
    Su et al., so that the product of a query and a key depends on their distance. It is computed
    in float32; d is even.

    References:
        Su et al. 2021, arXiv:2104.09864.
    """
    angles = _angles(x.shape[1], x.shape[3]).astype(np.float32)[:, None]
    sines, cosines = np.sin(angles), np.cos(angles)
    even, odd = x[..., 0::2].astype(jnp.float32), x[..., 1::2].astype(jnp.float32)
    turned = jnp.stack([even * cosines - odd * sines, odd * cosines + even * sines], axis=-1)
    return turned.reshape(x.shape).astype(x.dtype)
