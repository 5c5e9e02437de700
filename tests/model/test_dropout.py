"""Dropout draws the bits that JAX's own functions draw, and drops the right share."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given
from hypothesis import strategies as st

from lra_bench.model.dropout import Dropout, kept, random_bits

# Of every number of axes, even and odd, since each shape is compiled.
SHAPES = ((), (1,), (8,), (3, 5), (2, 1, 9), (4, 3, 2, 5))


@functools.partial(jax.jit, static_argnums=1)
def both_bits(key, shape):
    return random_bits(key, shape), jax.random.bits(key, shape)


@given(shape=st.sampled_from(SHAPES), seed=st.integers(0, 2**32 - 1))
def test_the_bits_are_those_of_jax(shape, seed):
    np.testing.assert_array_equal(*both_bits(jax.random.key(seed), shape))


@given(share=st.floats(0.125, 1, width=32), seed=st.integers(0, 99))
def test_a_choice_is_that_of_bernoulli(share, seed):
    key = jax.random.key(seed)
    wanted = jax.random.bernoulli(key, share, (50, 7))
    np.testing.assert_array_equal(kept(key, share, (50, 7)), wanted)


@pytest.mark.parametrize("generator", ["threefry", "rbg"])
def test_numbers_are_kept_or_dropped(generator):
    drop = jax.jit(lambda x, key: Dropout(0.25, generator)(x, nnx.Rngs(dropout=key)))
    x = jnp.arange(1.0, 40_001).reshape(4, 100, 100)
    out, again, other = (drop(x, jax.random.key(seed)) for seed in (0, 0, 1))
    assert set(np.asarray(out / x).round(4).ravel()) == {0, np.float32(1.3333)}
    assert abs(np.mean(out == 0) - 0.25) < 0.01  # sd 0.002
    np.testing.assert_array_equal(out, again)
    assert 0.3 < np.mean((out == 0) != (other == 0)) < 0.45  # 0.375 of independent choices


@pytest.mark.parametrize("generator", ["threefry", "rbg"])
def test_the_gradient_passes_where_numbers_are_kept(generator):
    def total(x):
        return jnp.sum(Dropout(0.5, generator)(x, nnx.Rngs(dropout=jax.random.key(0))))

    x = jnp.ones((8, 8))
    gradient = jax.jit(jax.grad(total))(x)
    np.testing.assert_array_equal(
        gradient, Dropout(0.5, generator)(x, nnx.Rngs(dropout=jax.random.key(0)))
    )


def test_without_keys_or_at_rate_zero_nothing_is_dropped():
    x = jnp.ones((3, 4))
    assert Dropout(0.5, "threefry")(x, None) is x
    assert Dropout(0.0, "threefry")(x, nnx.Rngs(dropout=0)) is x
