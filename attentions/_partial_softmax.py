"""Softmax attention over a part of the keys, which other parts can be added to."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from lra_bench.attentions._common import summed


class PartialSoftmax(NamedTuple):
    """The softmax over a part of the keys, before it is normalised.

    Attributes:
        largest: the largest logit, which all exponents are shifted by; not differentiated.
        total: the sum of the weights exp(logit - largest).
        weighted: the sum of weights times values.
    """

    largest: Float[Array, "*b 1"]
    total: Float[Array, "*b 1"]
    weighted: Float[Array, "*b d"]

    def average(self) -> Float[Array, "*b d"]:
        """Return softmax attention to these keys."""
        return self.weighted / self.total


def weighted_by(logits: Float[Array, "*b q k"], values: Float[Array, "*b k d"]) -> PartialSoftmax:
    """Return the softmax over some keys, whose logits are `MASKED` where they do not count."""
    largest = lax.stop_gradient(jnp.max(logits, axis=-1, keepdims=True))
    weights = jnp.exp(logits - largest)
    weighted = summed("...qk,...kd->...qd", weights.astype(values.dtype), values)
    return PartialSoftmax(largest, jnp.sum(weights, axis=-1, keepdims=True), weighted)


def both(a: PartialSoftmax, b: PartialSoftmax) -> PartialSoftmax:
    """Return the softmax over the keys of two parts that share none."""
    largest = jnp.maximum(a.largest, b.largest)
    a_scale, b_scale = jnp.exp(a.largest - largest), jnp.exp(b.largest - largest)
    total = a.total * a_scale + b.total * b_scale
    return PartialSoftmax(largest, total, a.weighted * a_scale + b.weighted * b_scale)
