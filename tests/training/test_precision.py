"""`--set model.dtype=bfloat16`: what is bfloat16, and what stays float32.

That softmax and normalisers are computed in float32 stands in test_attention_contract.py.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from kinds import mostly_kinds

from lra_bench.config import make_settings
from lra_bench.layers import Dense
from lra_bench.model import encoder
from lra_bench.registry import ATTENTIONS, make_task
from lra_bench.training.learner import make_learner

KEY = jax.random.key(0)


def learner(attention, dtype, *overrides):
    options = [f"model.dtype={dtype}", *overrides]
    settings = make_settings("listops", attention, "smoke", 0, options)
    return make_learner(make_task("listops", settings.data), settings)


def batch(length, size=4):
    """Every other token is the same, as a common letter is."""
    rng = np.random.default_rng(0)
    tokens = rng.integers(1, 16, (size, length)).astype(np.uint8)
    tokens[:, ::2] = 3
    return tokens, rng.integers(0, 10, size).astype(np.int32)


def dtypes(tree):
    return {x.dtype for x in jax.tree.leaves(tree) if jnp.issubdtype(x.dtype, jnp.floating)}


@pytest.fixture
def seen(monkeypatch):
    """The dtypes of what goes into each mechanism, and of what comes out."""
    found, plain = set(), encoder.attended

    def noting(name, attend, *arrays, **keys):
        out = plain(name, attend, *arrays, **keys)
        found.update(x.dtype for x in (*arrays[:-1], out))
        return out

    monkeypatch.setattr(encoder, "attended", noting)
    return found


# What each mechanism returns for bfloat16 is in test_attention_contract.py.
@pytest.mark.parametrize("attention", mostly_kinds(ATTENTIONS.names()))
def test_a_step_computes_in_bfloat16_and_keeps_float32(attention, seen):
    one = learner(attention, "bfloat16")
    state = jax.eval_shape(one.init, KEY)
    after, loss = jax.eval_shape(one.train_step, state, *batch(48), KEY)
    assert seen == {jnp.dtype("bfloat16")}
    assert loss.dtype == jnp.float32
    for part in (after.params, after.optimiser, after.sampled, after.window):
        assert dtypes(part) <= {jnp.dtype("float32")}


# The mechanisms' own gradients are in test_attention_contract.py.
FEW = ("softmax", "performer-softmax")
OTHERS = [pytest.param(x, marks=pytest.mark.slow) for x in ATTENTIONS.names() if x not in FEW]


@pytest.mark.parametrize("attention", [*FEW, *OTHERS])
def test_a_step_in_bfloat16_is_finite(attention):
    one = learner(attention, "bfloat16")
    after, _ = jax.jit(one.train_step)(jax.jit(one.init)(KEY), *batch(48), KEY)
    for name, value in after.params.items():
        assert np.isfinite(value).all(), name


@pytest.mark.parametrize(
    ("attention", "length"),
    [("identity", 600), pytest.param("softmax", 600, marks=pytest.mark.slow)],
)
def test_the_gradient_of_an_embedding_is_a_float32_sum(attention, length):
    """Thousands of tokens look up the same vector: a bfloat16 sum of as many would stay behind."""
    tokens, found = batch(length), {}
    for dtype in ("float32", "bfloat16"):
        one = learner(attention, dtype, f"data.max_length={length}")
        state = jax.jit(one.init)(KEY)
        of_loss = jax.jit(jax.grad(one.batch_loss, has_aux=True))
        gradients, _ = of_loss(state.params, state.sampled, one.scored(*tokens, KEY), KEY)
        found[dtype] = np.asarray(gradients["encoder.embed.embedding"])
    error = np.linalg.norm(found["bfloat16"] - found["float32"])
    # Rounding may turn off a unit of the head, which is a fifth of it; the sum was off by 92 %.
    assert error < 0.3 * np.linalg.norm(found["float32"])


def test_the_gradient_of_a_bias_is_summed_in_float32():
    """Of 2^16 tokens; sums in bfloat16 stop at 256 times the size of a summand."""
    layer = Dense(4, 3, dtype="bfloat16", rngs=nnx.Rngs(0))
    x = jnp.ones((32, 2_048, 4))
    graph, params = nnx.split(layer)

    @jax.jit
    @jax.grad
    def gradient(params):
        return jnp.sum(nnx.merge(graph, params)(x).astype(jnp.float32))

    np.testing.assert_allclose(gradient(params).bias[...], 2.0**16, rtol=1e-6)


@pytest.mark.parametrize("attention", ["softmax", "mega", "s5", "gated-deltanet"])
def test_gradients_of_vectors_are_those_of_float32(attention):
    """What is added to, or multiplies, each of many tokens: its gradient is a sum over them."""
    found = {}
    for dtype in ("bfloat16", "float32"):
        one = learner(attention, dtype, "model.dropout=0", "data.max_length=2000")
        state = jax.jit(one.init)(KEY)
        scored = one.scored(*batch(2_000), KEY)
        grads = jax.jit(jax.grad(one.batch_loss, has_aux=True))(
            state.params, state.sampled, scored, KEY
        )[0]
        found[dtype] = {name: np.asarray(x) for name, x in grads.items() if x.ndim == 1}
    for name, exact in found["float32"].items():
        off = np.linalg.norm(found["bfloat16"][name] - exact)
        assert off < 0.1 * np.linalg.norm(exact) + 1e-4, name
