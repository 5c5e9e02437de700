"""LION against the matrix of all pairs."""

import jax
import numpy as np
import pytest
from mixers import (
    DIMS,
    LENGTH,
    MASK,
    built,
    check_reference,
    check_reversible,
    linear,
    sigmoid,
    silu,
    tokens,
)

from lra_bench.attentions.linear import linear as linear_attention
from lra_bench.verification.contract import check_never_looks_ahead
from lra_bench.verification.subject import registered


def unit(x):
    shifted = silu(x) + 0.5
    return shifted / np.linalg.norm(shifted, axis=-1, keepdims=True)


def elu_plus_one(x):
    return np.where(x > 0, x + 1, np.exp(np.minimum(x, 0)))


def gates(x, arrays):
    """The gate of each token and head."""
    if "gate.kernel" in arrays:
        return sigmoid(linear(arrays, "gate", x))
    rates = sigmoid(arrays["rate"]) if "rate" in arrays else np.ones(DIMS.num_heads)
    return np.broadcast_to(rates, (len(x), DIMS.num_heads))


def decays(gates):
    """M_ij: the product of the gates of token j and of those between j and i; M_ii = 1."""
    matrix = np.ones((len(gates), len(gates)))
    for i in range(len(gates)):
        for j in range(len(gates)):
            matrix[i, j] = np.prod(gates[j:i] if j <= i else gates[i + 1 : j + 1])
    return matrix


def lion(x, arrays, features=unit, causal=False):
    shape = (len(x), 3, DIMS.num_heads, DIMS.head_dim)
    q, k, v = np.moveaxis(linear(arrays, "project", x).reshape(shape), 1, 0)
    out = np.zeros(v.shape)
    for head, gate in enumerate(gates(x, arrays).T):
        weights = features(q[:, head]) @ features(k[:, head]).T * decays(gate)
        weights = np.tril(weights) if causal else weights
        out[:, head] = weights / weights.sum(1, keepdims=True) @ v[:, head]
    return linear(arrays, "out", out.reshape(len(x), -1))


@pytest.mark.parametrize(
    ("options", "of_reference"),
    [
        ({"chunk_size": 8}, {}),
        ({"decay": "fixed"}, {}),
        ({"decay": "none"}, {"features": elu_plus_one}),
        ({"chunk_size": 8, "causal": True}, {"causal": True}),
    ],
    ids=("gated", "fixed", "none", "causal"),
)
def test_equals_the_matrix_of_all_pairs(options, of_reference):
    module = built("lion", **options)
    check_reference(module, lambda x, arrays: lion(x, arrays, **of_reference))


def test_without_decay_is_linear_attention():
    """The mechanism "linear" with LION's projections, on a suffix of padding."""
    module, x = built("lion", decay="none"), tokens()
    mask = np.arange(LENGTH) < np.array([LENGTH, 20])[:, None]
    projected = module.project(x).reshape(2, LENGTH, 3, DIMS.num_heads, DIMS.head_dim)
    out = linear_attention(*(projected[:, :, i] for i in range(3)), mask)
    expected = module.out(out.reshape(2, LENGTH, -1))
    np.testing.assert_allclose(module(x, mask)[mask], expected[mask], rtol=0, atol=1e-5)


def test_both_directions_are_alike():
    check_reversible(built("lion", chunk_size=8))


def test_the_size_of_chunks_changes_nothing():
    whole, cut = (built("lion", chunk_size=size) for size in (64, 5))
    found = [np.asarray(jax.jit(module)(tokens(), MASK)) for module in (whole, cut)]
    np.testing.assert_allclose(found[0], found[1], rtol=0, atol=1e-5)


def test_causal_with_fixed_gates_never_looks_ahead():
    check_never_looks_ahead(registered("lion", decay="fixed", causal=True), "float32")
