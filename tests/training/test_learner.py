"""The training and evaluation steps."""

import dataclasses
import functools
import json
import subprocess
import sys

import jax
import numpy as np
import pytest
from common import QUICK

from lra_bench.config import make_settings
from lra_bench.registry import ATTENTIONS, make_task
from lra_bench.training.learner import make_learner

KEY = jax.random.key(7)
DROPPING = ("train.accumulate=2", "model.dropout=0.5", "train.learning_rate=1e-12")
LEARNING = ("train.learning_rate=1e-2", "train.schedule=constant")


@functools.cache
def learner(attention="identity", *overrides):
    settings = make_settings("listops", attention, "smoke", 0, overrides)
    return make_learner(make_task("listops", settings.data), settings)


@functools.cache
def first_state(of):
    return jax.jit(of.init)(KEY)


@functools.cache
def compiled_step(of):
    return jax.jit(of.train_step)


def batch(size=16, length=48, seed=0):
    rng = np.random.default_rng(seed)
    tokens = rng.integers(1, 16, (size, length)).astype(np.uint8)
    tokens[size // 2 :, length // 2 :] = 0
    return tokens, rng.integers(0, 10, size).astype(np.int32)


@pytest.mark.ci
def test_accumulation_changes_only_rounding():
    one, four = learner(), learner("identity", "train.accumulate=4")
    state = first_state(one)
    (whole, loss), (parts, part_loss) = (
        compiled_step(x)(state, *batch(), KEY) for x in (one, four)
    )
    assert part_loss == pytest.approx(float(loss), rel=1e-5)
    for name, value in whole.params.items():
        np.testing.assert_allclose(value, parts.params[name], atol=2e-5)
    assert whole.window.accuracy == pytest.approx(float(parts.window.accuracy))


@pytest.mark.ci
def test_accumulation_keeps_what_averages_follow():
    """The moving sums of `routing` become 0.999 of themselves, however many parts a batch has."""
    one, four = (learner("routing", f"train.accumulate={parts}") for parts in (1, 4))
    state = first_state(one)
    whole, parts = (compiled_step(x)(state, *batch(), KEY)[0] for x in (one, four))
    names = [name for name in whole.params if name.endswith("attend.sums")]
    assert names
    for name in names:
        assert np.abs(whole.params[name] - state.params[name]).max() > 1e-3
        np.testing.assert_allclose(whole.params[name], parts.params[name], atol=1e-5)


@pytest.mark.ci
def test_accumulated_parts_have_dropout_of_their_own():
    split = learner("identity", *DROPPING)
    state = first_state(split)
    tokens, labels = batch(8)
    step, scored = jax.jit(split.batch_loss), split.scored(tokens, labels, KEY)
    key = jax.random.fold_in(KEY, 0)
    first, second = (
        float(step(state.params, state.sampled, scored, jax.random.fold_in(key, part))[0])
        for part in (0, 1)
    )
    assert first != second
    # Every second example is a part: the parts are the same, but for what is dropped.
    doubled = [np.repeat(x, 2, axis=0) for x in (tokens, labels)]
    _, loss = compiled_step(split)(state, *doubled, KEY)
    assert loss == pytest.approx((first + second) / 2, rel=1e-5)


def test_dropout_follows_the_step():
    dropping = learner("identity", *DROPPING)
    state, step = first_state(dropping), compiled_step(dropping)
    again, loss = step(state, *batch(), KEY)
    assert step(state, *batch(), KEY)[1] == loss
    assert step(again, *batch(), KEY)[1] != loss


@pytest.mark.parametrize("attention", ATTENTIONS.names())
def test_those_that_can_be_redrawn_sample(attention):
    state = jax.eval_shape(learner(attention).init, KEY)
    # What linformer draws is learned by default.
    draws = hasattr(ATTENTIONS.get(attention).target, "resample") and attention != "linformer"
    assert bool(state.sampled) == draws


# Two that sample, by features and by hashes, and one whose projections are parameters.
FEW = ("performer-softmax", "reformer", "linformer")
OTHERS = [pytest.param(x, marks=pytest.mark.slow) for x in ATTENTIONS.names() if x not in FEW]


@pytest.mark.ci
@pytest.mark.parametrize("attention", [*FEW, *OTHERS])
def test_resampling_changes_what_is_sampled_and_nothing_else(attention):
    one = learner(attention)
    state = first_state(one)
    resample = jax.jit(one.resample)
    after = resample(state, KEY)
    for name, value in state.params.items():
        np.testing.assert_array_equal(value, after.params[name])
    for name, value in state.sampled.items():
        assert not np.array_equal(value, after.sampled[name])
        np.testing.assert_array_equal(after.sampled[name], resample(state, KEY).sampled[name])
    later = resample(state._replace(step=state.step + 1), KEY)
    assert all(not np.array_equal(later.sampled[n], after.sampled[n]) for n in state.sampled)


def test_layers_draw_different_features():
    init = learner("performer-softmax", "model.num_layers=2").init
    first, second = jax.jit(lambda key: init(key).sampled)(KEY).values()
    assert not np.array_equal(first, second)


@pytest.mark.parametrize(
    "attention", ["performer-softmax", pytest.param("reformer", marks=pytest.mark.slow)]
)
def test_training_leaves_what_is_sampled_alone(attention):
    one = learner(attention, *LEARNING)
    state = first_state(one)
    after, _ = compiled_step(one)(state, *batch(), KEY)
    for name, value in state.sampled.items():
        np.testing.assert_array_equal(value, after.sampled[name])


def test_evaluation_weighs_out_what_fills_the_last_batch():
    one = learner()
    state = first_state(one)
    tokens, labels = batch(5)
    evaluate = jax.jit(one.eval_step)
    alone = evaluate(
        state.params, state.sampled, tokens, labels, np.ones(5, np.float32), np.arange(5)
    )
    filled = [np.concatenate([x, x[-1:], x[-1:]]) for x in (tokens, labels)]
    weights = np.array([1, 1, 1, 1, 1, 0, 0], np.float32)
    padded = evaluate(state.params, state.sampled, *filled, weights, np.arange(7))
    np.testing.assert_array_equal(padded.right[:5], alone.right)
    assert padded.answers.tolist() == weights.tolist()
    assert padded.loss == pytest.approx(float(alone.loss), rel=1e-5)


def test_the_first_step_that_is_not_finite_is_kept():
    one = learner("identity", "train.learning_rate=100", "train.weight_decay=10")
    state, step = first_state(one), compiled_step(one)
    losses = []
    for _ in range(12):
        state, loss = step(state, *batch(), KEY)
        losses.append(bool(np.isfinite(loss)))
    assert not all(losses)
    assert int(state.window.diverged_at) == losses.index(False) + 1


@pytest.mark.parametrize(
    "attention",
    [
        "identity",
        "performer-softmax",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ATTENTIONS.names()
            if name not in ("identity", "performer-softmax")
        ),
    ],
)
def test_a_mechanism_learns(attention):
    """Thirty steps on one batch halve the loss, even of the one that attends to nothing."""
    one = learner(attention, *LEARNING)
    state, step = first_state(one), compiled_step(one)
    losses = []
    for _ in range(30):
        state, loss = step(state, *batch(), KEY)
        losses.append(float(loss))
    assert losses[-1] < losses[0] / 2


