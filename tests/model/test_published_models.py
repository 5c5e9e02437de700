"""Presets that follow published code have its parameters, and its logits from the same weights."""

import jax
import numpy as np
import published_models
import pytest

from lra_bench.config import make_settings
from lra_bench.registry import make_task
from lra_bench.training.learner import count_parameters, make_learner

# Each layer of two has four projections with biases, two norms and an FFN of 128; then come a norm
# and a head. The rows of embedding and positions are of each task's own number.
LAYERS = 2 * (4 * (64 * 64 + 64) + 4 * 64 + 64 * 128 + 128 + 128 * 64 + 64) + 2 * 64


def head(inputs, classes):
    return inputs * 128 + 128 + 128 * classes + classes


NYSTROMFORMER = {
    "listops": (32 + 2_048) * 64 + LAYERS + head(64, 10),
}
# What a mechanism adds: a convolution of 35 tokens for each head, one E of 256 rows for each head,
# minus the projection of keys, which the original has but does not use.
ADDED = {
    "softmax": 0,
    "linear": 0,
    "performer-softmax": 0,
    "nystromformer": 2 * 2 * 35,
    "linformer": 2 * 256 * 2_048,
    "reformer": -2 * (64 * 64 + 64),
}


@pytest.mark.parametrize("attention", ADDED)
def test_nystromformer_has_its_parameters(attention):
    settings = make_settings("listops", attention, "nystromformer", 0)
    expected = NYSTROMFORMER["listops"] + ADDED[attention]
    assert count_parameters(make_task("listops", settings.data), settings) == expected


@pytest.mark.parametrize("attention", ["softmax", "linformer"])
def test_nystromformer_has_its_logits(attention):
    settings = make_settings("listops", attention, "nystromformer", 0)
    task = make_task("listops", settings.data)
    learner = make_learner(task, settings)
    state = jax.jit(learner.init)(jax.random.key(0))
    # Values as large as after training, so that each part of the model matters.
    weights = {
        name: np.asarray(x) * (4 if "embed" in name else 1) for name, x in state.params.items()
    }
    tokens = np.random.default_rng(0).integers(1, task.vocab_size, (2, task.max_len))
    tokens[1, 700:] = 0
    ours = jax.jit(lambda p, s, t: learner.merge(p, s)(t))(weights, state.sampled, tokens)
    exact = {name: x.astype(np.float64) for name, x in weights.items()}
    projection = exact.get("encoder.blocks.0.attention.attend.key_projection")
    attend = published_models.softmax_attention
    if projection is not None:
        attend = published_models.linformer_attention(projection.swapaxes(1, 2))
    theirs = published_models.nystromformer(exact, tokens, length=2_048, attend=attend)
    np.testing.assert_allclose(ours, theirs, atol=2e-5)
    assert np.abs(theirs[0] - theirs[1]).max() > 1e-3
