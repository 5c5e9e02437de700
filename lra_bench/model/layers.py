"""Dense layers, layer normalisation and GELU: as in Flax, with faster gradients on CPUs."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from lra_bench.runtime.mesh import platform

_EPSILON = 1e-6  # of layer normalisation, as in Flax

# The backward pass computes tanh again: to keep it would take one more array of that size.
gelu = jax.checkpoint(jax.nn.gelu)


class Dense(nnx.Linear):
    """Compute x W + b for each token, with Flax's parameters."""

    def __call__(self, inputs: Float[Array, "b l e"]) -> Float[Array, "b l f"]:
        """Return the layer's output, in the layer's dtype."""
        assert self.bias is not None
        arrays = (inputs, self.kernel[...], self.bias[...])
        x, kernel, bias = (array.astype(self.dtype) for array in arrays)
        return _product(x, kernel) + bias


@jax.custom_vjp
def _product(x: Float[Array, "b l e"], kernel: Float[Array, "e f"]) -> Float[Array, "b l f"]:
    return jnp.einsum("ble,ef->blf", x, kernel)


def _product_forward(x: Array, kernel: Array) -> tuple[Array, tuple[Array, Array]]:
    return _product(x, kernel), (x, kernel)


def _product_backward(arrays: tuple[Array, Array], gradient: Array) -> tuple[Array, Array]:
    x, kernel = arrays
    return jnp.einsum("blf,ef->ble", gradient, kernel), _kernel_gradient(x, gradient)


_product.defvjp(_product_forward, _product_backward)


def _kernel_gradient(
    x: Float[Array, "b l e"], gradient: Float[Array, "b l f"]
) -> Float[Array, "e f"]:
    """Return x^T gradient, summed over all tokens in float32.

    On CPUs each example has its own product, because XLA's product over all tokens at once is
    slow there: it divides the result among the cores, and the result is small.
    """
    equation = "ble,blf->bef" if platform() == "cpu" else "ble,blf->ef"
    product = jnp.einsum(equation, x, gradient, preferred_element_type=jnp.float32)
    return jnp.sum(product, axis=tuple(range(product.ndim - 2))).astype(x.dtype)


class LayerNorm(nnx.LayerNorm):
    """Compute layer normalisation of each token, with Flax's parameters."""

    def __call__(self, x: Float[Array, "b l e"]) -> Float[Array, "b l e"]:
        """Return the layer's output, computed in float32, in the layer's dtype."""
        assert self.scale is not None
        assert self.bias is not None
        x = x.astype(jnp.float32)
        return _normalised(x, self.scale[...], self.bias[...]).astype(self.dtype)


@jax.custom_vjp
def _normalised(
    x: Float[Array, "b l e"], scale: Float[Array, " e"], bias: Float[Array, " e"]
) -> Float[Array, "b l e"]:
    """Compute (x - mean) / sqrt(variance + epsilon) * scale + bias: Ba et al. 2016, Eq. (4)."""
    return _normalised_forward(x, scale, bias)[0]


def _normalised_forward(x: Array, scale: Array, bias: Array) -> tuple[Array, tuple[Array, ...]]:
    mean = jnp.mean(x, axis=-1, keepdims=True)
    variance = jnp.mean(jnp.square(x - mean), axis=-1, keepdims=True)
    rate = jax.lax.rsqrt(variance + _EPSILON)
    return (x - mean) * rate * scale + bias, (x, mean, rate, scale)


def _normalised_backward(
    kept: tuple[Array, ...], gradient: Float[Array, "b l e"]
) -> tuple[Array, Array, Array]:
    """Return the gradients of x, scale and bias.

    With y = (x - mean) * rate and g = gradient * scale, that of x is
    rate * (g - mean(g) - y mean(g y)).
    """
    x, mean, rate, scale = kept
    y, scaled = (x - mean) * rate, gradient * scale
    centred = scaled - jnp.mean(scaled, axis=-1, keepdims=True)
    dx = rate * (centred - y * jnp.mean(scaled * y, axis=-1, keepdims=True))
    return dx, jnp.sum(gradient * y, axis=(0, 1)), jnp.sum(gradient, axis=(0, 1))


_normalised.defvjp(_normalised_forward, _normalised_backward)
