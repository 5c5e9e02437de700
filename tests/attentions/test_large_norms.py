"""FAVOR+ at norms up to 100 against its own float64 form, forward and backward."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from references import kernel_attention_by_logarithms

from lra_bench.attentions._favor import chunks, unidirectional
from lra_bench.attentions._favor.features import elu_features
from lra_bench.attentions.linear import linear
from lra_bench.attentions.performer_generalized import PerformerGeneralized
from lra_bench.attentions.performer_softmax import PerformerSoftmax
from lra_bench.contracts import Dims
from lra_bench.verification.subject import lengths_mask, unit

HEADS, LENGTH, REAL, FEATURES = 2, 75, 50, 24
NAMES = ("out", "dq", "dk", "dv")
NORMS = (1, 10, 30, 60, 100)
MASK = lengths_mask(LENGTH, REAL, length=LENGTH)


@pytest.fixture(autouse=True)
def short_chunks(monkeypatch):
    """So that the tokens are three chunks of four blocks, the last of them not full."""
    monkeypatch.setattr(chunks, "_CAUSAL_CHUNK", 32)
    monkeypatch.setattr(chunks, "_BLOCK", 8)
    monkeypatch.setattr(chunks, "_CHUNK", 32)
    monkeypatch.setattr(chunks, "_HEADS", 1)


def inputs(norm, dim, dtype, seed=0):
    """Queries and keys of that norm, values N(0, 1), and the gradient of the output."""
    draw = np.random.default_rng(seed).standard_normal((4, 2, LENGTH, HEADS, dim))
    q, k, v, gradient = draw.astype(np.float32)
    return [x.astype(dtype) for x in (norm * unit(q), norm * unit(k), v)], gradient


def outcome(call):
    """The output and the gradients of a weighted sum of the real outputs, as one program."""

    def total(gradient, *qkv):
        out = call(*qkv)
        return jnp.sum(jnp.where(MASK[:, :, None, None], out * gradient, 0)), out

    both = jax.jit(jax.grad(total, argnums=(1, 2, 3), has_aux=True))

    def run(qkv, gradient):
        gradients, out = both(gradient.astype(jnp.promote_types(qkv[0].dtype, jnp.float32)), *qkv)
        return [np.asarray(x, np.float64)[MASK] for x in (out, *gradients)]

    return run


def largest_exponent(features, drawn, qkv):
    both = [features(jnp.swapaxes(x.astype(jnp.float32), 1, 2), drawn) for x in qkv[:2]]
    return sum(float(jnp.max(jnp.abs(x.exponent))) for x in both)


def check(call, features, drawn, dim, dtype, causal):
    """Compare at every norm.

    An exponent is rounded by about sqrt(d) halves of its last digit, and its exponential by that
    share. Values and gradients are compared relative to the largest of their kind.
    """
    found = outcome(lambda *qkv: call(*qkv, MASK))
    exact = functools.partial(kernel_attention_by_logarithms, features, causal=causal)
    wide = None if drawn is None else np.asarray(drawn, np.float64)
    expected = outcome(lambda *qkv: exact(wide, *qkv, MASK))
    for norm in NORMS:
        qkv, gradient = inputs(norm, dim, dtype)
        rounding = 2**-24 * largest_exponent(features, drawn, qkv)
        tolerance = 2**-4 if dtype == jnp.bfloat16 else 2e-6 + 8 * rounding
        values = found(qkv, gradient)
        with jax.enable_x64(True):
            references = expected([x.astype(np.float64) for x in qkv], gradient)
        for name, value, reference in zip(NAMES, values, references, strict=True):
            error = np.abs(value - reference).max() / np.abs(reference).max()
            assert error < tolerance, f"{name} at norm {norm}: {error:.1e} > {tolerance:.1e}"


def performer(causal, dim, kind=PerformerSoftmax, **options):
    options = {"num_features": FEATURES, "causal": causal, **options}
    return kind(Dims(HEADS, dim, LENGTH), **options, rngs=nnx.Rngs(0))


CASES = [
    pytest.param(PerformerSoftmax, {}, 32, "float32", True, id="softmax-causal"),
    *(
        pytest.param(*case, causal, id=f"{name}-{causal}", marks=pytest.mark.slow)
        for causal in (True, False)
        for name, case in {
            "bfloat16": (PerformerSoftmax, {}, 32, "bfloat16"),
            "odd": (PerformerSoftmax, {"projection": "hadamard"}, 17, "float32"),
            "hyperbolic": (PerformerSoftmax, {"estimator": "hyperbolic"}, 8, "float32"),
            "exp": (PerformerGeneralized, {"kernel": "exp"}, 32, "float32"),
            "exp-of-x": (PerformerGeneralized, {"projection": "none"}, 32, "bfloat16"),
        }.items()
    ),
]


@pytest.mark.parametrize(("kind", "options", "dim", "dtype", "causal"), CASES)
def test_performers_equal_their_float64_form_at_every_norm(kind, options, dim, dtype, causal):
    """A later key of a chunk may be e^1000 times stronger: earlier queries don't notice."""
    module = performer(causal, dim, kind, **options)
    drawn = module.projection[...] if hasattr(module, "projection") else None
    check(jax.jit(module), module.features, drawn, dim, jnp.dtype(dtype), causal)


