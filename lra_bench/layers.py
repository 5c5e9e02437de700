"""Dense layers, layer normalisation and GELU: as in Flax, with faster gradients on CPUs."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from flax.typing import Initializer
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from lra_bench.runtime.mesh import platform, sequence_shards

_EPSILON = 1e-6  # of layer normalisation, as in Flax
_LEAST_BLOCK = 64  # tokens; smaller products are dominated by the sum of their results

# The backward pass computes tanh or erf again: to keep it would take one more array of that size.
gelu = jax.checkpoint(jax.nn.gelu)
gelu_erf = jax.checkpoint(functools.partial(jax.nn.gelu, approximate=False))


class Drawn(NamedTuple):
    """The initialisers of a dense layer."""

    kernel: Initializer
    bias: Initializer


FLAX = Drawn(nnx.initializers.lecun_normal(), nnx.initializers.zeros)


class Dense(nnx.Module):
    """Compute x W + b for each token, with the parameters of `nnx.Linear`.

    Without `dtype` it computes in the dtype of the input. Without `use_bias`, b is 0. `drawn` are
    the initialisers of W and b; usually they are Flax's.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        dtype: DTypeLike | None = None,
        use_bias: bool = True,
        drawn: Drawn = FLAX,
        rngs: nnx.Rngs,
    ) -> None:
        kernel, bias = drawn
        flax = nnx.Linear(
            inputs, outputs, use_bias=use_bias, kernel_init=kernel, bias_init=bias, rngs=rngs
        )
        self.kernel, self.bias, self.dtype = flax.kernel, flax.bias, dtype

    def __call__(self, x: Float[Array, "b l e"]) -> Float[Array, "b l f"]:
        """Return the layer's output, in the layer's dtype."""
        dtype = x.dtype if self.dtype is None else self.dtype
        product = _product(x.astype(dtype), self.kernel[...].astype(dtype))
        return product if self.bias is None else _plus_bias(product, self.bias[...])


@jax.custom_vjp
def _plus_bias(x: Float[Array, "b l f"], bias: Float[Array, " f"]) -> Float[Array, "b l f"]:
    """Return x + b in the dtype of x; the gradient of b is summed in float32 or wider."""
    return x + bias.astype(x.dtype)


def _bias_forward(x: Array, bias: Array) -> tuple[Array, Array]:
    return _plus_bias(x, bias), bias


def _bias_backward(bias: Array, gradient: Array) -> tuple[Array, Array]:
    wide = jnp.promote_types(gradient.dtype, jnp.float32)
    return gradient, jnp.sum(gradient, axis=(0, 1), dtype=wide).astype(bias.dtype)


_plus_bias.defvjp(_bias_forward, _bias_backward)


@jax.custom_vjp
def _product(x: Float[Array, "b l e"], kernel: Float[Array, "e f"]) -> Float[Array, "b l f"]:
    return _summed("ble,ef->blf", x, kernel)


def _product_forward(x: Array, kernel: Array) -> tuple[Array, tuple[Array, Array]]:
    return _product(x, kernel), (x, kernel)


def _product_backward(arrays: tuple[Array, Array], gradient: Array) -> tuple[Array, Array]:
    x, kernel = arrays
    return _summed("blf,ef->ble", gradient, kernel), _kernel_gradient(x, gradient)


_product.defvjp(_product_forward, _product_backward)


def _summed(equation: str, x: Array, kernel: Array) -> Array:
    """Return the product in the dtype of `x`, with sums in float32 or wider."""
    dtype = jnp.promote_types(x.dtype, jnp.float32)
    return jnp.einsum(equation, x, kernel, preferred_element_type=dtype).astype(x.dtype)


def _kernel_gradient(
    x: Float[Array, "b l e"], gradient: Float[Array, "b l f"]
) -> Float[Array, "e f"]:
    """Return x^T gradient, summed over all tokens in float32.

    On CPUs tokens are multiplied in blocks, because XLA's product over all of them is slow there:
    it divides the result among the cores, and the result is small. The products of all blocks take
    at most half as much memory as `x` and `gradient`.
    """
    wide = functools.partial(jnp.einsum, preferred_element_type=jnp.float32)
    if platform() != "cpu":
        return wide("ble,blf->ef", x, gradient).astype(x.dtype)
    block = _block(x.shape[1], x.shape[2], gradient.shape[2])
    blocks = (y.reshape(-1, block, y.shape[2]) for y in (x, gradient))
    return _over_examples(wide("nce,ncf->nef", *blocks)).astype(x.dtype)


