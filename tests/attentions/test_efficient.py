"""Efficient attention against its formula in float64."""

import jax
import numpy as np
from agreement import check_agreement

from lra_bench.attentions.efficient import efficient
from lra_bench.verification import subject

LENGTH, REAL, HEADS, DIM = 37, 23, 3, 8
# Real tokens need not come first.
SCATTERED = np.stack([np.ones(LENGTH, bool), np.random.default_rng(0).permutation(LENGTH) < REAL])


def softmax(x):
    weights = np.exp(x - x.max())
    return weights / weights.sum()


def reference(inputs):
    """A distribution over features for each query, one over tokens for each feature of the keys."""
    q, k, v = (inputs[name] for name in "qkv")
    out = np.zeros_like(v)
    for row, real in enumerate(SCATTERED):
        for head in range(HEADS):
            keys, values = k[row, real, head], v[row, real, head]
            contexts = [softmax(keys[:, feature]) @ values for feature in range(DIM)]
            for token in np.flatnonzero(real):
                over_features = softmax(q[row, token, head])
                out[row, token, head] = sum(
                    weight * context
                    for weight, context in zip(over_features, contexts, strict=True)
                )
    return out


def test_agrees_with_the_paper():
    keys = jax.random.split(jax.random.key(1), 3)
    shape = (2, LENGTH, HEADS, DIM)
    inputs = {name: jax.random.normal(key, shape) for name, key in zip("qkv", keys, strict=True)}
    check_agreement(
        lambda x: efficient(x["q"], x["k"], x["v"], SCATTERED), reference, inputs, SCATTERED
    )


def test_is_an_average_of_the_real_values():
    """Its implied attention matrix has rows that sum to 1, as the paper says."""
    q, k, v = subject.inputs(scale=3.0)
    mask = subject.lengths_mask(subject.LENGTH, subject.REAL)
    out = subject.registered("efficient")(q, k, np.where(mask[..., None, None], 7, v), mask)
    np.testing.assert_allclose(out, 7, rtol=1e-5)
