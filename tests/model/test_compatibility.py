"""Settings that follow published code; no preset of the protocol uses them.

tests/model/test_published_models.py has more: activation, projection_bias, pair_head_layers,
pair_features, vocab_size, padded_length and pooling, which the logits and the counts there need.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from paired_task import Paired

from lra_bench.contracts import Dims
from lra_bench.model.classifier import Classifier
from lra_bench.model.encoder import Block, token_mixing
from lra_bench.registry import ATTENTIONS
from lra_bench.settings import ModelSettings
from lra_bench.tasks.listops import ListOps

TASK = ListOps(min_length=0, max_length=400)


def settings(**changes):
    sizes = {"num_layers": 2, "emb_dim": 64, "ffn_dim": 128, "num_heads": 2, "head_dim": 24}
    usual = {"positions": "learned", "pooling": "cls", "dtype": "float32"}
    dropout = {"dropout": 0.0, "dropout_bits": "threefry"}
    return ModelSettings(**{**sizes, **usual, **dropout, **changes})


@pytest.mark.parametrize("scheme", ["flax", "pytorch", "lra"])
def test_parameters_are_drawn_as_the_code_draws_them(scheme):
    model = Classifier(TASK, settings(init=scheme), "softmax", {}, nnx.Rngs(0))
    encoder, ffn = model.encoder, model.encoder.blocks[0].ffn_out
    embedding, positions = encoder.embed.embedding[...], encoder.positions.embedding[...]
    deviations = [float(jnp.std(x)) for x in (embedding[:-1], positions, ffn.kernel[...])]
    expected = {
        "flax": [64**-0.5, 64**-0.5, 128**-0.5],
        "pytorch": [0.02, 0.02, (3 * 128) ** -0.5],
        "lra": [1.0, 0.02, (2 / (64 + 128)) ** 0.5],
    }[scheme]
    np.testing.assert_allclose(deviations, expected, rtol=0.1)
    assert bool(jnp.all(embedding[-1] == 0)) == (scheme == "lra")
    largest = {"flax": 9.0, "pytorch": 128**-0.5, "lra": (6 / (64 + 128)) ** 0.5}[scheme]
    assert float(jnp.abs(ffn.kernel[...]).max()) <= largest
    biases = [float(jnp.std(x.bias[...])) for x in (ffn, model.hidden)]
    expected = {
        "flax": [0, 0],
        "pytorch": [(3 * 128) ** -0.5, (3 * 64) ** -0.5],
        "lra": [1e-6, 0],
    }[scheme]
    np.testing.assert_allclose(biases, expected, rtol=0.2)
    head = float(jnp.std(model.hidden.kernel[...]))
    assert head == pytest.approx((3 * 64) ** -0.5 if scheme == "pytorch" else 64**-0.5, rel=0.1)


def test_hidden_dropout_is_between_gelu_and_the_second_layer():
    """That layer writes each hidden number twice, so what is dropped is missing twice."""
    sizes = settings(ffn_dim=32, hidden_dropout=0.25)
    block = Block(sizes, token_mixing(sizes, 10, "identity", {}, nnx.Rngs(0)), nnx.Rngs(0))
    block.ffn_out.kernel[...] = jnp.repeat(jnp.eye(32), 2, axis=1)
    block.attention.out.kernel[...] = jnp.zeros((48, 64))
    x, mask = jax.random.normal(jax.random.key(0), (3, 10, 64)), jnp.ones((3, 10), bool)
    whole, dropped = (block(x, mask, rngs) - x for rngs in (None, nnx.Rngs(dropout=0)))
    gone = np.asarray(jnp.abs(dropped) < 1e-6)
    np.testing.assert_array_equal(gone[..., ::2], gone[..., 1::2])
    assert gone.mean() == pytest.approx(0.25, abs=0.04)
    np.testing.assert_allclose(dropped[~gone], whole[~gone] / 0.75, atol=1e-5)


def test_both_hidden_layers_of_a_pairs_head_compute():
    model = Classifier(Paired(), settings(pair_head_layers=2), "identity", {}, nnx.Rngs(0))
    assert model.second.kernel.shape == (128, 64)
    assert model.out.kernel.shape == (64, 3)
    encoded = jax.random.normal(jax.random.key(0), (4, 64))
    before = model.classify(encoded, 2)
    model.second.bias[...] = -1e3 * jnp.ones(64)
    np.testing.assert_array_equal(model.classify(encoded, 2), np.zeros((2, 3)))
    assert jnp.abs(before).max() > 0


def test_the_first_token_is_pooled_without_one_for_cls():
    model = Classifier(TASK, settings(pooling="first"), "identity", {}, nnx.Rngs(0))
    assert model.encoder.embed.embedding.shape[0] == TASK.vocab_size
    x = jax.random.normal(jax.random.key(0), (3, 10, 64))
    np.testing.assert_array_equal(model.encoder.pooled(x, jnp.ones((3, 10), bool)), x[:, 0])


@pytest.mark.parametrize(
    ("pooling", "expected"), [("mean", 2.0), ("mean-all", 1.5), ("mean-padded", 4.0)]
)
def test_means_over_real_and_over_all_tokens(pooling, expected):
    model = Classifier(TASK, settings(pooling=pooling), "identity", {}, nnx.Rngs(0))
    x = jnp.broadcast_to(jnp.array([1.0, 2, 3, 10])[None, :, None], (1, 4, 64))
    mask = jnp.array([[True, True, True, False]])
    np.testing.assert_allclose(model.encoder.pooled(x, mask)[0, 0], expected, rtol=1e-6)


DIMS = Dims(num_heads=2, head_dim=8, max_len=8, emb_dim=16)


def inputs():
    """Queries, keys and values that show the weights: V is a unit matrix for each head."""
    q, k = jax.random.normal(jax.random.key(0), (2, 3, 8, 2, 8))
    return q, k, jnp.broadcast_to(jnp.eye(8)[None, :, None], q.shape), jnp.ones((3, 8), bool)


def test_dropout_of_softmax_drops_weights_and_keeps_their_mean():
    softmax = ATTENTIONS.get("softmax").target
    whole = softmax(*inputs(), dropout=0.25)
    np.testing.assert_array_equal(whole, softmax(*inputs()))
    dropped = softmax(*inputs(), dropout=0.25, rngs=nnx.Rngs(dropout=0))
    gone = np.asarray(dropped == 0)
    assert gone.mean() == pytest.approx(0.25, abs=0.06)
    np.testing.assert_allclose(dropped[~gone], whole[~gone] / 0.75, rtol=1e-6)


def test_uniform_queries_at_padding_see_all_values_and_change_no_others():
    softmax = ATTENTIONS.get("softmax").target
    q, k, v, _ = inputs()
    mask = jnp.arange(8)[None] < jnp.array([8, 5, 2])[:, None]
    usual, uniform = softmax(q, k, v, mask), softmax(q, k, v, mask, padded_queries="uniform")
    np.testing.assert_array_equal(uniform[mask], usual[mask])
    np.testing.assert_allclose(uniform[~mask], 1 / 8, rtol=1e-6)


@pytest.mark.ci
@pytest.mark.parametrize("fresh", [False, True])
def test_rotations_of_reformer_are_drawn_anew_in_training_only(fresh):
    options = {"bucket_size": 2, "num_hashes": 1, "fresh_rotations": fresh}
    module = ATTENTIONS.get("reformer").target(DIMS, **options, rngs=nnx.Rngs(0))
    kept = np.asarray(module.rotations[...])
    usual = module(*inputs())
    outs = [module(*inputs(), rngs=nnx.Rngs(dropout=seed)) for seed in range(4)]
    assert any(bool((out != usual).any()) for out in outs) == fresh
    assert any(bool((out != outs[0]).any()) for out in outs) == fresh
    np.testing.assert_array_equal(module(*inputs()), usual)
    np.testing.assert_array_equal(module.rotations[...], kept)


@pytest.mark.parametrize(
    ("sharing", "layers", "heads"),
    [
        ("key-value", 2, 1),
        ("key-value-by-head", 2, 2),
        ("layerwise", 1, 1),
        ("layerwise-by-head", 1, 2),
    ],
)
@pytest.mark.parametrize("learned", [True, False])
def test_projections_of_linformer_are_shared_and_learned_as_told(sharing, layers, heads, learned):
    options = {"num_projected": 4, "sharing": sharing, "learned": learned, "deviation": 0.5}
    model = Classifier(TASK, settings(), "linformer", options, nnx.Rngs(0))
    _, params, others = nnx.split(model, nnx.Param, ...)
    of = [
        leaf[...]
        for part, held in ((params, learned), (others, not learned))
        for path, leaf in nnx.to_flat_state(part)
        if "attend" in path and held
    ]
    assert [x.shape for x in of] == layers * [(heads, TASK.max_len + 1, 4)]
    assert float(jnp.std(of[0])) == pytest.approx(0.5, rel=0.1)
    one, other = (block.attention.attend.key_projection for block in model.encoder.blocks)
    assert (one is other) == sharing.startswith("layerwise")
