"""The mechanism of a model: made by name from the registry, its output checked."""

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import jax
from flax import nnx
from jaxtyping import Array

from lra_bench.contracts import Dims
from lra_bench.errors import RunError, UsageError
from lra_bench.ranges import valid
from lra_bench.registry import ATTENTIONS

# Of (q, k, v, mask), or of (x, mask) if it is a mixer.
AttentionFunction = Callable[..., Array]


def build_attention(
    name: str, dims: Dims, options: dict[str, Any], rngs: nnx.Rngs
) -> AttentionFunction:
    """Return the mechanism of that name as a function of (q, k, v, mask), or of (x, mask).

    Raises:
        UsageError: no mechanism has that name, or it refuses the value of an option.
        TypeError: it has no such option.
    """
    entry = ATTENTIONS.get(name)
    types, target = entry.types(), entry.target
    try:
        for option in options.keys() & types.keys():
            valid(option, options[option], types[option])
        if isinstance(target, type):
            return target(dims, rngs=rngs, **options)
    except ValueError as error:
        raise UsageError(f"attention {name}: {error}") from error
    return functools.partial(target, **options) if options else target


def share_among(layers: Sequence[AttentionFunction]) -> None:
    """Let the mechanisms of later layers share arrays with that of the first, if they want to.

    Such a mechanism has a method `share_with(first)`.
    """
    for later in layers[1:]:
        share = getattr(later, "share_with", None)
        if share is not None:
            share(layers[0])


def attended(
    name: str, attend: AttentionFunction, *arrays: Array, **given: Array | nnx.Rngs | None
) -> Array:
    """Return the output of a mechanism, which must have the shape and the dtype of `v` or `x`.

    Args:
        name: of the mechanism.
        attend: the mechanism.
        arrays: q, k, v and mask, or x and mask.
        given: `rngs`, the random keys of the training, None in evaluation; and `stream`, what the
            output is added to. Each is for mechanisms that have such a parameter.

    Raises:
        RunError: it has not.
    """
    like = arrays[-2]
    out = attend(*arrays, **_taken(attend, given))
    if not isinstance(out, jax.Array):
        raise RunError(f"{name}: returned {type(out).__name__}, expected an array {like.shape}")
    for found, expected in ((out.shape, like.shape), (out.dtype, like.dtype)):
        if found != expected:
            raise RunError(f"{name}: returned {found}, expected {expected}")
    return out


def _taken(attend: AttentionFunction, given: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments that a mechanism has parameters for."""
    return {name: given[name] for name in inspect.signature(attend).parameters if name in given}
