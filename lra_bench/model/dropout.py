"""Dropout whose random bits are computed where they are used, and are never in memory."""

import math
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Key, UInt32

Generator = Literal["threefry", "rbg"]

# Salmon et al. 2011, Section 4: the rotations of Threefry-2x32, and a constant of its key.
_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = 0x1BD11BDA
_DIGITS = 23  # of a float32 drawn from [0, 1)


class Dropout(nnx.Module):
    """Set a share of the numbers to zero, and divide the others by the share that is kept."""

    def __init__(self, rate: float, generator: Generator) -> None:
        self.rate = rate
        self.generator: Generator = generator

    def __call__(self, x: Array, rngs: nnx.Rngs | None) -> Array:
        """Return `x` with dropout; without `rngs`, or at rate 0, return `x` itself."""
        if rngs is None or self.rate == 0:
            return x
        share = 1 - self.rate
        return jnp.where(kept(rngs.dropout(), share, x.shape, self.generator), x / share, 0)


def kept(
    key: Key[Array, ""], share: float, shape: tuple[int, ...], generator: Generator = "threefry"
) -> Bool[Array, "*shape"]:
    """Return what `jax.random.bernoulli(key, share, shape)` returns.

    The bits of "threefry" are those of JAX, on all devices alike. JAX computes them in loops over
    arrays; here they are a formula of each number's place, which XLA computes with what uses it.

    Args:
        key: of Threefry.
        share: the probability of True.
        shape: of the result.
        generator: "threefry"; or "rbg", the generator of the device, which differs among kinds of
            devices.
    """
    if generator == "rbg":
        words = jnp.tile(jax.random.key_data(key), 2)
        return jax.random.bernoulli(jax.random.wrap_key_data(words, impl="rbg"), share, shape)
    if math.prod(shape) >= 2**32:  # places of more than 32 bits
        return jax.random.bernoulli(key, share, shape)
    below = np.float32(share) * 2**_DIGITS
    return random_bits(key, shape) >> (32 - _DIGITS) < np.uint32(math.ceil(below))


def random_bits(key: Key[Array, ""], shape: tuple[int, ...]) -> UInt32[Array, "*shape"]:
    """Return what `jax.random.bits(key, shape)` returns for fewer than 2^32 numbers.

    They are the two words of Threefry-2x32 of 20 rounds, combined by exclusive or. The key is
    JAX's, and what it encrypts is the place of the number in the array.

    References:
        Salmon et al. 2011, doi:10.1145/2063384.2063405.
    """
    first, second = jax.random.key_data(key)
    keys = (first, second, first ^ second ^ np.uint32(_PARITY))
    x, y = jnp.broadcast_to(first, shape), _places(shape) + second
    for group in range(5):
        for distance in _ROTATIONS[group % 2]:
            x += y
            y = x ^ _rotated(y, distance)
        x += keys[(group + 1) % 3]
        y += keys[(group + 2) % 3] + np.uint32(group + 1)
    return x ^ y


def _places(shape: tuple[int, ...]) -> UInt32[Array, "*shape"]:
    """Return the place of each number in the array, row by row."""
    steps = (np.uint32(math.prod(shape[axis + 1 :])) for axis in range(len(shape)))
    places = (jax.lax.broadcasted_iota(np.uint32, shape, axis) for axis in range(len(shape)))
    terms = (place * step for place, step in zip(places, steps, strict=True))
    return sum(terms, jnp.zeros(shape, np.uint32))


def _rotated(x: Array, distance: int) -> Array:
    return x << np.uint32(distance) | x >> np.uint32(32 - distance)
