"""Random feature attention against its formula in float64, and against the kernel it estimates."""

import jax
import numpy as np
import pytest
from agreement import check_agreement, learned
from flax import nnx

from lra_bench.attentions import rfa
from lra_bench.attentions.rfa import RandomFeatureAttention
from lra_bench.contracts import Dims
from lra_bench.errors import UsageError
from lra_bench.verification import contract, subject
from lra_bench.verification.exact import softmax_float64

LENGTH, REAL, DIMS = 37, 23, Dims(3, 8, 48)
# Real tokens need not come first.
SCATTERED = np.stack([np.ones(LENGTH, bool), np.random.default_rng(0).permutation(LENGTH) < REAL])


def reference(module):
    """One query after the other, over the real keys that it sees."""
    rows = np.asarray(module.projection[...], np.float64)

    def features(x, scale):
        projected = [row @ (scale * x / np.linalg.norm(x)) for row in rows]
        return np.concatenate([np.sin(projected), np.cos(projected)]) / np.sqrt(len(rows))

    def of(inputs):
        q, k, v = (inputs[name] for name in "qkv")
        out = np.zeros_like(v)
        for row, head in np.ndindex(q.shape[0], q.shape[2]):
            scale = inputs["learned"]["scale"][head]
            real = np.flatnonzero(SCATTERED[row])
            phi = {token: features(k[row, token, head], scale) for token in real}
            weight = dict.fromkeys(real, 0.0 if module.causal else 1.0)
            for token in real:
                if module.gate is not None:
                    gate = inputs["learned"]["gate.weight"][head] @ k[row, token, head]
                    gate = 1 / (1 + np.exp(-gate - inputs["learned"]["gate.bias"][head]))
                    weight = {j: gate * weight[j] for j in real}
                    weight[token] = 1 - gate
                elif module.causal:
                    weight[token] = 1.0
                query = features(q[row, token, head], scale)
                numerator = sum(weight[j] * (query @ phi[j]) * v[row, j, head] for j in real)
                normaliser = sum(weight[j] * (query @ phi[j]) for j in real)
                out[row, token, head] = numerator / max(normaliser, 0.01 * sum(weight.values()))
        return out

    return of


@pytest.mark.parametrize(
    ("options", "features", "size"),
    [
        pytest.param({}, 48, 1, id="all keys"),
        pytest.param({"causal": True}, 48, 1, id="causal"),
        pytest.param({"causal": True, "gated": True}, 48, 1, id="gated"),
        # Far apart and with few features, most normalisers are below their limit.
        pytest.param({}, 5, 30, id="small normalisers"),
    ],
)
def test_agrees_with_the_paper(options, features, size, monkeypatch):
    monkeypatch.setattr(rfa, "_CHUNK", 8)
    module = RandomFeatureAttention(DIMS, num_features=features, **options, rngs=nnx.Rngs(0))
    arrays, with_arrays = learned(module)
    arrays["scale"] = size * np.random.default_rng(0).uniform(0.5, 1.5, arrays["scale"].shape)
    keys = jax.random.split(jax.random.key(1), 3)
    shape = (2, LENGTH, DIMS.num_heads, DIMS.head_dim)
    inputs = {name: jax.random.normal(key, shape) for name, key in zip("qkv", keys, strict=True)}
    check_agreement(
        lambda x: with_arrays(x["learned"])(x["q"], x["k"], x["v"], SCATTERED),
        reference(module),
        {**inputs, "learned": arrays},
        SCATTERED,
    )


def test_many_features_give_softmax_of_the_cosine():
    """With s = 1 the kernel is exp(q^T k / (|q| |k|)) up to a constant."""
    q, k, v = subject.inputs()
    mask = subject.lengths_mask(subject.LENGTH, subject.REAL)
    scaled = (subject.unit(x) * subject.DIM**0.25 for x in (q, k))
    exact = softmax_float64(*scaled, v, mask)[mask]
    errors = []
    for features in (64, 4_096):
        found = subject.registered("rfa", num_features=features)(q, k, v, mask)[mask]
        errors.append(np.square(found - exact).mean())
    assert errors[1] < errors[0] / 16, errors


@pytest.mark.parametrize("check", contract.ALWAYS, ids=lambda check: check.__name__)
def test_keeps_the_contract_with_few_features(check):
    check(subject.registered("rfa", num_features=5), "float32")


@pytest.mark.parametrize(
    "check",
    [
        contract.check_padding_is_never_read,
        contract.check_more_padding_changes_nothing,
        contract.check_finite_at_extremes,
        contract.check_all_masked_gives_nothing,
        contract.check_never_looks_ahead,
    ],
    ids=lambda check: check.__name__,
)
def test_keeps_the_contract_with_a_gate(check):
    options = {"num_features": 24, "causal": True, "gated": True}
    check(subject.registered("rfa", **options), "float32")


def test_a_gate_needs_an_order():
    with pytest.raises(UsageError, match="gated=True: only with causal=True"):
        subject.registered("rfa", gated=True)
