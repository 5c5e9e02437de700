"""The mechanisms against closed forms, dense references and the theory of their papers."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from references import MASK, agree, float64

from lra_bench.attentions._favor import chunks
from lra_bench.attentions._favor.features import (
    KERNELS,
    elu_features,
    generalized_features,
    softmax_features,
)
from lra_bench.attentions.linformer import Linformer
from lra_bench.attentions.performer_generalized import PerformerGeneralized
from lra_bench.attentions.performer_relu import PerformerRelu
from lra_bench.attentions.performer_softmax import PerformerSoftmax
from lra_bench.attentions.reformer import Reformer
from lra_bench.contracts import Dims
from lra_bench.model.mechanism import build_attention
from lra_bench.verification import contract
from lra_bench.verification.subject import DIM, DIMS, HEADS, LENGTH, inputs, unit


def dense_kernel(phi_q, phi_k, v, mask, *, causal=False):
    """Kernel attention as an L x L matrix, in float64; features are (b, l, h, m)."""
    weights = np.einsum("bqhm,bkhm->bhqk", phi_q, phi_k) * mask[:, None, None, :]
    weights = np.tril(weights) if causal else weights
    return np.einsum("bhqk,bkhd->bqhd", weights / weights.sum(-1, keepdims=True), v)


@pytest.fixture
def short_chunks(monkeypatch):
    """So that the test's 141 tokens are several chunks, the last of them not full."""
    monkeypatch.setattr(chunks, "_CHUNK", 48)
    monkeypatch.setattr(chunks, "_FEW", 0)
    monkeypatch.setattr(chunks, "_CAUSAL_CHUNK", 32)
    monkeypatch.setattr(chunks, "_BLOCK", 8)


def exact_kernel(module, q, k, v, *, causal=False):
    """What a mechanism of kernel features says, from its L x L matrix, in float64 under x64."""
    features, drawn = module.features, getattr(module, "projection", None)
    drawn = None if drawn is None else jnp.asarray(drawn[...], jnp.float64)
    phi = [features(jnp.swapaxes(x, 1, 2), drawn).value() for x in (q, k)]
    pairs = jnp.einsum("bhqm,bhkm->bhqk", *phi)
    pairs = jnp.where(MASK[:, None, None, :], pairs, 0)
    pairs = jnp.tril(pairs) if causal else pairs
    total = jnp.sum(pairs, -1, keepdims=True) if module.renormalize else module.num_features
    return jnp.einsum("bhqk,bkhd->bqhd", pairs / total, v)


def outcome(function, *qkv):
    """Output and gradients of a bounded function of it, at real tokens."""

    def total(*qkv):
        out = function(*qkv)
        # Unnormalised outputs are in the hundreds, where the sine of a rounded number is noise.
        return jnp.sum(jnp.where(MASK[:, :, None, None], jnp.sin(0.01 * out), 0)), out

    gradients, out = jax.jit(jax.grad(total, argnums=(0, 1, 2), has_aux=True))(*qkv)
    return [np.asarray(x)[MASK] for x in (out, *gradients)]


# Each estimator, projection and kind of kernel once, each loop with and without exponents.
KERNEL_ATTENTIONS = [
    (PerformerSoftmax, {"projection": "hadamard", "causal": False}),
    (PerformerSoftmax, {"regularized": True, "causal": True}),
    (PerformerSoftmax, {"estimator": "hyperbolic", "projection": "givens", "causal": False}),
    (PerformerSoftmax, {"estimator": "trigonometric", "num_features": 512, "causal": True}),
    (PerformerSoftmax, {"projection": "iid", "renormalize": False, "causal": False}),
    (PerformerSoftmax, {"renormalize": False, "causal": True}),
    (PerformerSoftmax, {"estimator": "trigonometric", "renormalize": False, "causal": False}),
    (PerformerRelu, {"causal": False}),
    (PerformerRelu, {"projection": "none", "causal": True}),
    (PerformerGeneralized, {"kernel": "exp", "causal": True}),
    (PerformerGeneralized, {"kernel": "gelu", "causal": True}),
    (PerformerGeneralized, {"kernel": "elu+1", "causal": False}),
]


@pytest.mark.parametrize(
    ("kind", "options"),
    KERNEL_ATTENTIONS,
    ids=lambda x: "-".join(map(str, x.values())) if isinstance(x, dict) else x.__name__,
)
@pytest.mark.usefixtures("short_chunks")
def test_kernel_attention_equals_its_dense_form(kind, options):
    """Forward and backward, over several chunks: shifts cancel, the hand-written VJP is right."""
    module = kind(DIMS, **{"num_features": 24, **options}, rngs=nnx.Rngs(0))
    qkv = inputs(scale=0.7)
    found = outcome(lambda *qkv: module(*qkv, MASK), *qkv)
    with jax.enable_x64(True):
        exact = functools.partial(exact_kernel, module, causal=options["causal"])
        expected = outcome(exact, *(x.astype(np.float64) for x in qkv))
    for one, other in zip(found, expected, strict=True):
        scale = np.abs(other).max()
        np.testing.assert_allclose(one / scale, other / scale, rtol=0, atol=2e-5)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.usefixtures("short_chunks")
