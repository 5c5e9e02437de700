"""Positions that are added, and rotations of queries and keys."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from common import refused

from lra_bench.model.positions import rotated, sinusoids


def test_sinusoids_are_those_of_the_paper():
    table = sinusoids(7, 6)
    rate = 1e4 ** (-2 / 6)
    np.testing.assert_allclose(table[5, 1], np.sin(5 * rate), rtol=1e-5)
    np.testing.assert_allclose(table[5, 4], np.cos(5 * rate), rtol=1e-5)


def test_a_rotation_is_the_complex_product_of_the_paper():
    """Eq. (14): the pair as a complex number, times e^(i n theta)."""
    x = np.random.default_rng(0).standard_normal((2, 9, 3, 6))
    rates = 1e4 ** (-2 * np.arange(3) / 6)
    expected = (x[..., 0::2] + 1j * x[..., 1::2]) * np.exp(1j * np.arange(9)[:, None, None] * rates)
    found = np.asarray(rotated(jnp.asarray(x, jnp.float32)))
    np.testing.assert_allclose(found[..., 0::2], expected.real, atol=1e-5)
    np.testing.assert_allclose(found[..., 1::2], expected.imag, atol=1e-5)


def test_products_depend_on_the_distance_only():
    q, k = jax.random.normal(jax.random.key(0), (2, 1, 1, 2, 8))
    q, k = (rotated(jnp.broadcast_to(x, (1, 20, 2, 8))) for x in (q, k))
    products = np.einsum("bqhd,bkhd->hqk", q, k)
    np.testing.assert_allclose(products[:, 3:, 3:], products[:, :-3, :-3], atol=1e-4)
    assert abs(products[0, 0, 0] - products[0, 0, 5]) > 1e-3


def test_rotation_keeps_the_type():
    assert rotated(jnp.ones((1, 2, 1, 4), jnp.bfloat16)).dtype == jnp.bfloat16


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--set", "model.head_dim=5"), ("model.head_dim=5", "even")),
        (("--attention", "fnet"), ("fnet has none",)),
    ],
)
def test_what_cannot_be_turned_is_refused(cli, tmp_path, arguments, words):
    rotary = ("--set", "model.positions=rotary")
    out = tmp_path / "out"
    refused(cli("run", "--preset", "smoke", *rotary, *arguments, "--out", out), 2, *words)
    assert not out.exists()