def _block(length: int, inputs: int, outputs: int) -> int:
    """Return the least number of tokens in a block that divides the length; all if one is shared.

    Args:
        length: l, tokens of a sequence.
        inputs, outputs: e and f, the sizes of the kernel.
    """
    if sequence_shards() > 1:
        return length
    least = max(_LEAST_BLOCK, 2 * inputs * outputs // (inputs + outputs))
    divisors = (size for size in range(least, length + 1) if length % size == 0)
    return next(divisors, length)


def _over_examples(x: Array) -> Array:
    """Return the sum over the first axis, in float32.

    On CPUs it is a product with ones, because XLA's sum over an outer axis takes 40 times as long.
    """
    if platform() != "cpu":
        return jnp.sum(x, axis=0, dtype=jnp.float32)
    return jnp.tensordot(jnp.ones(len(x), jnp.float32), x.astype(jnp.float32), axes=1)


@jax.custom_vjp
def plus_positions(
    x: Float[Array, "b l e"], positions: Float[Array, "l e"]
) -> Float[Array, "b l e"]:
    """Return the vectors of tokens plus those of their positions."""
    return x + positions


def _positions_forward(x: Array, positions: Array) -> tuple[Array, None]:
    return plus_positions(x, positions), None


def _positions_backward(_: None, gradient: Array) -> tuple[Array, Array]:
    return gradient, _over_examples(gradient)


plus_positions.defvjp(_positions_forward, _positions_backward)


class LayerNorm(nnx.Module):
    """Compute layer normalisation of each token, with the parameters of `nnx.LayerNorm`."""

    def __init__(
        self, features: int, *, dtype: DTypeLike, epsilon: float = _EPSILON, rngs: nnx.Rngs
    ) -> None:
        flax = nnx.LayerNorm(features, rngs=rngs)
        assert flax.scale is not None
        assert flax.bias is not None
        self.scale, self.bias, self.dtype, self.epsilon = flax.scale, flax.bias, dtype, epsilon

    def __call__(self, x: Float[Array, "b l e"]) -> Float[Array, "b l e"]:
        """Return the layer's output, computed in float32, in the layer's dtype."""
        x = x.astype(jnp.float32)
        return _normalised(self.epsilon, x, self.scale[...], self.bias[...]).astype(self.dtype)


def _normal(
    epsilon: float, x: Float[Array, "b l e"], scale: Float[Array, " e"], bias: Float[Array, " e"]
) -> Float[Array, "b l e"]:
    """Compute (x - mean) / sqrt(variance + epsilon) * scale + bias: Ba et al. 2016, Eq. (4)."""
    return _standardised(x, epsilon)[0] * scale + bias


_normalised: Any = jax.custom_vjp(_normal, nondiff_argnums=(0,))


def _standardised(
    x: Float[Array, "b l e"], epsilon: float
) -> tuple[Float[Array, "b l e"], Float[Array, "b l 1"]]:
    """Return tokens of mean 0 and variance 1, and the factors that they were multiplied by."""
    centred = x - jnp.mean(x, axis=-1, keepdims=True)
    factor = jax.lax.rsqrt(jnp.mean(jnp.square(centred), axis=-1, keepdims=True) + epsilon)
    return centred * factor, factor


def _normalised_forward(
    epsilon: float, x: Array, scale: Array, bias: Array
) -> tuple[Array, tuple[Array, Array]]:
    return _normal(epsilon, x, scale, bias), (x, scale)


def _normalised_backward(
    epsilon: float, kept: tuple[Array, Array], gradient: Float[Array, "b l e"]
) -> tuple[Array, Array, Array]:
    """Return the gradients of x, scale and bias.

    With y = (x - mean) * factor and g = gradient * scale, that of x is
    factor * (g - mean(g) - y mean(g y)). The barrier makes XLA compute y again, which is faster
    than to keep it.
    """
    x, scale = kept
    x, gradient = jax.lax.optimization_barrier((x, gradient))
    y, factor = _standardised(x, epsilon)
    scaled = gradient * scale
    centred = scaled - jnp.mean(scaled, axis=-1, keepdims=True)
    dx = factor * (centred - y * jnp.mean(scaled * y, axis=-1, keepdims=True))
    return dx, jnp.sum(gradient * y, axis=(0, 1)), jnp.sum(gradient, axis=(0, 1))


_normalised.defvjp(_normalised_forward, _normalised_backward)