def test_one_chunk_for_an_accelerator_gives_the_same(monkeypatch, causal):
    """Longer chunks than a CPU's change rounding only."""
    module = PerformerSoftmax(DIMS, num_features=24, causal=causal, rngs=nnx.Rngs(0))
    qkv = inputs(scale=0.7)
    expected = outcome(lambda *qkv: module(*qkv, MASK), *qkv)
    monkeypatch.setattr(chunks, "platform", lambda: "gpu")
    found = outcome(lambda *qkv: module(*qkv, MASK), *qkv)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=2e-5 * np.abs(other).max())


@pytest.mark.parametrize(
    ("platform", "batch", "causal", "chunk"),
    [
        ("cpu", 1, False, 256),
        ("cpu", 8, True, 128),
        ("gpu", 1, False, 4_096),
        ("tpu", 4, False, 1_024),
        ("gpu", 64, False, 256),
        ("gpu", 1, True, 1_024),
        ("tpu", 1, True, 256),
    ],
)
def test_chunks_follow_the_device(monkeypatch, platform, batch, causal, chunk):
    """The features of a chunk take 32 MiB on accelerators: 4,096 tokens of 8 heads."""
    monkeypatch.setattr(chunks, "platform", lambda: platform)
    drawn = jax.ShapeDtypeStruct((256, 64), np.float32)
    features = softmax_features("positive", "orthogonal", 256)
    options = {"causal": causal, "renormalize": True, "axis": None}
    assert chunks.Plan.of((batch, 32_768, 8, 64), features, drawn, **options).chunk == chunk


@pytest.mark.parametrize(("causal", "chunk"), [(False, 1_024), (True, 128)])
def test_chunks_of_few_features_are_longer(causal, chunk):
    """On CPUs, where a chunk of all heads' features otherwise has 256 tokens."""
    options = {"causal": causal, "renormalize": True, "axis": None}
    assert chunks.Plan.of((8, 32_768, 8, 32), elu_features, None, **options).chunk == chunk


