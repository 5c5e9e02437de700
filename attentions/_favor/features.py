"""Compute the feature maps phi of kernels K(x, y) = E[phi(x)^T phi(y)]."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lra_bench.attentions._common import MASKED
from lra_bench.attentions._favor.projections import PROJECTIONS


class Features(NamedTuple):
    """Features are phi = factor exp(exponent); a part that is None is left out.

    The parts are separate so that `kernel_attention` can shift the exponents before they are
    exponentiated. A shift cancels between numerator and normaliser if it is common to all
    features of a query, or if it is added to one feature of all keys and subtracted from the same
    feature of all queries.
    """

    exponent: Float[Array, "*b m"] | None
    factor: Float[Array, "*b m"] | None

    @property
    def dim(self) -> int:
        """Return the number of feature values per token."""
        part = self.factor if self.exponent is None else self.exponent
        assert part is not None
        return part.shape[-1]

    def value(self) -> Float[Array, "*b m"]:
        """Return phi."""
        if self.exponent is None:
            assert self.factor is not None
            return self.factor
        scale = jnp.exp(self.exponent)
        return scale if self.factor is None else scale * self.factor

    def shifted(self, by: Float[Array, "*b _m"] | None) -> "Features":
        """Return exp(by) phi, or phi itself if it has no exponent."""
        if self.exponent is None or by is None:
            return self
        return self._replace(exponent=self.exponent + by)

    def where(self, real: Array) -> "Features":
        """Return phi where `real`, and 0 elsewhere."""
        if self.exponent is None:
            assert self.factor is not None
            return self._replace(factor=jnp.where(real, self.factor, 0))
        return self._replace(exponent=jnp.where(real, self.exponent, MASKED))


# Maps x of shape (..., d), in float32 or wider, and the drawn projections to the features of x.
FeatureMap = Callable[[Array, Any], Features]


@functools.cache
def softmax_features(estimator: str, projection: str, num_features: int) -> FeatureMap:
    """Make random features of exp(q^T k / sqrt(d)) = SM(q / d^(1/4), k / d^(1/4)), Section 2.2.

    They are not divided by sqrt(m), so their products estimate m times the kernel. This matters
    only without renormalisation.

    Args:
        estimator: a key of `ESTIMATORS`.
        projection: a key of `PROJECTIONS`.
        num_features: m, the number of rows of the projection.
    """
    features, apply = ESTIMATORS[estimator], PROJECTIONS[projection].apply

    def of(x: Array, drawn: Any) -> Features:
        # As one matrix of rows, which both operations read: XLA otherwise copies x for each.
        scaled = (x * x.shape[-1] ** -0.25).reshape(-1, x.shape[-1])
        half = jnp.sum(jnp.square(scaled), axis=-1, keepdims=True) / 2
        projected = apply(scaled, drawn)[..., :num_features]
        return features(*(part.reshape(*x.shape[:-1], -1) for part in (projected, half)))

    return of


def _positive(projected: Array, half: Array) -> Features:
    """Return exp(w^T x - |x|^2 / 2): SM+, Lemma 1 and Eq. (6) with l = 1, f = exp."""
    return Features(projected - half, None)


def _hyperbolic(projected: Array, half: Array) -> Features:
    """Return exp(+-w^T x - |x|^2 / 2) / sqrt(2): SMhyp+, the second form of Lemma 1.

    There are two values per projection.
    """
    both = jnp.concatenate([projected, -projected], axis=-1)
    return Features(both - half - jnp.log(2.0) / 2, None)


def _trigonometric(projected: Array, half: Array) -> Features:
    """Return exp(|x|^2 / 2) (cos w^T x, sin w^T x): SMtrig.

    There are two values per projection, which may be negative.
    """
    waves = jnp.concatenate([jnp.cos(projected), jnp.sin(projected)], axis=-1)
    return Features(jnp.broadcast_to(half, waves.shape), waves)


ESTIMATORS = {
    "positive": _positive,
    "hyperbolic": _hyperbolic,
    "trigonometric": _trigonometric,
}


@functools.cache
def generalized_features(
    kernel: str, projection: str, num_features: int, epsilon: float
) -> FeatureMap:
    """Make the features (f(w^T x) + epsilon) / sqrt(m): Eq. (5) with h = 1 and f of `KERNELS`.

    The paper's kernel epsilon keeps normalisers away from zero. As in the authors' JAX code, it is
    added to f itself, so its weight against f does not depend on m. Their TensorFlow code applies
    ReLU to w^T x / sqrt(m) instead, and the same epsilon weighs sqrt(m) times as much there.

    The features of `exp` are exp(w^T x), without epsilon and without the factor 1 / sqrt(m), so
    their products estimate m times the kernel. This matters only without renormalisation.

    Args:
        kernel: a key of `KERNELS`: f.
        projection: a key of `PROJECTIONS`, or "none": then x takes the place of w^T x, and d that
            of m.
        num_features: m, the number of rows of the projection, if there is one.
        epsilon: kernel epsilon.
    """
    f = KERNELS[kernel]

    def of(x: Array, drawn: Any) -> Features:
        projected = x
        if projection != "none":
            projected = PROJECTIONS[projection].apply(x, drawn)[..., :num_features]
        if kernel == "exp":
            return Features(projected, None)
        return Features(None, (f(projected) + epsilon) * projected.shape[-1] ** -0.5)

    return of


KERNELS: dict[str, Callable[[Array], Array]] = {
    "relu": jax.nn.relu,
    "exp": jnp.exp,
    "sigmoid": jax.nn.sigmoid,
    "abs": jnp.abs,
    "gelu": jax.nn.gelu,
    "cos": jnp.cos,
    "tanh": jnp.tanh,
    "identity": lambda x: x,
    "square-relu": lambda x: jnp.square(jax.nn.relu(x)),
    "elu+1": lambda x: jax.nn.elu(x) + 1,
}


def elu_features(x: Array, drawn: None) -> Features:
    """Return elu(x) + 1 = exp(min(x, 0)) (1 + max(x, 0)), Eq. (7) of Katharopoulos et al."""
    del drawn
    return Features(jnp.minimum(x, 0), 1 + jnp.maximum(x, 0))
