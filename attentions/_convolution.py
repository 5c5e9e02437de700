"""Convolutions over all tokens by fast Fourier transforms, in float32."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from lra_bench.attentions._common import wide


def points_of(length: int) -> int:
    """Return the points of a transform in which no product of two sequences wraps around.

    A power of two, because on TPUs other transforms are slow.
    """
    return 1 << (2 * length - 2).bit_length()


def convolution(
    x: Float[Array, "b l e"],
    past: Float[Array, "*c e l"],
    future: Float[Array, "*c e m"] | None = None,
) -> Float[Array, "*c b l e"]:
    """Compute y_i = sum_{j <= i} past_{i - j} x_j + sum_{j > i} future_{j - i - 1} x_j.

    Each feature has its own kernel. Nothing wraps around, as the transforms are long enough.
    The result is in float32 or wider. Time O(l log(l) e), memory O(l e).

    Args:
        x: the tokens; padding must be zero.
        past: the weights of the token itself and of earlier tokens, the nearest first.
        future: the weights of later tokens, the nearest first, l - 1 or more; None if none is read.
    """
    length = x.shape[1]
    points = points_of(length)
    kernel = jnp.fft.rfft(_circular(wide(past), future, points))
    tokens = jnp.fft.rfft(wide(jnp.swapaxes(x, 1, 2)), n=points)
    y = jnp.fft.irfft(tokens * kernel[..., None, :, :], n=points)[..., :length]
    return jnp.swapaxes(y, -1, -2)


def _circular(
    past: Float[Array, "*c e l"], future: Float[Array, "*c e m"] | None, points: int
) -> Float[Array, "*c e n"]:
    """Return the kernel of a circular convolution: later tokens are at the end, reversed."""
    length = past.shape[-1]
    kept = 0 if future is None else length - 1
    zeros = jnp.zeros((*past.shape[:-1], points - length - kept), past.dtype)
    parts = [past, zeros]
    if future is not None:
        parts.append(jnp.flip(wide(future)[..., : length - 1], axis=-1))
    return jnp.concatenate(parts, axis=-1)
