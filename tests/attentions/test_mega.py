"""MEGA against recurrences and loops over queries, written from Section 3 of its paper."""

import functools
import math

import numpy as np
import pytest
from flax import nnx
from mixers import linear, sigmoid, silu
from real_tokens import SCATTERED, check_on_real_tokens, softmax

from lra_bench.attentions.mega import _by_distance
from lra_bench.model.mechanism import build_attention
from lra_bench.verification import contract, subject

KEYS, DIM = 5, 3
SMALL = {"key_dim": KEYS, "ema_dim": DIM}


def average(x, learnt, direction):
    """The recurrence of the damped EMA of each feature, over the tokens in the order given."""
    alpha, delta = (sigmoid(learnt[f"average.{name}"][direction]) for name in ("alpha", "delta"))
    beta, eta = (learnt[f"average.{name}"][direction] for name in ("beta", "eta"))
    state, out = np.zeros((x.shape[1], DIM)), []
    for token in x:
        state = alpha * beta * token[:, None] + (1 - alpha * delta) * state
        out.append(np.sum(eta / math.sqrt(DIM) * state, axis=1))
    return np.array(out)


def cdf(x):
    """Of the normal distribution with the mean and the deviation of the paper."""
    deviation = math.sqrt(1 / (4 * math.pi))
    erf = np.vectorize(math.erf)
    return 0.5 * (1 + erf((x - math.sqrt(0.5)) / (deviation * math.sqrt(2))))


def attention(q, k, v, bias, kind, causal):
    """Of the tokens of one chunk; `bias` of distance 0 is its middle."""
    out = []
    for i in range(len(q)):
        seen = range(i + 1) if causal else range(len(q))
        products = np.array([q[i] @ k[j] for j in seen])
        biases = np.array([bias[len(bias) // 2 + j - i] for j in seen])
        if kind == "softmax":
            weights = softmax(products / math.sqrt(KEYS) + biases)
        else:
            weights = cdf(products / len(seen) + biases)
        out.append(sum(weight * v[j] for weight, j in zip(weights, seen, strict=True)))
    return np.array(out)


def reference(x, learnt, *, kind, causal=False, chunk=None):
    moving = average(x, learnt, 0)
    if not causal:
        moving += average(x[::-1], learnt, 1)[::-1]
    moving = silu(moving + learnt["average.omega"] * x)
    size = x.shape[1]
    cuts = np.cumsum([size, KEYS, 2 * size])
    update, shared, reset, candidate = np.split(linear(learnt, "gates", moving), cuts, axis=1)
    q, k = (silu(shared) * learnt["scale"][i] + learnt["shift"][i] for i in range(2))
    values = silu(linear(learnt, "value", x))
    chunk = chunk or len(x)
    chunks = [slice(start, start + chunk) for start in range(0, len(x), chunk)]
    attended = np.concatenate(
        [attention(q[part], k[part], values[part], learnt["bias"], kind, causal) for part in chunks]
    )
    candidate = silu(candidate + linear(learnt, "out", silu(reset) * attended))
    return sigmoid(update) * (candidate - x)


@pytest.mark.parametrize(
    ("kind", "causal", "chunk"),
    [("softmax", False, 0), ("laplace", False, 8), ("softmax", True, 8), ("laplace", True, 0)],
)
def test_it_is_the_paper_s(kind, causal, chunk):
    """Chunks of 8 cut neither 37 nor 23 real tokens evenly; of those in between, none counts."""
    expected = functools.partial(reference, kind=kind, causal=causal, chunk=chunk)
    options = {"attention": kind, "causal": causal, "chunk_size": chunk, **SMALL}
    check_on_real_tokens("mega", expected, SCATTERED, moved=0.2, **options)


@pytest.mark.parametrize("causal", [False, True])
def test_chunks_and_laplace_keep_the_contract(causal):
    options = {"chunk_size": 16, "attention": "laplace", "causal": causal}
    mechanism = subject.registered("mega", **options)
    for check in contract.ALWAYS:
        check(mechanism, "float32")
    if causal:
        contract.check_never_looks_ahead(mechanism, "float32")


def test_a_chunk_that_holds_all_tokens_is_full_attention():
    qkv, mask = subject.inputs(), subject.lengths_mask(subject.LENGTH, subject.REAL)
    full, chunked = (subject.registered("mega", chunk_size=size) for size in (0, subject.MAX_LEN))
    np.testing.assert_array_equal(full(*qkv, mask), chunked(*qkv, mask))


def test_biases_are_of_distances():
    bias = np.arange(-4.0, 5.0)
    expected = np.arange(5)[None, :] - np.arange(5)[:, None]
    np.testing.assert_array_equal(_by_distance(bias), expected)


def test_saturated_decays_are_finite():
    """A sigmoid that is one in float32 makes the decay zero, whose logarithm is infinite."""
    mixer = build_attention("mega", subject.DIMS, {}, nnx.Rngs(0))
    for array in (mixer.average.alpha, mixer.average.delta):
        array[...] = np.full(array.shape, 40.0, np.float32)
    kernels = np.asarray(mixer.average._kernels(9))
    assert np.isfinite(kernels).all()
    assert np.abs(kernels[..., 1:]).max() < 1e-5


def test_the_gate_closes_the_stream():
    """The paper's output is u h + (1 - u) x with the x to which the block adds this one's."""
    _, _, x = subject.inputs()
    mask = subject.lengths_mask(subject.LENGTH, subject.REAL)
    x = x.reshape(*mask.shape, -1)
    module = build_attention("mega", subject.DIMS, SMALL, nnx.Rngs(0))
    added = [module(x, mask, stream) for stream in (None, x, np.zeros_like(x), 2 * x)]
    np.testing.assert_array_equal(added[0], added[1])
    gate = np.where(mask[..., None], (added[2] - added[1]) / x, 0.5)
    assert 0 < gate.min() < gate.max() < 1
    np.testing.assert_allclose(
        added[3], added[1] - np.where(mask[..., None], gate * x, 0), atol=1e-5
    )