@pytest.mark.parametrize("kernel", KERNELS)
def test_kernels_are_what_their_names_say(kernel):
    """Against numpy, Appendix D.3's list of them."""
    x = np.linspace(-3, 3, 31)
    named = {
        "relu": np.maximum(x, 0),
        "exp": np.exp(x),
        "sigmoid": 1 / (1 + np.exp(-x)),
        "abs": np.abs(x),
        "gelu": 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
        "cos": np.cos(x),
        "tanh": np.tanh(x),
        "identity": x,
        "square-relu": np.maximum(x, 0) ** 2,
        "elu+1": np.where(x > 0, x + 1, np.exp(np.minimum(x, 0))),
    }
    features = generalized_features(kernel, "none", 1, 0.0)
    made = jax.jit(lambda x: features(x, None).value())(x[:, None])
    np.testing.assert_allclose(made[:, 0], named[kernel], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.usefixtures("short_chunks")
def test_linear_equals_its_dense_form(causal):
    qkv = inputs()
    q, k, v = float64(*qkv)
    phi = [np.where(x > 0, x + 1, np.exp(np.minimum(x, 0))) for x in (q, k)]
    found = build_attention("linear", DIMS, {"causal": causal}, nnx.Rngs(0))
    agree(jax.jit(found)(*qkv, MASK), dense_kernel(*phi, v, MASK, causal=causal))


def test_performer_relu_equals_its_equation():
    module = PerformerRelu(DIMS, num_features=24, epsilon=0.1, rngs=nnx.Rngs(0))
    qkv = inputs()
    q, k, v, w = float64(*qkv, module.projection[...])
    # An epsilon of 0.1 is large enough to show where it is added.
    phi = [(np.maximum(np.einsum("blhd,md->blhm", x, w), 0) + 0.1) / np.sqrt(24) for x in (q, k)]
    agree(jax.jit(module)(*qkv, MASK), dense_kernel(*phi, v, MASK))


@pytest.mark.parametrize("projection", ["orthogonal", "none"])
def test_the_exp_kernel_is_a_mean_over_projections(projection):
    """Without renormalisation: K(x, y) = sum exp(w^T (x + y)) / m, Eq. (5) with f = exp."""
    options = {"kernel": "exp", "num_features": 24, "projection": projection, "renormalize": False}
    module = PerformerGeneralized(DIMS, **options, rngs=nnx.Rngs(0))
    qkv = inputs(scale=0.5)
    q, k, v = float64(*qkv)
    w = np.eye(DIM) if projection == "none" else np.asarray(module.projection[...], np.float64)
    phi = [np.exp(np.einsum("blhd,md->blhm", x, w)) / np.sqrt(len(w)) for x in (q, k)]
    pairs = np.einsum("bqhm,bkhm->bhqk", *phi) * MASK[:, None, None, :]
    expected = np.einsum("bhqk,bkhd->bqhd", pairs, v)
    scale = np.abs(expected).max()
    agree(np.asarray(jax.jit(module)(*qkv, MASK)) / scale, expected / scale)


@pytest.fixture(scope="module")
def performer_of_24():
    """A performer with 24 features, and its compiled call."""
    module = PerformerSoftmax(DIMS, num_features=24, rngs=nnx.Rngs(0))
    return module, jax.jit(module)


def test_performer_softmax_equals_its_equation(performer_of_24):
    """Lemma 1's features, unshifted in float64."""
    module, call = performer_of_24
    qkv = inputs()
    q, k, v, w = float64(*qkv, module.projection[...])
    q, k = (x * DIM**-0.25 for x in (q, k))
    phi = [
        np.exp(np.einsum("blhd,md->blhm", x, w) - np.square(x).sum(-1, keepdims=True) / 2)
        for x in (q, k)
    ]
    agree(call(*qkv, MASK), dense_kernel(*phi, v, MASK))


@pytest.mark.parametrize("estimator", ["positive", "hyperbolic", "trigonometric"])
def test_estimators_are_unbiased(estimator):
    """phi(x)^T phi(y) / m is SM(x, y) = exp(x^T y / sqrt(d)) on average: Lemma 1."""
    q, k = (0.6 * np.asarray(jax.random.normal(jax.random.key(n), (5, DIM))) for n in (1, 2))
    rows = 200_000
    drawn = jax.random.normal(jax.random.key(3), (rows, DIM))
    features = softmax_features(estimator, "iid", rows)
    value = jax.jit(lambda x, drawn: features(x, drawn).value())
    phi_q, phi_k = (np.asarray(value(x, drawn), np.float64) for x in (q, k))
    terms = (phi_q * phi_k).reshape(5, -1, rows).sum(1)
    error = terms.std(1) / np.sqrt(rows)
    expected = np.exp(np.sum(np.asarray(q, np.float64) * np.asarray(k), -1) / np.sqrt(DIM))
    assert (np.abs(terms.mean(1) - expected) < 4 * error).all()


def test_one_early_key_is_not_drowned_by_later_chunks(monkeypatch):
    """The shift of features grows from chunk to chunk, by e^60 here; earlier queries don't mind."""
    monkeypatch.setattr(chunks, "_CAUSAL_CHUNK", 16)
    monkeypatch.setattr(chunks, "_BLOCK", 8)
    module = PerformerSoftmax(DIMS, num_features=64, causal=True, rngs=nnx.Rngs(0))
    q, k, v = inputs()
    k = np.concatenate([19 * unit(k[:, :16]), k[:, 16:]], axis=1)
    alone = jax.jit(module)(q, k, v, np.ones((2, LENGTH), bool))[:, :16]
    value = jax.jit(lambda x, drawn: module.features(x, drawn).value())
    with jax.enable_x64(True):
        q, k, v, w = float64(*(x[:, :16] for x in (q, k, v)), module.projection[...])
        phi = [np.asarray(value(np.swapaxes(x, 1, 2), w)) for x in (q, k)]
    pairs = np.tril(np.einsum("bhqm,bhkm->bhqk", *phi))
    expected = np.einsum("bhqk,bkhd->bqhd", pairs / pairs.sum(-1, keepdims=True), v)
    np.testing.assert_allclose(alone, expected, rtol=0, atol=1e-4)


def performer(features):
    def call(key, *qkv_and_mask):
        module = PerformerSoftmax(DIMS, num_features=features, rngs=nnx.Rngs(key))
        return module(*qkv_and_mask)

    return call


def test_performer_softmax_converges_to_softmax():
    contract.check_converges_to_softmax(performer)


@pytest.mark.parametrize("norm", [10.0, 30.0])
def test_performer_softmax_keeps_its_precision_at_large_norms(norm, performer_of_24):
    """In float32 it equals its own dense float64 form where plain exponentials underflow."""
    module, call = performer_of_24
    q, k, v = inputs()
    q, k = (norm * unit(x) for x in (q, k))
    logs = []
    for x in float64(q, k):
        x = x * DIM**-0.25
        w = np.asarray(module.projection[...], np.float64)
        logs.append(np.einsum("blhd,md->blhm", x, w) - np.square(x).sum(-1, keepdims=True) / 2)
    pairs = logs[0][:, :, None] + logs[1][:, None]  # b q k h m
    pairs = np.where(MASK[:, None, :, None, None], pairs, -np.inf)
    pairs = np.exp(pairs - pairs.max(axis=(2, 4), keepdims=True)).sum(-1)
    weights = pairs / pairs.sum(2, keepdims=True)
    expected = np.einsum("bqkh,bkhd->bqhd", weights, np.asarray(v, np.float64))
    agree(call(q, k, v, MASK), expected, 2e-3)


def test_lemma_2_variance_of_positive_features():
    """MSE of the iid positive estimator: exp(|x + y|^2) SM(x, y)^2 (1 - exp(-|x + y|^2)) / m."""
    x, y = np.array([0.5, -0.3, 0.2]), np.array([0.1, 0.4, -0.2])
    w = np.random.default_rng(0).standard_normal((400_000, 3))
    samples = np.exp(w @ x - x @ x / 2) * np.exp(w @ y - y @ y / 2)
    both = (x + y) @ (x + y)
    expected = np.exp(both) * np.exp(x @ y) ** 2 * (1 - np.exp(-both))
    errors = np.square(samples - np.exp(x @ y))
    standard_error = errors.std() / np.sqrt(len(errors))
    assert abs(errors.mean() - expected) < 4 * standard_error


@pytest.mark.parametrize("module", [PerformerSoftmax, PerformerRelu])
def test_causal_gradients_reverse_no_array(module):
    """The compiler for TPUs aborts on some programs with reversed arrays, at a batch of 1."""
    built = module(Dims(HEADS, DIM, 512), causal=True, rngs=nnx.Rngs(0))
    mask = np.ones((1, 512), bool)

    def loss(qkv):
        return built(*qkv, mask).sum()

    arrays = tuple(np.zeros((1, 512, HEADS, DIM), np.float32) for _ in range(3))
    program = str(jax.make_jaxpr(jax.grad(loss))(arrays))
    assert "cumsum" not in program
    assert " rev[" not in program


@pytest.mark.parametrize("sharing", ["headwise", "key-value", "none"])
def test_linformer_equals_its_dense_form(sharing):
    module = Linformer(DIMS, num_projected=7, sharing=sharing, rngs=nnx.Rngs(0))
    qkv = inputs()
    e = module.key_projection
    assert e.shape == (HEADS if sharing == "none" else 1, DIMS.max_len, 7)
    f = e if sharing == "key-value" else module.value_projection
    q, k, v, e, f = float64(*qkv, e[...], f[...])
    e, f = (np.broadcast_to(x, (HEADS, DIMS.max_len, 7)) for x in (e, f))
    real = MASK[:, :, None, None]
    keys, values = (
        np.einsum("blhd,hlk->bkhd", np.where(real, x, 0), w[:, :LENGTH])
        for x, w in ((k, e), (v, f))
    )
    logits = np.einsum("bqhd,bkhd->bhqk", q, keys) / np.sqrt(DIM)
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    expected = np.einsum("bhqk,bkhd->bqhd", weights / weights.sum(-1, keepdims=True), values)
    agree(jax.jit(module)(*qkv, MASK), expected)


def test_linformer_refuses_more_tokens_than_it_was_built_for():
    module = Linformer(Dims(HEADS, DIM, 5), rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="got 6 tokens, but was built for 5 at most"):
        module(*inputs(length=6), np.ones((2, 6), bool))


RandomLinformer = functools.partial(Linformer, learned=False)
SAMPLED = [PerformerSoftmax, PerformerRelu, Reformer, RandomLinformer]


@pytest.mark.parametrize("module", SAMPLED)
def test_resampling_draws_anew_and_from_the_key_alone(module):
    def draw(seed):
        built = module(DIMS, rngs=nnx.Rngs(0))
        before = nnx.to_pure_dict(nnx.state(built))
        built.resample(jax.random.key(seed))
        return before, nnx.to_pure_dict(nnx.state(built))

    (before, one), (_, again), (_, other) = draw(1), draw(1), draw(2)
    for name in before:
        assert (one[name] == again[name]).all()
        assert not (one[name] == before[name]).any()
        assert not (one[name] == other[name]).any()


def test_what_linformer_learns_is_not_drawn_anew():
    module = Linformer(DIMS, rngs=nnx.Rngs(0))
    before = np.array(module.key_projection[...])
    module.resample(jax.random.key(1))
    np.testing.assert_array_equal(module.key_projection[...], before)


@pytest.mark.parametrize("module", SAMPLED)
def test_sampled_state_is_no_parameter(module):
    assert not jax.tree.leaves(nnx.state(module(DIMS, rngs=nnx.Rngs(0)), nnx.Param))
