"""Gated DeltaNet against its recurrence, token by token."""

import jax
import numpy as np
import pytest
from mixers import (
    DIMS,
    MASK,
    built,
    check_reference,
    check_reversible,
    linear,
    sigmoid,
    silu,
    tokens,
)


def unit(x):
    return x / np.sqrt((x**2).sum(-1, keepdims=True) + 1e-6)


def convolved(x, kernel):
    """Each feature: the last tokens times the rows of the kernel, whose last is of the token."""
    out = np.zeros_like(x)
    for token in range(len(x)):
        for back in range(min(len(kernel), token + 1)):
            out[token] += kernel[len(kernel) - 1 - back] * x[token - back]
    return out


def reads(x, arrays):
    """S_t = a_t S_(t-1) (I - b_t k_t k_t^T) + b_t v_t k_t^T and o_t = S_t q_t, from the start."""
    projected = linear(arrays, "project", x)
    if "kernel" in arrays:
        projected = convolved(projected, arrays["kernel"])
    q, k, v = np.moveaxis(silu(projected).reshape(len(x), 3, DIMS.num_heads, -1), 1, 0)
    steps = np.log1p(np.exp(x @ arrays["forget"] + arrays["step_bias"]))
    gates, shares = np.exp(-np.exp(arrays["log_rate"]) * steps), sigmoid(linear(arrays, "share", x))
    out = np.zeros(v.shape)
    for head in range(DIMS.num_heads):
        state = np.zeros((DIMS.head_dim, DIMS.head_dim))
        for t in range(len(x)):
            key, share = unit(k[t, head]), shares[t, head]
            erased = np.eye(DIMS.head_dim) - share * np.outer(key, key)
            state = gates[t, head] * state @ erased + share * np.outer(v[t, head], key)
            out[t, head] = state @ unit(q[t, head])
    return out


def gated_deltanet(x, arrays, causal=False):
    out = reads(x, arrays) if causal else reads(x, arrays) + reads(x[::-1], arrays)[::-1]
    out = out / np.sqrt((out**2).mean(-1, keepdims=True) + 1e-5) * arrays["scale"]
    out = out.reshape(len(x), -1) * silu(linear(arrays, "output_gate", x))
    return linear(arrays, "out", out)


@pytest.mark.parametrize(
    ("options", "causal"),
    [({"chunk_size": 8}, False), ({"conv_size": 0, "causal": True}, True)],
    ids=str,
)
def test_equals_the_recurrence(options, causal):
    module = built("gated-deltanet", **options)
    check_reference(module, lambda x, arrays: gated_deltanet(x, arrays, causal))


def test_both_directions_are_alike():
    check_reversible(built("gated-deltanet", chunk_size=8))


def test_the_same_key_again_and_again_is_overwritten():
    """Equal keys make the triangular system as hard as it gets: 64 tokens that see each other."""
    module = built("gated-deltanet", conv_size=0, causal=True)
    module.log_rate[...] = np.full(DIMS.num_heads, -30.0)  # nothing is forgotten
    module.share.bias[...] = np.full(DIMS.num_heads, 30.0)  # everything is replaced
    x = np.broadcast_to(tokens()[:1, :1], (1, 37, DIMS.emb_dim))
    out = np.asarray(jax.jit(module)(x, MASK[:1]))
    np.testing.assert_allclose(out, np.broadcast_to(out[:, :1], out.shape), atol=1e-5)
