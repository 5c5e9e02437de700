"""Sinkhorn attention against loops over tokens in float64, and its limits."""

import functools

import agreement
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from lra_bench.attentions.sinkhorn import Sinkhorn, _sinkhorn
from lra_bench.contracts import Dims
from lra_bench.verification import contract, subject
from lra_bench.verification.agreement import same
from lra_bench.verification.subject import inputs, lengths_mask

LENGTH, BLOCK, TEMPERATURE, ITERATIONS = 37, 8, 0.6, 3
MASK = lengths_mask(LENGTH, 20, length=LENGTH)
MASK[0, 8:16] = False  # a block of padding amid real tokens
MASK[0, 33] = False
OPTIONS = {"block_size": BLOCK, "temperature": TEMPERATURE, "num_iterations": ITERATIONS}


def normalised(scores):
    """Columns and rows are divided by their sums in turn."""
    weights = np.exp(scores)
    for _ in range(ITERATIONS):
        weights /= weights.sum(0)
        weights /= weights.sum(1, keepdims=True)
    return weights


def attend_one(q, k, v, mask):
    """One head of one example: lists of blocks, each a list of the tokens that are real."""
    length, dim = q.shape
    blocks = [range(start, min(start + BLOCK, length)) for start in range(0, length, BLOCK)]
    real = [[t for t in block if mask[t]] for block in blocks]
    used = [i for i, tokens in enumerate(real) if tokens]
    sums = [(q[real[i]].sum(0), k[real[i]].sum(0)) for i in used]
    scores = [[m @ n / (BLOCK * np.sqrt(dim)) for _, n in sums] for m, _ in sums]
    sorting = normalised(np.array(scores) / TEMPERATURE)
    out = np.zeros_like(v)
    for row, i in enumerate(used):
        keys, values, weights = [*k[real[i]]], [*v[real[i]]], [1.0] * len(real[i])
        for place in range(BLOCK):
            here = [(c, BLOCK * j + place) for c, j in enumerate(used)]
            moved = [(sorting[row, c], t) for c, t in here if t < length and mask[t]]
            share = sum(s for s, _ in moved)
            if moved:
                keys.append(sum(s * k[t] for s, t in moved) / share)
                values.append(sum(s * v[t] for s, t in moved) / share)
                weights.append(share)
        for t in real[i]:
            terms = np.array(weights) * np.exp(np.array(keys) @ q[t] / np.sqrt(dim))
            out[t] = terms @ np.array(values) / terms.sum()
    return out


def reference(x):
    q, k, v = (np.moveaxis(x[name], 2, 1) for name in "qkv")
    out = [
        [attend_one(q[b, h], k[b, h], v[b, h], MASK[b]) for h in range(q.shape[1])]
        for b in range(len(q))
    ]
    return np.moveaxis(np.array(out), 1, 2)


def test_equals_loops_over_tokens():
    dims = Dims(subject.HEADS, subject.DIM, LENGTH)
    module = Sinkhorn(dims, **OPTIONS, rngs=nnx.Rngs(0))
    arrays = dict(zip("qkv", inputs(length=LENGTH), strict=True))
    agreement.check_agreement(
        lambda x: module(x["q"], x["k"], x["v"], MASK), reference, arrays, MASK
    )


def test_one_block_is_softmax():
    """The sorted block is then the block itself, of which two copies weigh as one."""
    module = subject.registered("sinkhorn", block_size=subject.MAX_LEN)
    contract.check_alone_equals_softmax(module, "float32")


@pytest.mark.parametrize("check", contract.ALWAYS, ids=lambda check: check.__name__)
def test_blocks_that_padding_fills(check):
    check(subject.registered("sinkhorn", block_size=8, temperature=0.1), "float32")


def test_many_iterations_normalise_rows_and_columns_of_used_blocks():
    scores = jax.random.normal(jax.random.key(0), (2, 1, 5, 5))
    used = np.array([[True] * 5, [True, False, True, True, False]])[:, None]
    weights = np.asarray(jax.jit(functools.partial(_sinkhorn, iterations=100))(scores, used))
    for axis in (-1, -2):
        np.testing.assert_allclose(weights.sum(axis), used, atol=1e-5)


@pytest.mark.parametrize("size", [0, 1e2, 1e8])
def test_rows_add_up_to_1_whatever_the_scores(size):
    """Large scores have few digits after the point."""
    weights = _sinkhorn(jnp.full((1, 1, 2, 2), size), jnp.ones((1, 1, 2), bool), 7)
    np.testing.assert_allclose(weights, np.full((1, 1, 2, 2), 0.5), rtol=1e-6)


def test_noise_is_in_training_only_and_follows_the_key():
    module = Sinkhorn(subject.DIMS, block_size=16, rngs=nnx.Rngs(0))
    mask = lengths_mask(subject.LENGTH, subject.REAL)

    @jax.jit
    def call(key):
        return module(*inputs(), mask, rngs=nnx.Rngs(dropout=key))

    one, again, other = (np.asarray(call(jax.random.key(seed))) for seed in (1, 1, 2))
    calm = np.asarray(jax.jit(module)(*inputs(), mask))
    np.testing.assert_array_equal(one, again)
    assert np.abs(one - other)[mask].max() > 1e-2
    assert np.abs(one - calm)[mask].max() > 1e-2


def test_noise_sorts_no_padding_in():
    module = Sinkhorn(subject.DIMS, block_size=8, rngs=nnx.Rngs(0))
    mask = lengths_mask(9, 60)
    q, k, v = inputs()
    soiled = [jnp.where(mask[:, :, None, None], x, np.nan) for x in (k, v)]
    call = jax.jit(lambda *qkv: module(*qkv, mask, rngs=nnx.Rngs(dropout=0)))
    same(call(q, k, v)[mask], call(q, *soiled)[mask], "float32")
