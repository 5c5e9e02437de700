"""Schedules by their values at the points that define them."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from lra_bench.config import make_settings
from lra_bench.training.optim import SCHEDULES, learning_rate, onecycle_beta1, optimiser

SETTINGS = make_settings("listops", "softmax", "small", 0).train


@pytest.mark.parametrize("name", sorted(SCHEDULES.keys() - {"onecycle"}))
def test_warm_up_is_linear(name):
    settings = dataclasses.replace(SETTINGS, schedule=name, warmup_steps=100)
    rates = [float(learning_rate(jnp.asarray(step), settings)) for step in (0, 49, 99)]
    np.testing.assert_allclose(rates, np.array([0.01, 0.5, 1]) * rates[2], rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "points"),
    [
        ("constant", {1000: 1.0, 4999: 1.0}),
        ("linear", {999: 1.0, 3000: 0.5, 5000: 0.0}),
        ("cosine", {1000: 1.0, 3000: 0.5, 2000: (1 + 2**-0.5) / 2, 5000: 0.0}),
        ("rsqrt", {999: 1000**-0.5, 3999: 4000**-0.5}),
        # OneCycleLR of PyTorch 2.13: max_lr=1, pct_start=0.2, total_steps=5000, "linear".
        (
            "onecycle",
            {0: 0.04, 500: 0.52048048, 999: 1.0, 1000: 0.99975, 3000: 0.499752, 4999: 4e-6},
        ),
    ],
)
def test_what_follows(name, points):
    settings = dataclasses.replace(SETTINGS, schedule=name)
    for step, expected in points.items():
        found = float(learning_rate(jnp.asarray(step), settings)) / settings.learning_rate
        assert found == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_onecycle_moves_beta1_as_pytorch_does():
    """The values of OneCycleLR above, and what AdamW makes of them with a gradient of 1, then 0."""
    settings = dataclasses.replace(SETTINGS, schedule="onecycle", epsilon=1e-20)
    steps = jnp.array([0, 500, 999, 1000, 3000, 4999])
    found = onecycle_beta1(steps, 1_000, 5_000)
    np.testing.assert_allclose(found, [0.95, 0.89994995, 0.85, 0.850025, 0.900025, 0.95], rtol=1e-6)
    settings = dataclasses.replace(settings, warmup_steps=3, num_steps=4, learning_rate=1.0)
    transform, params = optimiser(settings), {"w": jnp.ones(1)}
    state = transform.init(params)
    mean = square = 0.0
    for step, (rate, beta1) in enumerate(((0.04, 0.95), (0.52, 0.9), (1, 0.85), (4e-6, 0.95))):
        gradient = float(step == 0)
        updates, state = transform.update({"w": jnp.full(1, gradient)}, state, params)
        mean = beta1 * mean + (1 - beta1) * gradient
        square = 0.999 * square + 0.001 * gradient
        corrected = square / (1 - 0.999 ** (step + 1))
        wanted = -rate * mean / (1 - beta1 ** (step + 1)) / corrected**0.5
        assert float(updates["w"][0]) == pytest.approx(wanted, rel=1e-4, abs=1e-8)


def test_values_of_the_gradient_are_clipped_before_its_norm():
    settings = dataclasses.replace(SETTINGS, clip_value=2.0, clip_norm=1.0)
    params, grads = {"w": jnp.ones(4)}, {"w": jnp.array([3.0, -9, 0, 1])}
    for norm, divisor in ((0.0, 1), (1.0, 3)):
        transform = optimiser(dataclasses.replace(settings, clip_norm=norm))
        _, state = transform.update(grads, transform.init(params), params)
        (first, *_) = [leaf for leaf in _leaves(state) if leaf.shape == (4,)]
        np.testing.assert_allclose(first, 0.1 * np.array([2, -2, 0, 1]) / divisor, rtol=1e-5)


def test_the_papers_peak_is_0_0016():
    settings = make_settings("listops", "softmax", "paper", 0).train
    assert float(learning_rate(jnp.asarray(999), settings)) == pytest.approx(0.00158, rel=1e-2)


@pytest.mark.parametrize("norm", [0.0, 0.5])
def test_clipping(norm):
    """AdamW's first step has the size of the rate whatever the gradient, so look at its mean."""
    settings = dataclasses.replace(SETTINGS, clip_norm=norm)
    params = {"w": jnp.ones(4)}
    grads = {"w": jnp.array([3.0, 0, 0, 4.0])}
    transform = optimiser(settings)
    _, state = transform.update(grads, transform.init(params), params)
    moments = [leaf for leaf in _leaves(state) if leaf.shape == (4,)]
    expected = 0.1 * np.array([3.0, 0, 0, 4.0]) * (norm / 5 if norm else 1)
    np.testing.assert_allclose(moments[0], expected, rtol=1e-6)


def _leaves(state):
    import jax

    return jax.tree.leaves(state)


def test_weight_decay_is_decoupled():
    settings = dataclasses.replace(SETTINGS, weight_decay=0.1)
    params = {"w": jnp.full(3, 2.0)}
    transform = optimiser(settings)
    updates, _ = transform.update({"w": jnp.zeros(3)}, transform.init(params), params)
    first_rate = settings.learning_rate / settings.warmup_steps
    np.testing.assert_allclose(updates["w"], -first_rate * 0.1 * 2.0, rtol=1e-5)
