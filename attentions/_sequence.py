"""The order of tokens: ranks of real ones, padding moved to the end, and both directions."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


class Order(NamedTuple):
    """The order that moves padding behind the real tokens, which keep theirs.

    Attributes:
        token: the position in the sequence of each token in the new order.
        place: the place in the new order of each position of the sequence.
        real: True where a token in the new order is real.
    """

    token: Int[Array, "b l"]
    place: Int[Array, "b l"]
    real: Bool[Array, "b l 1"]


def real_first(mask: Bool[Array, "b l"]) -> Order:
    """Return the order that moves padding behind the real tokens.

    A recurrence or a convolution over tokens in this order passes over padding wherever it is:
    the state stays as it is there, and distances count real tokens only.
    """
    token = jnp.argsort(~mask, axis=1, stable=True)
    real = jnp.cumsum(mask, axis=1)
    place = jnp.where(mask, real, real[:, -1:] + jnp.cumsum(~mask, axis=1)) - 1
    return Order(token, place, (jnp.arange(mask.shape[1]) < real[:, -1:])[:, :, None])


def ordered(x: Float[Array, "b l e"], order: Order) -> Float[Array, "b l e"]:
    """Return the tokens in the new order; padding is zero, whatever it was."""
    return jnp.where(order.real, _moved(x, order.token, order.place), 0)


def reordered(x: Float[Array, "b l e"], order: Order) -> Float[Array, "b l e"]:
    """Return tokens in the order of the sequence again: undo `ordered`."""
    return _moved(x, order.place, order.token)


@jax.custom_vjp
def _moved(
    x: Float[Array, "b l e"], index: Int[Array, "b l"], inverse: Int[Array, "b l"]
) -> Float[Array, "b l e"]:
    """Permute the tokens; the gradient is a gather by the inverse, not a scatter."""
    del inverse
    return jnp.take_along_axis(x, index[:, :, None], axis=1)


def _moved_forward(x: Array, index: Array, inverse: Array) -> tuple[Array, tuple[Array, Array]]:
    return _moved(x, index, inverse), (index, inverse)


def _moved_backward(kept: tuple[Array, Array], gradient: Array) -> tuple[Array, None, None]:
    index, inverse = kept
    return _moved(gradient, inverse, index), None, None


_moved.defvjp(_moved_forward, _moved_backward)


def rank_among_real(mask: Bool[Array, "b l"]) -> Int[Array, "b l"]:
    """Return the number of real tokens before each token."""
    return jnp.cumsum(mask, axis=1, dtype=jnp.int32) - mask


def position_of_real(mask: Bool[Array, "b l"], rank: Int[Array, "b m"]) -> Int[Array, "b m"]:
    """Return the positions of the real tokens with so many real tokens before them."""
    count = jnp.cumsum(mask, axis=1, dtype=jnp.int32)
    return jax.vmap(lambda count, rank: jnp.searchsorted(count, rank, side="right"))(count, rank)


def both_ways(x: Float[Array, "b l ..."]) -> Float[Array, "two_b l ..."]:
    """Return the sequences and, as further examples, the same sequences from end to start."""
    return jnp.concatenate([x, jnp.flip(x, axis=1)])


def two_ways(x: Float[Array, "two_b l ..."]) -> tuple[Array, Array]:
    """Return the results of both directions, each (b, l, ...) in the order of the tokens."""
    forward, backward = jnp.split(x, 2)
    return forward, jnp.flip(backward, axis=1)
