"""FNet against NumPy's Fourier transforms of the real tokens."""

import jax
import numpy as np
import pytest
from real_tokens import SCATTERED, check_on_real_tokens

from lra_bench.attentions.fnet import _chirp
from lra_bench.contracts import Dims
from lra_bench.verification import subject


@pytest.mark.parametrize("features", [5, 4], ids=["odd", "even"])
def test_it_is_the_transform_of_the_real_tokens(features):
    def reference(x, _):
        return np.real(np.fft.fft(np.fft.fft(x, axis=1, norm="ortho"), axis=0, norm="ortho"))

    check_on_real_tokens("fnet", reference, SCATTERED, dims=Dims(3, features, 40))


def test_the_transform_is_the_sum_of_its_definition():
    """Section 3.1: X_k = sum_t x_t exp(-2 pi i t k / n), over features and tokens; / sqrt(n e)."""
    x = np.random.default_rng(0).standard_normal((1, 7, 3, 2)).astype(np.float32)
    tokens, features = (np.exp(-2j * np.pi * np.outer(range(n), range(n)) / n) for n in (7, 6))
    expected = np.real(tokens @ x.reshape(7, 6) @ features) / np.sqrt(7 * 6)
    found = subject.registered("fnet")(x, x, x, np.ones((1, 7), bool))
    np.testing.assert_allclose(found.reshape(7, 6), expected, rtol=0, atol=1e-5)


def test_every_number_of_real_tokens():
    """Each in a batch with all the others."""
    length = 33
    mask = subject.lengths_mask(*range(length + 1), length=length)
    _, _, x = subject.inputs(length=length, batch=length + 1)
    found = subject.registered("fnet")(x, x, x, mask).reshape(*mask.shape, -1)
    for count, (out, row) in enumerate(zip(found, x.reshape(*mask.shape, -1), strict=True)):
        if count:
            expected = np.real(np.fft.fft2(row[:count].astype(np.float64), norm="ortho"))
            np.testing.assert_allclose(out[:count], expected, rtol=0, atol=1e-4)
        assert not out[count:].any()


@pytest.mark.parametrize("count", [2**20, 2**20 - 1, 65_537])
def test_phases_of_the_longest_sequences_have_all_digits(count):
    """Squares of a million take 40 bits, and are reduced without them."""
    t = np.arange(count)
    expected = np.exp(-1j * np.pi * (t**2 % (2 * count)) / count)
    chirp = jax.jit(_chirp, static_argnums=(0, 2))
    found = np.asarray(chirp(count, np.array([count]), np.float32))[0]
    assert np.abs(found - expected).max() < 1e-6
