"""Attention with bounded-memory control against loops in float64, and its exact limit."""

import agreement
import jax
import numpy as np
import pytest
from flax import nnx

from lra_bench.attentions import abc
from lra_bench.contracts import Dims
from lra_bench.verification import contract, subject
from lra_bench.verification.agreement import same
from lra_bench.verification.exact import softmax_float64
from lra_bench.verification.subject import DIM, HEADS, inputs, lengths_mask

LENGTH, SLOTS = 37, 5
MASK = lengths_mask(LENGTH, 20, length=LENGTH)
MASK[0, [0, 9, 10, 11, 30]] = False


def attend_one(q, k, v, mask, control, causal):
    """One head of one example: the memory is written anew for each query."""
    out = np.zeros_like(v)
    real = np.flatnonzero(mask)
    weights = {t: np.exp(control.T @ k[t]) for t in real}
    for token in real:
        seen = real[real <= token] if causal else real
        keys, values = np.zeros((SLOTS, DIM)), np.zeros((SLOTS, DIM))
        for t in seen:
            phi = weights[t] / sum(weights[j] for j in seen if j <= t or not causal)
            keys += np.outer(phi, k[t])
            values += np.outer(phi, v[t])
        read = np.exp(keys @ q[token] / np.sqrt(DIM))
        out[token] = read @ values / read.sum()
    return out


def reference(x, causal):
    out = np.zeros_like(x["v"])
    for b, h in np.ndindex(len(MASK), HEADS):
        arrays = (x[name][b, :, h] for name in "qkv")
        out[b, :, h] = attend_one(*arrays, MASK[b], x["control"][h], causal)
    return out


@pytest.mark.parametrize("causal", [False, True])
def test_equals_loops_over_tokens(causal, monkeypatch):
    """Causal chunks are shorter than the sequence, and do not divide it."""
    monkeypatch.setattr(abc, "_CHUNK", 8)
    dims = Dims(HEADS, DIM, LENGTH)
    module = abc.Abc(dims, num_slots=SLOTS, causal=causal, rngs=nnx.Rngs(0))
    arrays, with_arrays = agreement.learned(module)
    assert list(arrays) == ["control"]
    agreement.check_agreement(
        lambda x: with_arrays({"control": x["control"]})(x["q"], x["k"], x["v"], MASK),
        lambda x: reference(x, causal),
        arrays | dict(zip("qkv", inputs(length=LENGTH), strict=True)),
        MASK,
        directions=2,
    )


def test_a_slot_for_each_token_is_softmax():
    """Keys are orthogonal, and W so large that each slot takes one of them."""
    module = abc.Abc(Dims(1, DIM, DIM), num_slots=DIM, rngs=nnx.Rngs(0))
    module.control[...] = 100 * np.eye(DIM)[None]
    q, _, v = (x[:, :DIM, :1] for x in inputs())
    k = np.broadcast_to(np.eye(DIM)[None, :, None], q.shape).astype(np.float32)
    mask = np.ones((len(q), DIM), bool)
    expected = softmax_float64(q, k, v, mask)
    same(expected, jax.jit(module)(q, k, v, mask), "float32")


@pytest.mark.parametrize("check", contract.ALWAYS, ids=lambda check: check.__name__)
def test_one_slot(check):
    check(subject.registered("abc", num_slots=1), "float32")
