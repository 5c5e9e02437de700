"""Hedgehog and its distillation loss against their equations."""

import jax
import numpy as np
import pytest
from agreement import check_agreement, learned
from flax import nnx
from random_features import DIM, HEADS, LENGTH, MASK, tokens

from lra_bench.attentions import hedgehog
from lra_bench.attentions.hedgehog import Hedgehog, distillation_loss
from lra_bench.contracts import Dims


def build(*, causal=False):
    """W other than I, so that a transposed one, or that of another head, is seen."""
    module = Hedgehog(Dims(HEADS, DIM, 64), causal=causal, rngs=nnx.Rngs(0))
    rng = np.random.default_rng(1)
    for array in (module.query_map, module.key_map):
        array[...] = array[...] + 0.3 * rng.standard_normal(array.shape).astype(np.float32)
    return module


def softmax(x):
    powers = np.exp(x - x.max())
    return powers / powers.sum()


def features(w, x):
    return np.concatenate([softmax(w @ x), softmax(-(w @ x))])


def rows(inputs, *, causal):
    """For each example, head and real query: where, the keys it sees, their weights."""
    maps = inputs["module"]
    for example, head in np.ndindex(2, HEADS):
        real = np.flatnonzero(MASK[example])
        queries, keys = (
            np.array([features(maps[name][head], x) for x in inputs[part][example, :, head]])
            for name, part in (("query_map", "q"), ("key_map", "k"))
        )
        for i, query in enumerate(real):
            seen = real[: i + 1] if causal else real
            weights = keys[seen] @ queries[query]
            yield (example, query, head), seen, weights / weights.sum()


def attention(inputs, *, causal):
    out = np.zeros_like(inputs["v"])
    for (example, query, head), seen, weights in rows(inputs, causal=causal):
        out[example, query, head] = weights @ inputs["v"][example, seen, head]
    return out


def cross_entropy(inputs, *, causal):
    losses = []
    for (example, query, head), seen, weights in rows(inputs, causal=causal):
        logits = inputs["k"][example, seen, head] @ inputs["q"][example, query, head]
        losses.append(-softmax(logits / np.sqrt(DIM)) @ np.log(weights))
    return np.mean(losses)[None]


@pytest.mark.parametrize("causal", [False, True])
def test_it_equals_its_equation(causal):
    arrays, make = learned(build(causal=causal))

    def call(inputs):
        qkv = (inputs[name] for name in ("q", "k", "v"))
        return make(inputs["module"])(*qkv, MASK)

    inputs = {**tokens(), "module": arrays}
    check_agreement(call, lambda inputs: attention(inputs, causal=causal), inputs, MASK)


@pytest.mark.parametrize("causal", [False, True])
def test_the_loss_is_the_cross_entropy_under_softmax(causal, monkeypatch):
    """With chunks of which the last is not full."""
    monkeypatch.setattr(hedgehog, "_CHUNK", 16)
    arrays, make = learned(build(causal=causal))

    def call(inputs):
        return distillation_loss(make(inputs["module"]), inputs["q"], inputs["k"], MASK)[None]

    inputs = {"q": tokens()["q"], "k": tokens()["k"], "module": arrays}
    check_agreement(call, lambda inputs: cross_entropy(inputs, causal=causal), inputs)


def test_the_loss_reads_no_padding():
    module, inputs = build(), tokens()
    clean, dirty = (
        [
            np.where(MASK[:, :, None, None], inputs[name], fill).astype(np.float32)
            for name in ("q", "k")
        ]
        for fill in (0, np.nan)
    )
    loss = jax.jit(jax.value_and_grad(lambda module, q, k: distillation_loss(module, q, k, MASK)))
    (expected, gradient), (found, other) = loss(module, *clean), loss(module, *dirty)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    for one, two in zip(jax.tree.leaves(gradient), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-6)


def test_descent_on_the_loss_brings_the_output_closer_to_softmax():
    """On queries and keys that are given, as in a trained model; only W moves."""
    module, mask = Hedgehog(Dims(HEADS, DIM, 64), rngs=nnx.Rngs(0)), np.ones((2, LENGTH), bool)
    q, k, v = (2 * x.astype(np.float32) for x in tokens().values())
    graph, params = nnx.split(module)

    @jax.jit
    def step(params):
        def loss(params):
            return distillation_loss(nnx.merge(graph, params), q, k, mask)

        value, gradient = jax.value_and_grad(loss)(params)
        return value, jax.tree.map(lambda x, g: x - 0.5 * g, params, gradient)

    logits = np.einsum("bqhd,bkhd->bhqk", q, k) / np.sqrt(DIM)
    exact = np.einsum("bhqk,bkhd->bqhd", np.apply_along_axis(softmax, -1, logits), v)
    call = jax.jit(lambda params: nnx.merge(graph, params)(q, k, v, mask))
    before, (first, _) = call(params), step(params)
    for _ in range(60):
        last, params = step(params)
    assert last < first - 0.02
    after = call(params)
    assert np.mean((after - exact) ** 2) < 0.9 * np.mean((before - exact) ** 2)