_ON_DEVICES = """
import json, sys, jax, numpy as np
from pathlib import Path
from lra_bench.config import make_settings
from lra_bench.data import store
from lra_bench.data.location import locate
from lra_bench.data.prepare import prepare
from lra_bench.runtime.devices import choose_devices
from lra_bench.training.programs import Programs
from lra_bench.registry import make_task
from lra_bench.training.learner import make_learner
settings = make_settings("listops", sys.argv[1], "smoke", 0, sys.argv[2].split())
task = make_task("listops", settings.data)
location = locate(Path(sys.argv[3]), task, "generate")
prepare(task, location)
data, devices = store.open_store(location), choose_devices(settings.train)
programs = Programs(make_learner(task, settings), settings, data, devices)
programs.compile()
print(json.dumps("all-gather" in programs._train_step.as_text()))
"""


@pytest.fixture
def on_devices(environment, data_dir):
    """Compile a step for eight devices: whether it gathers data."""
    env = {**environment, "XLA_FLAGS": f"{QUICK} --xla_force_host_platform_device_count=8"}

    def gathers(attention, *overrides):
        command = [sys.executable, "-c", _ON_DEVICES, attention, " ".join(overrides), str(data_dir)]
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
        return json.loads(done.stdout.splitlines()[-1])

    return gathers


@pytest.mark.slow
def test_accumulated_parts_stay_on_their_devices(on_devices):
    """Each device has its share of every part: nothing but gradients is exchanged."""
    gathered = on_devices("identity", "train.accumulate=2", "train.batch_size=32")
    assert not gathered


def test_unknown_options_fail_at_construction():
    settings = make_settings("listops", "reformer", "smoke", 0)
    wrong = dataclasses.replace(settings, attention_options={"bucket_sise": 3})
    with pytest.raises(TypeError, match="bucket_sise"):
        make_learner(make_task("listops", settings.data), wrong)
