"""Luna against its formula in float64, and against softmax attention where packing keeps all."""

import jax
import numpy as np
import pytest
from agreement import check_agreement, learned
from flax import nnx

from lra_bench.attentions.luna import Luna
from lra_bench.contracts import Dims
from lra_bench.verification import contract, subject
from lra_bench.verification.exact import softmax_float64

LENGTH, REAL, DIMS = 37, 23, Dims(3, 8, 48)
# Real tokens need not come first.
SCATTERED = np.stack([np.ones(LENGTH, bool), np.random.default_rng(0).permutation(LENGTH) < REAL])


def softmax(x):
    weights = np.exp(x - x.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


def reference(inputs):
    """One example and head after the other, by itself and without its padding."""
    q, k, v = (inputs[name] for name in "qkv")
    scale, out = q.shape[-1] ** -0.5, np.zeros_like(v)
    for row, real in enumerate(SCATTERED):
        for head, packers in enumerate(inputs["learned"]["packers"]):
            queries, keys, values = (x[row, real, head] for x in (q, k, v))
            pack = softmax(scale * packers @ keys.T)
            unpack = softmax(scale * queries @ (pack @ keys).T)
            out[row, real, head] = unpack @ (pack @ values)
    return out


def test_agrees_with_the_paper():
    arrays, with_arrays = learned(Luna(DIMS, num_packed=5, rngs=nnx.Rngs(0)))
    keys = jax.random.split(jax.random.key(1), 3)
    shape = (2, LENGTH, DIMS.num_heads, DIMS.head_dim)
    inputs = {name: jax.random.normal(key, shape) for name, key in zip("qkv", keys, strict=True)}
    check_agreement(
        lambda x: with_arrays(x["learned"])(x["q"], x["k"], x["v"], SCATTERED),
        reference,
        {**inputs, "learned": arrays},
        SCATTERED,
    )


def test_where_each_packed_token_holds_one_token_it_is_softmax():
    """A query P far along a key, all of one length, packs that key alone: A is the identity."""
    q, k, v = (x[1:] for x in subject.inputs())
    k = 3 * subject.unit(k)
    real = subject.lengths_mask(subject.REAL)
    module = Luna(subject.DIMS, num_packed=subject.REAL, rngs=nnx.Rngs(0))
    module.packers[...] = 1e4 * np.swapaxes(k[0, : subject.REAL], 0, 1)
    found = np.asarray(jax.jit(module)(q, k, v, real))
    exact = softmax_float64(q, k, v, real)
    np.testing.assert_allclose(found[real], exact[real], atol=2e-5)


@pytest.mark.parametrize("check", contract.ALWAYS, ids=lambda check: check.__name__)
def test_keeps_the_contract_with_few_packed_tokens(check):
    check(subject.registered("luna", num_packed=7), "float32")
