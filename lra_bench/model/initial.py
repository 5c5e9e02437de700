"""The distributions from which the parameters of the shared model are drawn."""

from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx
from flax.typing import Initializer
from jaxtyping import Array, Key

from lra_bench.layers import FLAX, Drawn

Scheme = Literal["flax", "pytorch", "lra"]
_SMALL = 0.02  # the standard deviation of embeddings in BERT, and in Nystromformer's code
_TINY = 1e-6  # that of biases in the LRA code


def dense(scheme: Scheme, inputs: int) -> Drawn:
    """Return the initialisers of kernel and bias of the encoder's dense layers.

    Args:
        scheme: "flax": LeCun's normal distribution, biases 0. "pytorch": U(-n^-1/2, n^-1/2) for
            both, where n is the number of inputs (`torch.nn.Linear`). "lra": Glorot's uniform
            distribution, biases from N(0, 1e-12).
        inputs: n.
    """
    if scheme == "pytorch":
        return Drawn(_uniform(inputs), _uniform(inputs))
    if scheme == "lra":
        return Drawn(nnx.initializers.xavier_uniform(), nnx.initializers.normal(_TINY))
    return FLAX


def head(scheme: Scheme, inputs: int) -> Drawn:
    """Return the initialisers of the classifier's layers; the LRA code has Flax's there."""
    return dense("flax" if scheme == "lra" else scheme, inputs)


def tokens(scheme: Scheme, features: int, *, cls: bool) -> Initializer:
    """Return the initialiser of the token embedding, whose last row is that of CLS if `cls`.

    Its standard deviation is features^-1/2 for "flax", 0.02 for "pytorch" and 1 for "lra". With
    "lra" the vector of CLS is 0.
    """
    draw = nnx.initializers.normal({"pytorch": _SMALL, "lra": 1.0}.get(scheme, features**-0.5))

    def with_zero(key: Key[Array, ""], shape: Any, dtype: Any = jnp.float32, **_: Any) -> Array:
        return draw(key, shape, dtype).at[-1].set(0)

    return with_zero if cls and scheme == "lra" else draw


def positions(scheme: Scheme, features: int) -> Initializer:
    """Return the initialiser of learned positions: of standard deviation features^-1/2 or 0.02."""
    return nnx.initializers.normal(features**-0.5 if scheme == "flax" else _SMALL)


def _uniform(inputs: int) -> Initializer:
    size = inputs**-0.5

    def draw(key: Key[Array, ""], shape: Any, dtype: Any = jnp.float32, **_: Any) -> Array:
        return jax.random.uniform(key, shape, dtype, -size, size)

    return draw
