"""Synthesizer against Section 3 of its paper, kind by kind."""

import numpy as np
import pytest
from agreement import learned
from flax import nnx
from mixers import linear
from real_tokens import DIMS, SUFFIX, check_on_real_tokens, softmax

from lra_bench.model.mechanism import build_attention
from lra_bench.verification import contract, subject


def random(x, learnt, part, head):
    return learnt[f"{part}.logits"][head, : len(x), : len(x)]


def factorized_random(x, learnt, part, head):
    return (learnt[f"{part}.rows"][head] @ learnt[f"{part}.columns"][head])[: len(x), : len(x)]


def perceptron(x, learnt, part, head):
    hidden = np.maximum(linear(learnt, f"{part}.hidden", x), 0)
    mine = hidden[:, head * DIMS.head_dim : (head + 1) * DIMS.head_dim]
    return mine @ learnt[f"{part}.kernel"][head] + learnt[f"{part}.bias"][head]


def synthesized(x, learnt, part, head):
    return perceptron(x, learnt, f"{part}.perceptron", head)[:, : len(x)]


def factorized_dense(x, learnt, part, head):
    within, blocks = (
        perceptron(x, learnt, f"{part}.{name}", head) for name in ("within", "blocks")
    )
    size = within.shape[1]
    assert size == 7  # the root of 40, rounded up
    return np.array([within[:, j % size] * blocks[:, j // size] for j in range(len(x))]).T


def vanilla(x, learnt, part, head):
    q, k = (
        linear(learnt, f"{part}.{name}", x).reshape(len(x), DIMS.num_heads, -1)[:, head]
        for name in ("query", "key")
    )
    return q @ k.T / np.sqrt(DIMS.head_dim)


LOGITS = {
    "random": random,
    "factorized-random": factorized_random,
    "dense": synthesized,
    "factorized-dense": factorized_dense,
    "vanilla": vanilla,
}


def reference(kind, *, causal=False):
    def call(x, learnt):
        values = linear(learnt, "value", x).reshape(len(x), DIMS.num_heads, -1)
        parts = kind.split("+")
        shares = softmax(learnt["weights"]) if len(parts) > 1 else [1.0]
        outputs = []
        for head in range(DIMS.num_heads):
            logits = sum(
                share * LOGITS[part](x, learnt, f"parts.{number}", head)
                for number, (share, part) in enumerate(zip(shares, parts, strict=True))
            )
            if causal:
                logits = np.where(np.tri(len(x), dtype=bool), logits, -np.inf)
            outputs.append(softmax(logits) @ values[:, head])
        return linear(learnt, "out", np.concatenate(outputs, axis=1))

    return call


@pytest.mark.parametrize(
    "kind", ["factorized-random", "factorized-dense", "random+dense", "random+vanilla"]
)
def test_it_is_the_paper_s(kind):
    check_on_real_tokens("synthesizer", reference(kind), SUFFIX, kind=kind)


def test_causal():
    check = check_on_real_tokens
    check("synthesizer", reference("dense", causal=True), SUFFIX, kind="dense", causal=True)


def test_a_mixture_keeps_the_contract():
    mechanism = subject.registered("synthesizer", kind="factorized-random+dense")
    for check in contract.ALWAYS:
        check(mechanism, "float32")


@pytest.mark.parametrize("kind", ["random", "factorized-random"])
def test_logits_that_are_learned_start_with_the_variance_of_one_by_max_len(kind):
    """Over 3 x 40 x 40 elements; those of a product of rank 32 depend on each other."""
    parameters, _ = learned(build_attention("synthesizer", DIMS, {"kind": kind}, nnx.Rngs(0)))
    logits = [LOGITS[kind](np.zeros((40, 12)), parameters, "parts.0", head) for head in range(3)]
    assert np.var(logits) * DIMS.max_len == pytest.approx(1, rel=0.15)


def test_a_longer_sequence_than_it_was_built_for_is_an_error():
    mechanism = subject.registered("synthesizer")
    inputs = subject.inputs(length=subject.MAX_LEN + 1)
    with pytest.raises(ValueError, match="built for 160 at most"):
        mechanism(*inputs, np.ones((subject.BATCH, subject.MAX_LEN + 1), bool))
