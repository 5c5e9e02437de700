"""FAVOR++ against its equations, and against FAVOR+."""

import jax
import numpy as np
import pytest
from agreement import check_agreement
from flax import nnx
from random_features import DIM, FEATURES, HEADS, MASK, attention, scaled, tokens

from lra_bench.attentions.favor_plus_plus import FavorPlusPlus
from lra_bench.attentions.performer_softmax import PerformerSoftmax
from lra_bench.contracts import Dims
from lra_bench.verification import contract, subject


def build(**options):
    options = {"num_features": FEATURES, **options}
    return FavorPlusPlus(Dims(HEADS, DIM, 64), **options, rngs=nnx.Rngs(0))


def test_it_equals_its_equations():
    """A as in the paper, from the mean of |x + y|^2 over all pairs; a constant to the gradient."""
    module, inputs = build(), tokens()
    rows = np.asarray(module.projection[...], np.float64)

    def features(example, head, _):
        xs, ys = scaled(inputs, example, head)
        phi = np.mean([np.sum((x + y) ** 2) for x in xs for y in ys])
        rho = (np.sqrt((2 * phi + DIM) ** 2 + 8 * DIM * phi) - 2 * phi - DIM) / (4 * phi)
        a = (1 - 1 / rho) / 8
        norms = np.sum(rows**2, axis=1)
        return lambda x: (
            (1 - 4 * a) ** (DIM / 4) * np.exp(a * norms + np.sqrt(1 - 4 * a) * rows @ x - x @ x / 2)
        )

    check_agreement(
        lambda inputs: module(**inputs, mask=MASK),
        lambda inputs: attention(features, inputs),
        inputs,
        MASK,
    )


@pytest.mark.parametrize("causal", [False, True])
def test_it_is_favor_plus_if_a_is_zero(causal):
    plain = PerformerSoftmax(
        Dims(HEADS, DIM, 64), num_features=FEATURES, causal=causal, rngs=nnx.Rngs(0)
    )
    module = build(assumed_size=0.0, causal=causal)
    module.projection[...] = plain.projection[...]
    inputs = {name: x.astype(np.float32) for name, x in tokens().items()}
    found, expected = (jax.jit(call)(**inputs, mask=MASK)[MASK] for call in (module, plain))
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_a_causal_one_assumes_queries_and_keys_of_unit_variance():
    """The mean of |x + y|^2 / d of independent ones is 2 / sqrt(d)."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, 50_000, DIM)) * DIM**-0.25
    sizes = np.mean((x + y) ** 2, axis=1)
    error = sizes.std() / np.sqrt(len(sizes))
    assert abs(build(causal=True).assumed_size - sizes.mean()) < 4 * error


def test_it_is_closer_to_softmax_than_favor_plus():
    """With the same projections, on the same tokens."""
    few = 32

    def mean_squared_error(kind):
        def make(features):
            def call(key, *qkv_and_mask):
                module = kind(subject.DIMS, num_features=features, rngs=nnx.Rngs(key))
                return module(*qkv_and_mask)

            return call

        return contract.approximation_error(make, few)

    assert mean_squared_error(FavorPlusPlus) < mean_squared_error(PerformerSoftmax)
