"""Both forms of `softmax-chunked`, that of CPUs and that of other devices, equal the textbook's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lra_bench.attentions import softmax_chunked as module
from lra_bench.attentions.softmax import softmax

LENGTH = 37
pytestmark = pytest.mark.parametrize("device", ["cpu", "gpu"])


@pytest.fixture(autouse=True)
def compiled_for(device, monkeypatch):
    monkeypatch.setattr(module, "platform", lambda: device)


def both_passes(attend, arrays, mask, gradient):
    out, pull = jax.vjp(lambda *x: attend(*x, mask), *arrays)
    return [out, *pull(jnp.where(mask[..., None, None], gradient, 0))]


def inputs(scale=1.0):
    """Return q, k, v and a gradient (3 l 2 8), and masks: all real, half real, the first padded."""
    arrays = jax.random.normal(jax.random.key(0), (4, 3, LENGTH, 2, 8))
    place = jnp.arange(LENGTH)
    mask = jnp.stack([place >= 0, place < LENGTH // 2, place > 4])
    return [x * scale for x in arrays[:2]] + list(arrays[2:]), mask


@pytest.mark.parametrize("chunk_size", [1, 10, 512])
@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_output_and_gradients_equal_those_of_softmax(chunk_size, scale):
    (*arrays, gradient), mask = inputs(scale)

    def chunked(*x):
        return module.softmax_chunked(*x, chunk_size=chunk_size)

    found = both_passes(chunked, arrays, mask, gradient)
    for ours, textbook in zip(found, both_passes(softmax, arrays, mask, gradient), strict=True):
        real = np.asarray(mask)
        np.testing.assert_allclose(ours[real], textbook[real], rtol=1e-3, atol=1e-4)


def test_padding_counts_nothing_where_all_real_logits_are_far_below_zero():
    (q, k, v, gradient), mask = inputs()
    q, k = jnp.full_like(q, 30.0), -30 + k
    k, v = (jnp.where(mask[..., None, None], x, jnp.nan) for x in (k, v))
    found = both_passes(module.softmax_chunked, (q, k, v), mask, gradient)
    for ours, textbook in zip(found, both_passes(softmax, (q, k, v), mask, gradient), strict=True):
        real = np.asarray(mask)
        np.testing.assert_allclose(ours[real], textbook[real], rtol=1e-3, atol=1e-4)
        assert np.isfinite(ours).all()


def test_without_a_real_key_the_output_is_zero_and_no_gradient_is_nan():
    (*arrays, gradient), _ = inputs()
    mask = jnp.zeros((3, LENGTH), bool)
    out, *gradients = both_passes(module.softmax_chunked, arrays, mask, gradient)
    assert not np.any(out)
    assert all(np.isfinite(x).all() for x in gradients)
