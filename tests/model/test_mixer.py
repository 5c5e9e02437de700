"""A mechanism of (x, mask) takes the place of self-attention everywhere, with rules of its own."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from efficiency_cases import cell
from flax import nnx

from lra_bench.analysis.matrix import MixerCall, captured, influences
from lra_bench.config import make_settings
from lra_bench.contracts import AttentionTraits, Rule
from lra_bench.efficiency.programs import build
from lra_bench.model.encoder import Mixer
from lra_bench.registry import ATTENTIONS, Entry, make_task, register_attention
from lra_bench.training.learner import make_learner


class Mean(nnx.Module):
    """Return scaled tokens plus the mean of the real ones, with noise in training."""

    def __init__(self, dims, *, noise: float = 0.5, rngs):
        self.noise = noise
        self.scale = nnx.Param(jnp.ones(dims.emb_dim))
        self.slow = nnx.Param(jnp.ones(dims.emb_dim), rule=Rule(rate=0.1, decay=False))
        self.still = nnx.Param(jnp.ones(dims.emb_dim), rule=Rule(rate=0.0))
        self.followed = nnx.Param(jnp.zeros(dims.emb_dim), rule=Rule(average=0.75))

    def __call__(self, x, mask, rngs=None):
        x = jnp.where(mask[..., None], x, 0)
        mean = x.sum(1, keepdims=True) / jnp.maximum(mask.sum(1), 1)[:, None, None]
        out = self.scale[...] * x + self.slow[...] * self.still[...] * mean
        if rngs is not None:
            out += self.noise * jax.random.normal(rngs.dropout(), x.shape)
        # Of the whole sum the derivative by what is followed is its value minus 3.
        return _follow(out, self.followed[...])


@jax.custom_vjp
def _follow(out, followed):
    del followed
    return out


_follow.defvjp(lambda out, followed: (out, followed), lambda kept, g: (g, kept - 3.0))


@pytest.fixture(autouse=True)
def _registered(monkeypatch):
    ATTENTIONS.names()
    traits = AttentionTraits(equivariant=True, mixer=True)
    monkeypatch.setitem(ATTENTIONS._entries, "mean", Entry("mean", Mean, __name__, traits))


@functools.cache
def learner_of(*overrides):
    settings = make_settings("listops", "mean", "smoke", 0, overrides)
    return make_learner(make_task("listops", settings.data), settings)


@functools.cache
def first_state(learner):
    return jax.jit(learner.init)(jax.random.key(0))


@functools.cache
def compiled_step(learner):
    return jax.jit(learner.train_step)


def stepped(learner, key=1):
    """The state before and after one step."""
    tokens = np.random.default_rng(0).integers(1, 16, (4, 48))
    before, labels = first_state(learner), np.zeros(4, int)
    return before, compiled_step(learner)(before, tokens, labels, jax.random.key(key))[0]


@pytest.mark.ci
@pytest.mark.parametrize("clip", ["0", "0.1"])
def test_the_training_loop_follows_the_rules(clip):
    decayed, plain = (
        stepped(learner_of(f"train.clip_norm={clip}", f"train.weight_decay={decay}"))
        for decay in ("10", "0")
    )

    def moves(name):
        before, after = (
            state.params[f"encoder.blocks.0.attention.attend.{name}"] for state in plain
        )
        return np.asarray(after - before)

    with_decay, without = (after.params for _, after in (decayed, plain))
    for name, same in (("scale", False), ("slow", True)):
        path = f"encoder.blocks.0.attention.attend.{name}"
        assert np.array_equal(with_decay[path], without[path]) == same
    # The first step of Adam has the size of the learning rate, whatever the gradient.
    ratio = np.abs(moves("slow")).max() / np.abs(moves("scale")).max()
    assert ratio == pytest.approx(0.1, rel=1e-2)
    assert not moves("still").any()
    np.testing.assert_allclose(moves("followed"), 0.25 * 3.0)


def test_an_average_has_no_optimiser_state():
    before, _ = stepped(learner_of())
    moments = [path for path, _ in jax.tree.leaves_with_path(before.optimiser)]
    assert any("slow" in jax.tree_util.keystr(path) for path in moments)
    assert not any("followed" in jax.tree_util.keystr(path) for path in moments)


def test_noise_is_of_the_keys_and_of_training_only():
    learner, silent = (
        learner_of("model.dropout=0"),
        learner_of("model.dropout=0", "attention.noise=0"),
    )
    assert_equal = np.testing.assert_array_equal
    first, again, other = (stepped(learner, key)[1].params["out.bias"] for key in (1, 1, 2))
    assert_equal(first, again)
    assert not np.array_equal(first, other)
    state, tokens = first_state(learner), np.ones((2, 8), int)
    call = jax.jit(lambda each: each.merge(state.params, state.sampled)(tokens), static_argnums=0)
    assert_equal(call(learner), call(silent))


def test_it_takes_the_place_of_the_projections_too():
    learner = learner_of()
    state = first_state(learner)
    model = learner.merge(state.params, state.sampled)
    assert isinstance(model.encoder.blocks[0].attention, Mixer)


def test_influences_are_those_of_the_derivative():
    x = jax.random.normal(jax.random.key(0), (1, 5, 3))
    found = influences(
        lambda x, mask: x + x.mean(1, keepdims=True), MixerCall(x, jnp.ones((1, 5), bool))
    )
    expected = (np.eye(5) + 1 / 5) / 2
    np.testing.assert_allclose(found[0, 0], expected, rtol=1e-5)


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_its_cell_is_of_tokens_as_wide_as_the_heads(direction):
    program = build(cell("mean", direction=direction))
    tokens, mask, *_ = program.inputs
    assert len(tokens.shape) == 3
    assert mask.dtype == "bool"
    arrays = [x.draw(np.random.default_rng(0)) for x in program.inputs]
    out = jax.tree.leaves(jax.jit(program.function)(program.init(jax.random.key(0)), *arrays))
    assert out[0].shape == tokens.shape


def test_one_that_takes_q_k_v_is_no_mixer():
    with pytest.raises(ValueError, match=r"can't be called with \(x, mask\)"):
        register_attention("wrong", mixer=True)(lambda q, k, v, mask: v)


@pytest.mark.ci
def test_it_runs_and_is_analysed(cli, tmp_path):
    run = tmp_path / "run"
    status, _, err = cli("run", "--attention", "mean", "--preset", "smoke", "--out", run)
    assert status == 0, err
    status, out, err = cli("analyze", "matrix", run, "--out", tmp_path / "matrix")
    assert status == 0, err
    assert "Influences among the tokens of mean, listops" in out
    assert "row_sum" in out


class Closed(nnx.Module):
    """Take away all that its output is added to."""

    def __init__(self, dims, *, rngs):
        del dims, rngs

    def __call__(self, x, mask, stream=None):
        del mask
        return -(x if stream is None else stream)


def test_a_mixer_may_gate_what_it_is_added_to(monkeypatch):
    traits = AttentionTraits(mixer=True)
    monkeypatch.setitem(ATTENTIONS._entries, "closed", Entry("closed", Closed, __name__, traits))
    settings = make_settings("listops", "closed", "smoke", 0, ("model.num_layers=2",))
    learner = make_learner(make_task("listops", settings.data), settings)
    state = first_state(learner)
    encoder = learner.merge(state.params, state.sampled).encoder
    block = encoder.blocks[0]
    x = jax.random.normal(jax.random.key(0), (2, 5, settings.model.emb_dim))
    found = block(x, jnp.ones((2, 5), bool), None)
    nothing = block.ffn_out(block.gelu(block.ffn_in(block.ffn_norm(jnp.zeros_like(x)))))
    np.testing.assert_allclose(found, nothing, atol=1e-6)
    # In an analysis too, the second layer sees nothing of the tokens.
    first, second = captured(encoder, jnp.arange(1, 6)[None])
    assert np.ptp(first.x, axis=1).max() > 1
    np.testing.assert_allclose(np.ptp(second.x, axis=1), 0, atol=1e-5)
