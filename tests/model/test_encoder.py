"""The encoder that all mechanisms share."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from kinds import KINDS
from paired_task import Paired

from lra_bench.model.classifier import Classifier
from lra_bench.registry import ATTENTIONS
from lra_bench.settings import ModelSettings
from lra_bench.tasks.image import Image
from lra_bench.tasks.listops import ListOps

TASK = ListOps(min_length=0, max_length=40)
SIZES = {"num_layers": 2, "emb_dim": 12, "ffn_dim": 20, "num_heads": 3, "head_dim": 5}


def settings(**changes):
    usual = {"positions": "learned", "pooling": "mean", "dtype": "float32"}
    dropout = {"dropout": 0.0, "dropout_bits": "threefry"}
    return ModelSettings(**{**SIZES, **usual, **dropout, **changes})


@functools.cache
def build(task=TASK, attention="softmax", **changes):
    return Classifier(task, settings(**changes), attention, {}, nnx.Rngs(0))


def tokens(length=40, real=25, batch=4):
    ids = np.random.default_rng(0).integers(1, 16, (batch, length))
    ids[:, real:] = 0
    return ids.astype(np.uint8)


@pytest.mark.ci
def test_computing_blocks_again_changes_no_gradient():
    """Whatever `remat` is, and with the same bits of dropout."""

    def gradients(remat):
        model, parameters = nnx.split(build(dropout=0.5, remat=remat))

        def loss(parameters):
            logits = nnx.merge(model, parameters)(tokens(), nnx.Rngs(dropout=1))
            return jnp.square(logits).sum()

        traced = jax.jit(jax.grad(loss)).trace(parameters)
        computed_again = str(traced.jaxpr).count("remat")
        return computed_again, jax.tree.leaves(traced.lower().compile()(parameters))

    (usual, kept), (more, again) = gradients(remat=False), gradients(remat=True)
    assert more > usual  # LayerNorm is always computed again
    for one, other in zip(kept, again, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5 * np.abs(one).max() + 1e-12)


# That more padding changes nothing for each mechanism is in test_attention_contract.py.
POOLED = [
    pytest.param(pooling, name, marks=[pytest.mark.slow] if rare else [])
    for pooling in ("mean", "cls")
    for name in ATTENTIONS.names()
    for rare in [name not in (KINDS if pooling == "mean" else KINDS[:1])]
]


@pytest.mark.parametrize(("pooling", "attention"), POOLED)
def test_padding_changes_nothing(attention, pooling):
    """Fewer padded columns, same logits: attention, positions and pooling all keep the mask."""
    call = jax.jit(build(attention=attention, pooling=pooling, num_layers=1))
    full, cut = call(tokens()), call(tokens()[:, :30])
    np.testing.assert_allclose(full, cut, atol=2e-5)


@pytest.mark.parametrize("positions", ["learned", "sinusoidal", "rotary"])
@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_the_order_of_tokens_matters(positions, pooling):
    model = jax.jit(build(positions=positions, pooling=pooling, head_dim=6))
    ids = tokens(real=40)
    assert not np.allclose(model(ids), model(ids[:, ::-1]), atol=1e-4)


def test_logits_are_float32_in_every_dtype():
    logits = jax.jit(build(dtype="bfloat16"))(tokens())
    assert logits.shape == (4, 10)
    assert logits.dtype == jnp.float32
    close = jax.jit(build())(tokens())
    np.testing.assert_allclose(logits, close, atol=0.05)


def test_parameters_stay_float32():
    for leaf in jax.tree.leaves(nnx.state(build(dtype="bfloat16"), nnx.Param)):
        assert leaf.dtype == jnp.float32


def test_dropout_is_only_where_a_key_is():
    model = build(dropout=0.5)
    one, again = (jax.jit(model)(tokens()) for _ in range(2))
    np.testing.assert_array_equal(one, again)
    call = jax.jit(lambda ids, key: model(ids, nnx.Rngs(dropout=key)))
    dropped = [call(tokens(), jax.random.key(seed)) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(dropped[0], dropped[1])
    assert not np.allclose(dropped[0], dropped[2])
    assert not np.allclose(dropped[0], one)


def test_pairs_share_the_encoder_and_the_head_sees_their_interaction():
    """[x1, x2, x1 * x2, x1 - x2]: logits are those of the head on encodings made one by one."""
    model = build(Paired())
    ids = np.random.default_rng(0).integers(0, 1000, (3, 2, 4))
    encode = jax.jit(lambda ids: model.encoder(ids, None))
    x1, x2 = (np.asarray(encode(ids[:, i])) for i in (0, 1))
    joined = np.concatenate([x1, x2, x1 * x2, x1 - x2], axis=1)
    expected = jax.jit(lambda x: model.out(jax.nn.relu(model.hidden(x))))(joined)
    np.testing.assert_allclose(jax.jit(model)(ids), expected, atol=1e-5)


def test_without_a_padding_id_every_token_is_real():
    """A black pixel is no padding: id 0 counts."""
    model = build(Paired())
    ids, zeroed = np.ones((1, 4), int), np.array([[1, 1, 1, 0]])
    encode = jax.jit(lambda ids: model.encoder(ids, None))
    three = encode(ids[:, :3])
    assert not np.allclose(encode(ids), three)
    assert not np.allclose(encode(zeroed), three)


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_black_pixels_that_are_padding_are_never_read(pooling):
    """Wherever they are; an image of nothing else gives finite logits and gradients."""
    model = build(Image(shrink=8, black="padding"), pooling=pooling, num_layers=1)
    ids = np.random.default_rng(0).integers(0, 3, (4, 16))
    ids[3] = 0
    graph, state = nnx.split(model)

    @jax.jit
    def logits(black):
        model = nnx.merge(graph, state, copy=True)
        model.encoder.embed.embedding[...] = model.encoder.embed.embedding[...].at[0].set(black)
        return model(ids)

    np.testing.assert_allclose(logits(0.0), logits(9.0), atol=1e-6)
    assert np.isfinite(logits(0.0)).all()
    gradients = jax.jit(jax.grad(lambda state: jnp.sum(nnx.merge(graph, state)(ids))))(state)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(gradients))


@pytest.mark.ci
def test_mechanisms_differ_in_nothing_but_attention():
    """Same parameters outside the mechanism, but for projections that some share or replace."""

    def shapes(attention):
        model = nnx.eval_shape(lambda: build.__wrapped__(attention=attention, num_layers=1))
        state = nnx.to_flat_state(nnx.state(model, nnx.Param))
        return {path: leaf.shape for path, leaf in state if "attend" not in path}

    plain = shapes("softmax")
    for attention in ATTENTIONS.names():
        found = shapes(attention)
        traits = ATTENTIONS.get(attention).traits
        without = [*traits.shares_query_key * ["key"], *traits.mixer * ["attention"]]
        assert found == {path: s for path, s in plain.items() if not {*without} & {*path}}
