"""The mechanism of a model: made by name from the registry, its output checked."""

import functools
from collections.abc import Callable
from typing import Any

import jax
from flax import nnx
from jaxtyping import Array

from lra_bench.contracts import Dims
from lra_bench.errors import RunError, UsageError
from lra_bench.registry import ATTENTIONS

AttentionFunction = Callable[[Array, Array, Array, Array], Array]


def build_attention(
    name: str, dims: Dims, options: dict[str, Any], rngs: nnx.Rngs
) -> AttentionFunction:
    """Return the mechanism of that name as a function of (q, k, v, mask).

    Raises:
        UsageError: no mechanism has that name, or it refuses the value of an option.
        TypeError: it has no such option.
    """
    entry = ATTENTIONS.get(name)
    for option, choices in entry.choices().items():
        if options.get(option, choices[0]) not in choices:
            valid = ", ".join(choices)
            raise UsageError(f"attention.{option}={options[option]!r}: valid: {valid}")
    target = entry.target
    if isinstance(target, type):
        try:
            return target(dims, rngs=rngs, **options)
        except ValueError as error:
            raise UsageError(f"attention {name}: {error}") from error
    return functools.partial(target, **options) if options else target


def attended(
    name: str, attend: AttentionFunction, q: Array, k: Array, v: Array, mask: Array
) -> Array:
    """Return the output of a mechanism, which must have the shape and the dtype of `v`.

    Raises:
        RunError: it has not.
    """
    out = attend(q, k, v, mask)
    if not isinstance(out, jax.Array):
        raise RunError(f"{name}: returned {type(out).__name__}, expected an array {v.shape}")
    for found, expected in ((out.shape, v.shape), (out.dtype, v.dtype)):
        if found != expected:
            raise RunError(f"{name}: returned {found}, expected {expected}")
    return out
