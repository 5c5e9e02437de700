"""The guess that knows nothing of an example."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from token_task import FIRST, LETTERS, Letters

from lra_bench.data.chance import chance_of
from lra_bench.training.objectives import objective_of

TRAIN, TEST = [60, 20, 10, 10, 0], [50, 30, 20, 0, 0]


def chance(objective, train, test):
    """Return the chance of letters that are so frequent in the training and the test set."""
    kinds = {"train": train, "test": test}
    splits = {
        name: SimpleNamespace(token_histogram=[0] * FIRST + list(counts))
        for name, counts in kinds.items()
    }
    store = SimpleNamespace(manifest=SimpleNamespace(splits=splits))
    return chance_of(Letters(objective=objective), store)  # pyright: ignore[reportArgumentType]


def test_the_next_token_is_guessed_by_the_frequencies_in_training():
    """Each letter of the alphabet is counted once more than it occurs."""
    found = chance("next", TRAIN, TEST)
    smoothed = (np.array(TRAIN) + 1) / 105
    assert found.accuracy == 0.5
    assert found.loss == pytest.approx(-np.array([0.5, 0.3, 0.2]) @ np.log(smoothed[:3]))
    assert found.uniform == pytest.approx(np.log(LETTERS))


def test_a_masked_token_is_guessed_by_what_is_shown():
    """Simulation: the best guess of each token shown where the objective hides one."""
    frequencies = np.array([0.4, 0.3, 0.15, 0.1, 0.05])
    tokens = np.random.default_rng(0).choice(LETTERS, (20_000, 100), p=frequencies) + FIRST
    keys = jax.random.split(jax.random.key(0), len(tokens))
    objective = jax.jit(objective_of(Letters(objective="masked")))
    nothing, all_of_them = jnp.zeros(len(tokens), int), jnp.ones(len(tokens))
    batch = objective(jnp.asarray(tokens), nothing, all_of_them, keys)
    shown, answers = (np.asarray(x)[np.asarray(batch.weights) > 0] for x in batch[:2])

    together = np.zeros((FIRST + LETTERS, FIRST + LETTERS))
    np.add.at(together, (shown, answers), 1 / len(shown))
    given = together / np.maximum(together.sum(1, keepdims=True), 1e-9)
    loss = -(together * np.log(np.where(given > 0, given, 1))).sum()

    found = chance("masked", 1e6 * frequencies, 1e6 * frequencies)
    assert found.accuracy == pytest.approx(together.max(1).sum(), abs=0.003)
    assert found.loss == pytest.approx(loss, abs=0.005)
    assert found.accuracy > chance("next", 1e6 * frequencies, 1e6 * frequencies).accuracy + 0.03
    assert "shown" in found.guess


def test_a_letter_that_training_never_has_costs_a_finite_loss():
    for objective in ("next", "masked"):
        loss = chance(objective, [10, 0, 0, 0, 0], [0, 1, 0, 0, 1]).loss
        assert loss is not None
        assert np.isfinite(loss)
