"""Long convolutions against sums over tokens, and their kernels against the papers."""

import functools

import jax.numpy as jnp
import numpy as np
import pytest
from agreement import learned
from flax import nnx
from mixers import LENGTH, gelu, linear, sigmoid
from real_tokens import DIMS, SCATTERED, check_on_real_tokens

from lra_bench.contracts import Dims
from lra_bench.errors import UsageError
from lra_bench.model.mechanism import build_attention
from lra_bench.verification import contract, subject

SQUASH, WINDOW = 0.1, 3


def smooth(kernel):
    padded = np.pad(kernel, ((0, 0),) * 3 + ((1, 1),))
    return np.stack([padded[..., i : i + 3].mean(-1) for i in range(kernel.shape[-1])], axis=-1)


def squash(kernel):
    return np.sign(kernel) * np.maximum(np.abs(kernel) - SQUASH, 0)


def scales(weights):
    """Section 3 of Li et al.: each scale is stretched and lower, and they stand in a row."""
    parts = []
    for number, weight in enumerate(weights):
        factor = 2 ** max(number - 1, 0)
        # Of each new number the place between the old ones, all in the middle of their widths.
        places = (np.arange(weight.shape[-1] * factor) + 0.5) / factor - 0.5
        stretched = np.apply_along_axis(
            lambda w, places=places: np.interp(places, np.arange(len(w)), w), -1, weight
        )
        parts.append(stretched * 0.5**number)
    return np.concatenate(parts, axis=-1)


def reference(x, learnt, *, kernel, causal=False):
    kernels = kernel(learnt["kernel.weights"])
    channels = []
    for channel in range(kernels.shape[1]):
        y = learnt["skip"][channel] * x
        for i in range(len(x)):
            for j in range(len(x)):
                if j <= i:
                    y[i] += kernels[0, channel, :, i - j] * x[j]
                elif not causal:
                    y[i] += kernels[1, channel, :, j - i - 1] * x[j]
        channels.append(y)
    out = linear(learnt, "out", gelu(np.concatenate(channels, axis=1)))
    value, gate = np.split(out, 2, axis=1)
    return value * sigmoid(gate)


@pytest.mark.parametrize(
    ("kernel", "causal"), [("squash", False), ("smooth-squash", True), ("smooth", False)]
)
def test_it_is_the_sum_over_tokens(kernel, causal):
    made = {"squash": squash, "smooth": smooth, "smooth-squash": lambda k: squash(smooth(k))}
    expected = functools.partial(reference, kernel=made[kernel], causal=causal)
    options = {"kernel": kernel, "causal": causal, "squash": SQUASH, "smooth_window": WINDOW}
    check_on_real_tokens("long-conv", expected, SCATTERED, **options)


def test_sgconv_is_the_sum_over_tokens():
    """Z is of the kernel at the start, not of the kernel that is learned."""
    options = {"kernel": "sgconv", "scale_size": 8, "channels": 1}
    start, _ = learned(build_attention("long-conv", DIMS, options, nnx.Rngs(0)))
    norm = np.linalg.norm(scales(start["kernel.weights"]), axis=-1, keepdims=True)
    expected = functools.partial(reference, kernel=lambda weights: scales(weights) / norm)
    check_on_real_tokens("long-conv", expected, SCATTERED, **options)


def test_sgconv_learns_few_numbers_and_starts_with_kernels_of_norm_one():
    dims = Dims(3, 4, 8 * 2**5)
    mixer = build_attention("long-conv", dims, {"kernel": "sgconv", "scale_size": 8}, nnx.Rngs(0))
    assert learned(mixer)[0]["kernel.weights"].shape == (1 + 5, 2, 2, 12, 8)
    norms = jnp.linalg.norm(mixer.kernel(dims.max_len, None), axis=-1)
    np.testing.assert_allclose(norms, 1, rtol=1e-5)


def test_dropout_of_kernels_is_of_training_only_and_keeps_their_mean():
    mixer = build_attention("long-conv", DIMS, {"squash": 0.0, "kernel_dropout": 0.25}, nnx.Rngs(0))
    whole = np.asarray(mixer.kernel(LENGTH, None))
    dropped = np.asarray(mixer.kernel(LENGTH, nnx.Rngs(dropout=1)))
    kept = dropped != 0
    assert kept.mean() == pytest.approx(0.75, abs=0.03)
    np.testing.assert_allclose(dropped[kept], whole[kept] / 0.75, rtol=1e-6)
    x = np.ones((1, LENGTH, DIMS.emb_dim), np.float32)
    one, other, quiet = (
        np.asarray(mixer(x, SCATTERED[:1], rngs=rngs))
        for rngs in (nnx.Rngs(dropout=1), nnx.Rngs(dropout=2), None)
    )
    assert not np.allclose(one, other)
    assert not np.allclose(one, quiet)


def test_kernels_have_rules_of_their_own():
    for kernel, decay in (("squash", False), ("sgconv", True)):
        mixer = build_attention("long-conv", DIMS, {"kernel": kernel}, nnx.Rngs(0))
        rule = mixer.kernel.weights.get_metadata()["rule"]
        assert (rule.rate, rule.decay) == (0.1, decay)


@pytest.mark.parametrize("options", [{"kernel": "sgconv", "scale_size": 16}], ids=["sgconv"])
def test_it_keeps_the_contract(options):
    mechanism = subject.registered("long-conv", **options)
    for check in contract.ALWAYS:
        check(mechanism, "float32")


def test_an_even_window_is_an_error():
    with pytest.raises(UsageError, match="smooth_window=4: must be odd"):
        build_attention("long-conv", DIMS, {"smooth_window": 4}, nnx.Rngs(0))
