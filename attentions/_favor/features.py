"""Feature maps phi, for kernels K(x, y) = E[phi(x)^T phi(y)]."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lra_bench.attentions._common import MASKED
from lra_bench.attentions._favor.projections import PROJECTIONS


class Features(NamedTuple):
    """phi = factor exp(exponent); whichever is None is left out.

    Kept apart so that `kernel_attention` can shift the exponents before they are exponentiated:
    a shift that a query's features have in common, or that a feature of the keys has and the
    queries' counterpart has not, cancels between numerator and normaliser.
    """

    exponent: Float[Array, "*b m"] | None
    factor: Float[Array, "*b m"] | None

    @property
    def dim(self) -> int:
        """The number of values a token has."""
        part = self.factor if self.exponent is None else self.exponent
        assert part is not None
        return part.shape[-1]

    def value(self) -> Float[Array, "*b m"]:
        """phi."""
        if self.exponent is None:
            assert self.factor is not None
            return self.factor
        scale = jnp.exp(self.exponent)
        return scale if self.factor is None else scale * self.factor

    def shifted(self, by: Float[Array, "*b _m"] | None) -> "Features":
        """exp(by) phi."""
        if self.exponent is None or by is None:
            return self
        return self._replace(exponent=self.exponent + by)

    def where(self, real: Array) -> "Features":
        """phi, but 0 where not `real`."""
        if self.exponent is None:
            assert self.factor is not None
            return self._replace(factor=jnp.where(real, self.factor, 0))
        return self._replace(exponent=jnp.where(real, self.exponent, MASKED))


# From x, float32 or wider, (..., d) and whatever it projects by, to the features of x.
FeatureMap = Callable[[Array, Any], Features]


@functools.cache
def softmax_features(estimator: str, projection: str, num_features: int) -> FeatureMap:
    """Random features of exp(q^T k / sqrt(d)) = SM(q / d^(1/4), k / d^(1/4)), Section 2.2.

    They are not divided by sqrt(m), so that the kernel is m times what they estimate: only
    without renormalisation does that matter.

    Args:
        estimator: one of `ESTIMATORS`.
        projection: one of `PROJECTIONS`.
        num_features: m, the rows of the projection.
    """
    features, apply = ESTIMATORS[estimator], PROJECTIONS[projection].apply

    def of(x: Array, drawn: Any) -> Features:
        scaled = x * x.shape[-1] ** -0.25
        half = jnp.sum(jnp.square(scaled), axis=-1, keepdims=True) / 2
        return features(apply(scaled, drawn)[..., :num_features], half)

    return of


def _positive(projected: Array, half: Array) -> Features:
    """exp(w^T x - |x|^2 / 2): SM+, Lemma 1 and Eq. (6) with l = 1, f = exp."""
    return Features(projected - half, None)


def _hyperbolic(projected: Array, half: Array) -> Features:
    """exp(+-w^T x - |x|^2 / 2) / sqrt(2): SMhyp+, Lemma 1's second form, two values a feature."""
    both = jnp.concatenate([projected, -projected], axis=-1)
    return Features(both - half - jnp.log(2.0) / 2, None)


def _trigonometric(projected: Array, half: Array) -> Features:
    """exp(|x|^2 / 2) (cos w^T x, sin w^T x): SMtrig, two values a feature, of either sign."""
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
    """f(w^T x) / sqrt(m) + epsilon: Eq. (5) with h = 1 and f one of `KERNELS`.

    The paper's kernel epsilon keeps normalisers away from zero; exp needs none.

    Args:
        kernel: f.
        projection: one of `PROJECTIONS`, or "none" for f(x) itself.
        num_features: m, the rows of the projection, if there is one.
        epsilon: kernel epsilon.
    """
    f = KERNELS[kernel]

    def of(x: Array, drawn: Any) -> Features:
        projected = x
        if projection != "none":
            projected = PROJECTIONS[projection].apply(x, drawn)[..., :num_features]
        if kernel == "exp":
            return Features(projected, None)
        return Features(None, f(projected) * projected.shape[-1] ** -0.5 + epsilon)

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
    """elu(x) + 1 = exp(min(x, 0)) (1 + max(x, 0)), Eq. (7) of Katharopoulos et al."""
    del drawn
    return Features(jnp.minimum(x, 0), 1 + jnp.maximum(x, 0))
