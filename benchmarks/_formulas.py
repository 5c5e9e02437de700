"""Helpers of the restated formulas: a batch of examples, softmax, fixed weights."""

from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Batch:
    """A batch holds queries, keys and values of examples that are padded to one length.

    Attributes:
        q: queries of shape (b, l, h, d), float64.
        k: keys of the same shape.
        v: values of the same shape.
        mask: True where a token is real, of shape (b, l).
    """

    q: Array
    k: Array
    v: Array
    mask: Array

    @property
    def x(self) -> Array:
        """Return the input of a mixer, of shape (b, l, h d)."""
        return self.v.reshape(*self.v.shape[:2], -1)

    @property
    def real(self) -> Array:
        """Return 1 where a token is real and 0 where it is padding, of shape (b, l, 1, 1)."""
        return self.mask[:, :, None, None].astype(float)


def weights(*shape: int, seed: int = 0) -> Array:
    """Return fixed weights, normal with variance 1 / shape[-2], from a stream that NumPy froze."""
    return np.random.RandomState(seed).standard_normal(shape) / np.sqrt(shape[-2])


def softmax(scores: Array, axis: int = -1) -> Array:
    """Return exp(scores), divided by their sum along an axis."""
    powers = np.exp(scores - scores.max(axis, keepdims=True))
    return powers / powers.sum(axis, keepdims=True)


def attend(q: Array, k: Array, v: Array, bias: Array | float = 0.0) -> Array:
    """Return softmax(q k^T / sqrt(d) + bias) v, with a bias that broadcasts to (b, h, l, l)."""
    scores = np.einsum("blhd,bmhd->bhlm", q, k) / np.sqrt(q.shape[-1])
    return np.einsum("bhlm,bmhd->blhd", softmax(scores + bias), v)


def linear(q: Array, k: Array, v: Array, epsilon: float = 0.0) -> Array:
    """Return q (k^T v) / (q sum(k) + epsilon), for features q and k of shape (b, l, h, m)."""
    normaliser = np.einsum("blhm,bhm->blh", q, k.sum(1)) + epsilon
    return np.einsum("blhm,bshm,bshd->blhd", q, k, v, optimize=True) / normaliser[..., None]


def elu1(x: Array) -> Array:
    """Return elu(x) + 1."""
    return np.where(x > 0, x + 1, np.exp(np.minimum(x, 0)))


def sigmoid(x: Array) -> Array:
    """Return 1 / (1 + exp(-x))."""
    return 1 / (1 + np.exp(-x))


def masked(mask: Array, value: float) -> Array:
    """Return 0 for real keys and `value` for padded ones, of shape (b, 1, 1, l)."""
    return np.where(mask, 0.0, value)[:, None, None, :]