@pytest.mark.slow
@pytest.mark.parametrize("causal", [True, False])
def test_linear_attention_equals_its_float64_form_at_every_norm(causal):
    call = functools.partial(linear, causal=causal)
    check(call, elu_features, None, 32, jnp.dtype("float32"), causal)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("kind", ["exp", "trigonometric"])
def test_sums_without_a_normaliser_are_finite(kind, causal):
    """Their exponentials are not, from 89 on."""
    options = {"kernel": "exp"} if kind == "exp" else {"estimator": kind}
    make = PerformerGeneralized if kind == "exp" else PerformerSoftmax
    module = make(
        Dims(HEADS, 8, LENGTH),
        num_features=FEATURES,
        renormalize=False,
        causal=causal,
        rngs=nnx.Rngs(0),
        **options,
    )
    (q, k, v), gradient = inputs(100, 8, jnp.float32)
    assert all(np.isfinite(x).all() for x in outcome(module_of(module))((q, k, v), gradient))
    nothing = jax.jit(module)(q, k, v, np.zeros_like(MASK))
    np.testing.assert_array_equal(nothing, np.zeros_like(v))


@pytest.mark.parametrize("strength", [12, 36, 80])
def test_a_strong_later_key_changes_no_sum_without_a_normaliser(strength):
    """Its exponent is in the shift of its chunk, which the earlier queries undo."""
    module = PerformerGeneralized(
        Dims(1, 2, 4),
        kernel="exp",
        projection="none",
        renormalize=False,
        causal=True,
        rngs=nnx.Rngs(0),
    )
    q = np.zeros((1, 4, 1, 2), np.float32)
    q[..., 0], k, v = 48, np.zeros_like(q), np.ones_like(q)
    mask = np.ones((1, 4), bool)
    plain = jax.jit(module)(q, k, v, mask)
    k[:, 3, :, 0] = strength
    np.testing.assert_allclose(jax.jit(module)(q, k, v, mask)[:, :3], plain[:, :3], rtol=1e-4)


def module_of(module):
    return lambda *qkv: module(*qkv, MASK)


def test_the_usual_form_is_kept_up_to_norm_10():
    """Only an underflow makes chunks weak, which are then computed by the slower form."""
    module = performer(True, 32)
    drawn = module.projection[...]

    @jax.jit
    def is_weak(*qkv):
        shape, options = qkv[0].shape, {"causal": True, "renormalize": True, "axis": None}
        plan = chunks.Plan.of(shape, module.features, drawn, **options)
        padded = [chunks.padded(x, plan.padding) for x in (*qkv, jnp.asarray(MASK))]
        return unidirectional.forward(module.features, plan, *padded, drawn)[2].weak

    weak = {norm: bool(is_weak(*inputs(norm, 32, np.float32)[0])) for norm in NORMS}
    assert not any(weak[norm] for norm in (1, 10))
    assert all(weak[norm] for norm in (60, 100))
