"""Floating-point operations of a program, loops counted as often as they run."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr

# Operations that move or rename numbers but compute none.
_FREE = {
    "broadcast_in_dim", "concatenate", "convert_element_type", "copy", "copy_p", "device_put",
    "dynamic_slice", "dynamic_update_slice", "gather", "iota", "pad", "reshape", "rev", "scatter",
    "select_n", "sharding_constraint", "slice", "split", "squeeze", "stack", "stop_gradient",
    "transpose",
}  # fmt: skip
# The beginnings of the names of operations that look at more numbers than they return.
_REDUCING = ("reduce", "argmax", "argmin", "top_k", "approx_top_k")
# Products of matrices in cuDNN's attention; its gradient computes the logits a second time.
_CUDNN_PRODUCTS = {
    "dot_product_attention_fwd_wrapper": 2,
    "dot_product_attention_bwd_wrapper": 5,
}
_UNCOUNTED = "uncounted_operations"


class _UnknownTurnsError(Exception):
    """A loop runs until a condition holds, so nothing tells how often."""


def count_flops(function: Callable[..., Any], *args: Any) -> float | None:
    """Return the floating-point operations of `function(*args)`, which is traced, not run.

    A product of matrices counts two for each pair of a multiplication and an addition, and so does
    a convolution, with those in which padding is a factor. A fast Fourier transform of n complex
    points counts 5 n log2(n), one of real numbers half as many. Any other operation counts one for
    each number that it returns or, if it reduces or adds to places of an array, takes. XLA's own
    count takes the body of a loop once, however often it runs.

    Args:
        function: any function that JAX can trace.
        args: arrays, or their shapes.

    Returns:
        The operations; None if a loop does not say how often it runs.
    """
    return flops_of(jax.make_jaxpr(function)(*args))


def flops_of(program: ClosedJaxpr) -> float | None:
    """Return the operations of a program that is already traced; see `count_flops`."""
    try:
        return _count(program.jaxpr)
    except _UnknownTurnsError:
        return None


def uncounted(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the same function of arrays, whose operations `count_flops` leaves out.

    It is for a branch that runs only on rare inputs.
    """

    def call(*args: Any) -> Any:
        return function(*args)

    call.__name__ = call.__qualname__ = _UNCOUNTED
    return jax.jit(call)


def _count(jaxpr: Any) -> float:
    return sum(_operations(equation) for equation in jaxpr.eqns)


def _operations(equation: Any) -> float:
    name, params = equation.primitive.name, equation.params
    if params.get("name") == _UNCOUNTED or name in _FREE:
        return 0.0
    if name == "while":
        raise _UnknownTurnsError
    if name in _FORMULAS:
        return _FORMULAS[name](equation)
    if name.startswith("scatter"):  # with the updates, the last of what it takes
        return float(_size(equation.invars[2:]))
    if name.startswith(_REDUCING):
        return float(_size([*equation.invars, *equation.outvars]))
    inner = [_count(jaxpr) for jaxpr in _inner(params)]
    if name == "cond":
        return max(inner)
    return sum(inner) * _repeats(name, params) if inner else float(_size(equation.outvars))


def _repeats(name: str, params: dict[str, Any]) -> int:
    """Return how often the program in an operation runs, on all devices together."""
    if name == "shard_map":
        axes = next(value for key, value in params.items() if key.endswith("manual_axes"))
        return math.prod(params["mesh"].shape[axis] for axis in axes)
    return params["length"] if name == "scan" else 1


def _of_product(equation: Any) -> float:
    """Return the operations of a product of matrices."""
    (contracted, _), _ = equation.params["dimension_numbers"]
    shape = equation.invars[0].aval.shape
    return 2.0 * _size(equation.outvars) * math.prod(shape[axis] for axis in contracted)


def _of_convolution(equation: Any) -> float:
    """Return the operations of a convolution: a number takes the whole kernel of its channel."""
    shape = equation.invars[1].aval.shape
    channels = shape[equation.params["dimension_numbers"].rhs_spec[0]]
    return 2.0 * _size(equation.outvars) * math.prod(shape) / max(channels, 1)


def _of_windows(equation: Any) -> float:
    """Return the operations of reductions of windows: one for each number in each."""
    return float(_size(equation.outvars) * math.prod(equation.params["window_dimensions"]))


def _of_cudnn(equation: Any) -> float:
    """Return the operations of the products of matrices in cuDNN's attention."""
    queries, keys = (x.aval.shape for x in equation.invars[:2])  # both are b l h d
    return 2.0 * _CUDNN_PRODUCTS[equation.primitive.name] * math.prod(queries) * keys[1]


def _of_transform(equation: Any) -> float:
    """Return the operations of Fourier transforms of n points, each 5 n log2(n), or half of it."""
    sides = [*equation.invars, *equation.outvars]
    each = 5.0 if all(np.iscomplexobj(side.aval) for side in sides) else 2.5
    points = math.prod(equation.params["fft_lengths"])
    return each * _size(sides) * math.log2(max(points, 2))


_FORMULAS: dict[str, Callable[[Any], float]] = {
    "dot_general": _of_product,
    "conv_general_dilated": _of_convolution,
    "fft": _of_transform,
    **dict.fromkeys(("reduce_window", "reduce_window_sum", "reduce_window_max",
                     "reduce_window_min"), _of_windows),
    **dict.fromkeys(_CUDNN_PRODUCTS, _of_cudnn),
}  # fmt: skip


def _size(variables: list[Any]) -> int:
    return max((math.prod(v.aval.shape) for v in variables if hasattr(v.aval, "shape")), default=0)


def _inner(params: dict[str, Any]) -> Iterator[Any]:
    """Yield the programs inside: a loop's body, a branch, a called function."""
    for value in params.values():
        for one in value if isinstance(value, tuple | list) else (value,):
            jaxpr = getattr(one, "jaxpr", one)
            if hasattr(jaxpr, "eqns"):
                yield jaxpr
