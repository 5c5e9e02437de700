"""Every registered mechanism keeps every promise."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from kinds import mostly_kinds

from lra_bench.registry import ATTENTIONS
from lra_bench.verification import contract, subject

# Near-zero normalisers blow rounding up: see test_attention_math.py, which knows the exact value.
UNSTABLE = {"estimator": "trigonometric", "projection": "iid"}
# Three blocks of features promise what their defaults of 32 do, and are computed faster.
FEATURES = {
    name: {"num_features": 3 * subject.DIM}
    for name in ("performer-softmax", "performer-relu", "performer-generalized")
}
# Besides its defaults, a mechanism is tested where its own loops and limits matter.
OPTIONS = {
    "reformer": ({"bucket_size": 8, "num_hashes": 3},),
    "linformer": ({"num_projected": 7, "sharing": "none"}, {"sharing": "key-value"}),
    "softmax-chunked": ({"chunk_size": 32},),
    "performer-softmax": (
        {"estimator": "hyperbolic", "projection": "hadamard"},
        UNSTABLE,
        {"projection": "givens", "regularized": True},
    ),
    "performer-relu": ({"projection": "none"},),
}
KERNELS = ATTENTIONS.get("performer-generalized").choices()["kernel"]
NAMES = ATTENTIONS.names()
CAUSAL = [name for name in NAMES if ATTENTIONS.get(name).supports_causal]
EXACT = [name for name in NAMES if ATTENTIONS.get(name).traits.exact]
EQUIVARIANT = [name for name in NAMES if ATTENTIONS.get(name).traits.equivariant]

VARIANTS = [
    pytest.param(name, options, id="-".join([name, *map(str, options.values())]))
    for name, variants in OPTIONS.items()
    for options in variants
]
# The loops of the performers are the same for all their features.
CAUSAL_VARIANTS = [
    pytest.param(name, options, id=title, marks=[pytest.mark.slow] * name.startswith("performer"))
    for (name, options), _, title in VARIANTS
    if name in CAUSAL and options != UNSTABLE
]


def built(name, dims=subject.DIMS, **options):
    few = {} if options == UNSTABLE else FEATURES.get(name, {})
    return subject.registered(name, dims, **few, **options)


dtypes = pytest.mark.parametrize("dtype", subject.DTYPES)
float32 = pytest.mark.parametrize("dtype", ["float32"])
mostly_float32 = pytest.mark.parametrize(
    "dtype", ["float32", pytest.param("bfloat16", marks=pytest.mark.slow)]
)


def checks(*chosen):
    return pytest.mark.parametrize("check", chosen, ids=lambda check: check.__name__)


@pytest.mark.parametrize("name", NAMES)
@float32
@checks(*contract.ALWAYS)
def test_always(check, name, dtype):
    check(built(name), dtype)


# That outputs are bfloat16, and are close to those of float32, is tested of all mechanisms below.
# What compares two programs says where values come from, which is the same for every dtype.
TWO_PROGRAMS = (
    contract.check_more_padding_changes_nothing,
    contract.check_short_sequences,
    contract.check_examples_do_not_mix,
)


@pytest.mark.parametrize("name", mostly_kinds(NAMES))
@pytest.mark.parametrize("dtype", ["bfloat16"])
@checks(
    *(x for x in contract.ALWAYS if x not in TWO_PROGRAMS),
    *(pytest.param(x, marks=pytest.mark.slow) for x in TWO_PROGRAMS),
)
def test_always_in_bfloat16(check, name, dtype):
    check(built(name), dtype)


@pytest.mark.ci
@pytest.mark.parametrize(("name", "options"), VARIANTS)
@float32
@checks(*contract.ALWAYS)
def test_options(check, name, options, dtype):
    check(built(name, **options), dtype)


@pytest.mark.parametrize("name", CAUSAL)
@mostly_float32
@checks(
    contract.check_padding_is_never_read,
    contract.check_short_sequences,
    contract.check_finite_at_extremes,
    contract.check_never_looks_ahead,
)
def test_causal(check, name, dtype):
    check(built(name, causal=True), dtype)


@pytest.mark.parametrize("name", [x for x in NAMES if subject.is_random_in_training(x)])
@checks(contract.check_padding_is_never_read, contract.check_padding_may_be_anywhere)
def test_in_training(check, name):
    check(subject.registered_in_training(name), "float32")


@pytest.mark.ci
@pytest.mark.parametrize(("name", "options"), CAUSAL_VARIANTS)
@float32
@checks(
    pytest.param(contract.check_finite_at_extremes, marks=pytest.mark.slow),
    contract.check_never_looks_ahead,
)
def test_causal_options(check, name, options, dtype):
    check(built(name, **options, causal=True), dtype)


@pytest.mark.parametrize("name", EQUIVARIANT)
@mostly_float32
def test_equivariant(name, dtype):
    contract.check_permuting_tokens_permutes_output(built(name), dtype)


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("causal", [False, True])
@dtypes
def test_exact(name, causal, dtype):
    options = {"causal": True} if causal else {}
    contract.check_equals_softmax(built(name, **options), dtype, causal=causal)


# For reformer all tokens are one chunk, since a hash of rounded tokens may be another.
ONE_CHUNK = {"reformer": {"bucket_size": subject.LONG}}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("causal", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_bfloat16_sums(name, causal):
    if causal and name not in CAUSAL:
        pytest.skip("can't be causal")
    options = {"causal": True} if causal else {}
    mechanism = built(name, subject.DIMS_LONG, **options)
    contract.check_sums_have_digits_enough(mechanism)


# Linformer's keys are sums of keys, which are rounded before logits are made of them.
@pytest.mark.parametrize("name", [name for name in NAMES if name != "linformer"])
def test_bfloat16_exponents(name):
    options = ONE_CHUNK.get(name, {})
    mechanism = built(name, subject.DIMS_LONG, **options)
    contract.check_exponents_have_digits_enough(mechanism)


def products_of(jaxpr):
    """Every product of matrices in a program, also in loops, branches and called functions."""
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            yield equation
        for value in jax.tree.leaves(list(equation.params.values()), is_leaf=has_equations):
            inner = getattr(value, "jaxpr", value)
            if has_equations(inner):
                yield from products_of(inner)


def has_equations(value):
    return hasattr(value, "eqns")


# `jax.nn.dot_product_attention` leaves the choice of its last product to XLA.
@pytest.mark.parametrize("name", [name for name in NAMES if name != "softmax-fused"])
@pytest.mark.parametrize("causal", [False, True])
def test_products_of_bfloat16_are_summed_in_float32(name, causal):
    """By their declared dtype, whatever the version of XLA does without one; gradients too."""
    if causal and name not in CAUSAL:
        pytest.skip("can't be causal")
    mechanism = built(name, **({"causal": True} if causal else {}))
    mask = np.ones((subject.BATCH, subject.LENGTH), bool)
    # The program of the other checks, which is traced once for all of them.
    program = mechanism.both.trace(*subject.inputs("bfloat16"), mask, mask).jaxpr
    for product in products_of(program.jaxpr):
        assert product.params["preferred_element_type"] == jnp.float32, product


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("causal", [False, pytest.param(True, marks=pytest.mark.slow)])
@float32
def test_every_kernel_is_finite(kernel, causal, dtype):
    mechanism = built("performer-generalized", kernel=kernel, causal=causal)
    contract.check_finite_at_extremes(mechanism, dtype)


# They mix all tokens, or ask all of them for segments, statistics or members of clusters.
NEVER_CAUSAL = {
    "bigbird", "efficient", "favor-sharp", "fnet", "identity", "linformer", "luna",
    "nystromformer", "routing", "sinkhorn", "skyformer",
}  # fmt: skip


def test_those_that_can_be_causal():
    assert set(NAMES) - set(CAUSAL) == NEVER_CAUSAL
