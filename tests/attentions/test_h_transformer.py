"""H-Transformer-1D against loops over pairs of tokens in float64, and its exact limit."""

import agreement
import numpy as np
import pytest
from flax import nnx

from lra_bench.attentions.h_transformer import HTransformer
from lra_bench.contracts import Dims
from lra_bench.errors import UsageError
from lra_bench.verification import contract, subject
from lra_bench.verification.agreement import same
from lra_bench.verification.exact import softmax_float64
from lra_bench.verification.subject import inputs, lengths_mask

LENGTH, BLOCK = 37, 4
MASK = lengths_mask(LENGTH, 20, length=LENGTH)
MASK[0, [0, 9, 10, 11, 30]] = False


def level_of(token, other):
    """The finest level at which the blocks of both are the same or neighbours."""
    level = 0
    while abs(token // (BLOCK << level) - other // (BLOCK << level)) > 1:
        level += 1
    return level


def stands_for(token, level, mask):
    """The real tokens that are one coarse token with this one."""
    first = token >> level << level
    return [t for t in range(first, min(first + (1 << level), LENGTH)) if mask[t]]


def attend_one(q, k, v, mask, causal):
    """One head of one example. Each real key weighs as the coarse token that stands for it."""
    out = np.zeros_like(v)
    for token in np.flatnonzero(mask):
        terms = np.zeros(LENGTH)
        for other in np.flatnonzero(mask[: token + 1] if causal else mask):
            level = level_of(token, other)
            here = stands_for(token, level, mask)
            query = q[here[0]] if causal else q[here].mean(0)
            key = k[stands_for(other, level, mask)].mean(0)
            terms[other] = np.exp(query @ key / np.sqrt(len(key)))
        out[token] = terms @ v / terms.sum()
    return out


def reference(x, causal):
    out = np.zeros_like(x["v"])
    for b, h in np.ndindex(len(MASK), subject.HEADS):
        arrays = (x[name][b, :, h] for name in "qkv")
        out[b, :, h] = attend_one(*arrays, MASK[b], causal)
    return out


@pytest.mark.parametrize("causal", [False, True])
def test_equals_loops_over_pairs(causal):
    """Four levels, lengths that no block divides, coarse tokens with and without real ones."""
    assert {level_of(a, b) for a in range(LENGTH) for b in range(LENGTH)} == {0, 1, 2, 3}
    dims = Dims(subject.HEADS, subject.DIM, LENGTH)
    module = HTransformer(dims, block_size=BLOCK, causal=causal, rngs=nnx.Rngs(0))
    arrays = dict(zip("qkv", inputs(length=LENGTH), strict=True))
    agreement.check_agreement(
        lambda x: module(x["q"], x["k"], x["v"], MASK),
        lambda x: reference(x, causal),
        arrays,
        MASK,
        directions=2,
    )


@pytest.mark.parametrize("causal", [False, True])
def test_two_blocks_are_softmax(causal):
    mechanism = subject.registered("h-transformer", block_size=72, causal=causal)
    mask = lengths_mask(subject.LENGTH, subject.REAL)
    qkv = inputs()
    expected = softmax_float64(*qkv, mask, causal=causal)
    same(expected[mask], mechanism(*qkv, mask)[mask], "float32")


@pytest.mark.parametrize("check", contract.ALWAYS, ids=lambda check: check.__name__)
def test_many_levels(check):
    check(subject.registered("h-transformer", block_size=2), "float32")


def test_many_levels_never_look_ahead():
    mechanism = subject.registered("h-transformer", block_size=2, causal=True)
    contract.check_never_looks_ahead(mechanism, "float32")


def test_odd_blocks_are_refused():
    with pytest.raises(UsageError, match="block_size=15: must be even"):
        subject.registered("h-transformer", block_size=15)
