"""The layers compute what Flax's compute, forward and backward."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from lra_bench import layers
from lra_bench.layers import Dense, LayerNorm

B, L, E, F = 3, 11, 5, 7
NORMS = (LayerNorm, nnx.LayerNorm)


def inputs(features=E, dtype=jnp.float32):
    x = jax.random.normal(jax.random.key(1), (B, L, features)) * 3 + 2
    return x.astype(dtype)


def with_gradients(layer, x):
    """The output, and the gradients of the input and of the layer's parameters, made different."""
    graph, params = nnx.split(layer)
    params = jax.tree.map(lambda p: p + 0.1 * jnp.arange(p.size).reshape(p.shape), params)

    @jax.jit
    def call(params, x):
        out, pull = jax.vjp(lambda params, x: nnx.merge(graph, params)(x), params, x)
        weights = jnp.cos(jnp.arange(out.size).reshape(out.shape)).astype(out.dtype)
        return out, pull(weights)

    return jax.tree.leaves(call(params, x))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize(
    ("ours", "flax", "sizes"), [(Dense, nnx.Linear, (E, F)), (LayerNorm, nnx.LayerNorm, (E,))]
)
def test_layers_are_those_of_flax(ours, flax, sizes, dtype):
    pair = [kind(*sizes, dtype=dtype, rngs=nnx.Rngs(0)) for kind in (ours, flax)]
    found, wanted = (with_gradients(layer, inputs(dtype=dtype)) for layer in pair)
    for one, other in zip(found, wanted, strict=True):
        assert one.dtype == other.dtype
        one, other = (np.asarray(x, np.float32) for x in (one, other))
        tolerance = np.abs(other).max() * (1e-5 if dtype == jnp.float32 else 0.03)
        np.testing.assert_allclose(one, other, atol=tolerance)


def test_a_norm_has_its_epsilon_forward_and_backward():
    pair = [kind(E, epsilon=2.0, dtype=jnp.float32, rngs=nnx.Rngs(0)) for kind in NORMS]
    for one, other in zip(*(with_gradients(layer, inputs()) for layer in pair), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5 * np.abs(other).max())


def test_a_dense_layer_of_no_dtype_is_of_that_of_its_input():
    """A mixer is built before the type of its tokens is known."""
    one, other = (Dense(E, F, dtype=dtype, rngs=nnx.Rngs(0)) for dtype in (None, jnp.bfloat16))
    x = inputs(dtype=jnp.bfloat16)
    for found, wanted in zip(with_gradients(one, x), with_gradients(other, x), strict=True):
        assert found.dtype == wanted.dtype
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_products_are_summed_in_float32(dtype):
    """By their declared type, whatever XLA does without one; gradients too."""
    layer = Dense(E, F, dtype=dtype, rngs=nnx.Rngs(0))
    program = jax.make_jaxpr(jax.grad(lambda x: layer(x).astype(jnp.float32).sum()))
    types = re.findall(r"preferred_element_type=(\w+)", str(program(inputs(dtype=dtype))))
    assert types
    assert set(types) == {"float32"}


def test_the_kernel_gradient_is_the_same_for_every_device(monkeypatch):
    x, gradient = inputs(E), inputs(F)
    on_cpu = layers._kernel_gradient(x, gradient)
    monkeypatch.setattr(layers, "platform", lambda: "tpu")
    np.testing.assert_allclose(layers._kernel_gradient(x, gradient), on_cpu, rtol=1e-5)


def test_layer_norm_of_large_numbers_is_exact():
    """A variance by the mean of squares would lose its digits here."""
    x = inputs() + 1e4
    exact = np.asarray(x, np.float64)
    exact = (exact - exact.mean(-1, keepdims=True)) / np.sqrt(exact.var(-1, keepdims=True) + 1e-6)
    found = LayerNorm(E, dtype=jnp.float32, rngs=nnx.Rngs(0))(x)
    np.testing.assert_allclose(found, exact, atol=2e-3)


def test_gelu_is_that_of_jax():
    x = inputs()
    for found, wanted in zip(
        jax.value_and_grad(lambda x: jnp.sum(layers.gelu(x)))(x),
        jax.value_and_grad(lambda x: jnp.sum(jax.nn.gelu(x)))(x),
        strict=True,
    ):
        np.testing.assert_allclose(found, wanted, rtol=1e-6)
