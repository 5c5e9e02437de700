"""What models of tokens are scored on."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from token_task import FIRST, LETTERS, MASK, PAD, START, Letters

from lra_bench.config import make_settings
from lra_bench.training.learner import make_learner
from lra_bench.training.objectives import objective_of

KEY = jax.random.key(0)


def scored(task, tokens, weights=None, seed=0):
    keys = jax.random.split(jax.random.key(seed), len(tokens))
    weights = jnp.ones(len(tokens)) if weights is None else weights
    labels = jnp.zeros(len(tokens), int)
    return jax.tree.map(np.asarray, objective_of(task)(jnp.asarray(tokens), labels, weights, keys))


def test_the_next_token_is_the_target():
    tokens = np.array([[START, 3, 4, 5, PAD, PAD], [START, 6, 7, 3, 4, 5]], np.uint8)
    batch = scored(Letters(max_len=6), tokens)
    np.testing.assert_array_equal(batch.inputs, tokens)
    np.testing.assert_array_equal(batch.targets[:, :-1], tokens[:, 1:])
    np.testing.assert_array_equal(batch.weights, [[1, 1, 1, 0, 0, 0], [1, 1, 1, 1, 1, 0]])
    halved = scored(Letters(max_len=6), tokens, jnp.array([0.0, 1.0]))
    assert halved.weights.sum() == 5


class Begun(Letters):
    """A start token, which no example holds, comes before the first one."""

    start_id = MASK


def test_the_first_token_is_predicted_after_a_start():
    """All tokens are targets, and the length stays; masked tokens need no start."""
    tokens = np.array([[3, 4, 5, PAD], [6, 7, 3, 4]], np.uint8)
    batch = scored(Begun(max_len=4), tokens)
    np.testing.assert_array_equal(batch.inputs, [[MASK, 3, 4, 5], [MASK, 6, 7, 3]])
    np.testing.assert_array_equal(batch.targets, tokens)
    np.testing.assert_array_equal(batch.weights, [[1, 1, 1, 0], [1, 1, 1, 1]])
    masked = [scored(kind(max_len=4, objective="masked"), tokens) for kind in (Begun, Letters)]
    np.testing.assert_array_equal(*(batch.inputs for batch in masked))


def test_a_masked_token_is_hidden_as_bert_does():
    """15 % of the real tokens count; of these 80 % are hidden, 10 % random, 10 % as they were."""
    task = Letters(size=4_000, max_len=40, objective="masked")
    tokens = task.draw(0)
    batch = scored(task, tokens)
    real, counted = tokens >= FIRST, batch.weights > 0
    np.testing.assert_array_equal(batch.targets, tokens)
    assert not (counted & ~real).any()
    np.testing.assert_array_equal(batch.inputs[~counted], tokens[~counted])
    total = counted.sum()
    assert abs(total / real.sum() - 0.15) < 4 * np.sqrt(0.15 * 0.85 / real.sum())
    hidden = batch.inputs[counted] == MASK
    same = batch.inputs[counted] == tokens[counted]
    for share, found in ((0.8, hidden), (0.1 + 0.1 / LETTERS, same)):
        assert abs(found.mean() - share) < 4 * np.sqrt(share * (1 - share) / total)
    others = batch.inputs[counted][~hidden & ~same]
    counts = np.bincount(others - FIRST, minlength=LETTERS)
    assert counts.min() > 0.7 * counts.max()


def settings(**train):
    """Those of a small model, of a task that is registered; the learner gets another task."""
    usual = make_settings("listops", "softmax", "smoke", 0, ["model.dropout=0.3"])
    options = {**usual.attention_options, "causal": True}
    model = dataclasses.replace(usual.model, pooling="none")
    train = dataclasses.replace(usual.train, batch_size=8, **train)
    return dataclasses.replace(usual, attention_options=options, model=model, train=train)


def start(task, **train):
    learner = make_learner(task, settings(**train))
    return learner, jax.jit(learner.init)(KEY)


@pytest.mark.ci
def test_parts_of_a_batch_weigh_as_much_as_their_tokens():
    """The loss is the mean over all tokens, however they are spread over the parts."""
    task = Letters(size=8)
    tokens, labels = jnp.asarray(task.draw(0)), jnp.zeros(8, int)
    none = {"model": dataclasses.replace(settings().model, dropout=0.0)}
    found = []
    for parts in (1, 4):
        learner = make_learner(task, dataclasses.replace(settings(accumulate=parts), **none))
        state, loss = jax.jit(learner.train_step)(learner.init(KEY), tokens, labels, KEY)
        found.append((float(loss), np.asarray(state.params["out.kernel"])))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-5)
    np.testing.assert_allclose(found[0][1], found[1][1], atol=2e-5)


@pytest.mark.parametrize("objective", ["next", "masked"])
def test_an_evaluation_depends_on_the_number_of_an_example_alone(objective):
    task = Letters(size=8, objective=objective)
    learner, state = start(task)
    tokens, labels, numbers = jnp.asarray(task.draw(0)), jnp.zeros(8, int), jnp.arange(8)
    evaluate = jax.jit(learner.eval_step)
    whole = evaluate(state.params, state.sampled, tokens, labels, jnp.ones(8), numbers)
    order = jnp.array([7, 2, 5, 0, 1, 3, 4, 6])
    weights = jnp.array([1.0, 1, 1, 1, 0, 0, 0, 0])
    part = evaluate(state.params, state.sampled, tokens[order], labels, weights, numbers[order])
    np.testing.assert_array_equal(part.answers[:4], whole.answers[order[:4]])
    np.testing.assert_array_equal(part.right[:4], whole.right[order[:4]])
    assert not part.answers[4:].any()
    assert whole.answers.sum() > part.answers.sum() > 0


def test_no_position_sees_what_it_predicts():
    """Causal attention: a token changes no logits before it."""
    task = Letters(size=2)
    learner, state = start(task)
    tokens = jnp.asarray(task.draw(0))
    other = tokens.at[:, 5].set(FIRST + (tokens[:, 5] - FIRST + 1) % LETTERS)
    logits = jax.jit(lambda x: learner.merge(state.params, state.sampled)(x))
    before, after = logits(tokens), logits(other)
    np.testing.assert_array_equal(before[:, :5], after[:, :5])
    assert (before[:, 5:] != after[:, 5:]).any()
