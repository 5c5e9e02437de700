"""Nystromformer against its formula in float64, and against the softmax that it approximates."""

import jax
import numpy as np
import pytest
from agreement import check_agreement, learned
from flax import nnx
from nystrom_reference import inverted

from lra_bench.attentions._nystrom import pseudo_inverse
from lra_bench.attentions.nystromformer import Nystromformer, _convolved
from lra_bench.attentions.skyformer import Skyformer
from lra_bench.contracts import Dims
from lra_bench.errors import UsageError
from lra_bench.verification import contract, subject
from lra_bench.verification.exact import softmax_float64

LENGTH, REAL, DIMS = 37, 23, Dims(3, 8, 48)
# Real tokens need not come first.
SCATTERED = np.stack([np.ones(LENGTH, bool), np.random.default_rng(0).permutation(LENGTH) < REAL])
SUFFIX = subject.lengths_mask(LENGTH, REAL, length=LENGTH)


def softmax(x):
    weights = np.exp(x - x.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


def landmarks(x, count):
    """Means over segments of consecutive tokens, which are a token each if there are so few."""
    count = min(count, len(x))
    segments = [[] for _ in range(count)]
    for token, row in enumerate(x):
        segments[token * count // len(x)].append(row)
    return np.stack([np.mean(segment, axis=0) for segment in segments])


def convolution(v, kernel):
    out, half = np.zeros_like(v), len(kernel) // 2
    for token in range(len(v)):
        for tap, weight in enumerate(kernel):
            if 0 <= token + tap - half < len(v):
                out[token] += weight * v[token + tap - half]
    return out


def reference(mask, count, iterations):
    """One example and head after the other, by itself and without its padding."""

    def of(inputs):
        q, k, v = (inputs[name] for name in "qkv")
        out = np.zeros_like(v)
        for row, real in enumerate(mask):
            for head in range(q.shape[2]):
                one, other, values = (x[row, real, head] for x in (q, k, v))
                few, fewer = landmarks(one, count), landmarks(other, count)
                scale = q.shape[-1] ** -0.5
                f, a, b = (
                    softmax(scale * x @ y.T) for x, y in ((one, fewer), (few, fewer), (few, other))
                )
                mixed = f @ inverted(a, iterations) @ (b @ values)
                if "kernel" in inputs["learned"]:
                    whole = np.where(real[:, None], v[row, :, head], 0)
                    mixed += convolution(whole, inputs["learned"]["kernel"][head])[real]
                out[row, real, head] = mixed
        return out

    return of


@pytest.mark.parametrize(
    ("mask", "options"),
    [
        pytest.param(SUFFIX, {"num_landmarks": 5, "conv_kernel": 0}, id="few landmarks"),
        pytest.param(SCATTERED, {"num_landmarks": 30, "conv_kernel": 7}, id="fewer tokens"),
        pytest.param(SUFFIX, {"num_landmarks": 4, "iterations": 2}, id="wide convolution"),
    ],
)
def test_agrees_with_the_paper(mask, options):
    module = Nystromformer(DIMS, **options, rngs=nnx.Rngs(0))
    arrays, with_arrays = learned(module)
    keys = jax.random.split(jax.random.key(1), 3)
    shape = (2, LENGTH, DIMS.num_heads, DIMS.head_dim)
    inputs = {name: jax.random.normal(key, shape) for name, key in zip("qkv", keys, strict=True)}
    check_agreement(
        lambda x: with_arrays(x["learned"])(x["q"], x["k"], x["v"], mask),
        reference(mask, module.num_landmarks, module.iterations),
        {**inputs, "learned": arrays},
        mask,
    )


def test_with_a_landmark_for_each_token_it_is_softmax():
    """As its pseudo-inverse converges: F A^+ B = S S^+ S = S."""
    q, k, v = subject.inputs(scale=1.5)
    mask = subject.lengths_mask(subject.LENGTH, subject.REAL)
    exact = softmax_float64(q, k, v, mask)[mask]
    errors = []
    for iterations in (2, 6, 14):
        options = {"num_landmarks": subject.MAX_LEN, "iterations": iterations, "conv_kernel": 0}
        found = subject.registered("nystromformer", **options)(q, k, v, mask)
        errors.append(np.abs(found[mask] - exact).max())
    assert errors[0] > 2 * errors[1] > 10 * errors[2]
    assert errors[2] < 2e-3, errors


def test_the_iteration_gives_the_pseudo_inverse():
    """Of a matrix of full rank, of one without, and of zeros."""
    rng = np.random.default_rng(0)
    full = softmax(3 * rng.standard_normal((6, 6)))
    half = np.repeat(np.repeat(full[:3, :3], 2, axis=0), 2, axis=1)
    matrices = np.stack([full, half, np.zeros((6, 6))])
    with jax.enable_x64(True):
        found = np.asarray(pseudo_inverse(matrices, 20))
    np.testing.assert_allclose(found, np.linalg.pinv(matrices), atol=1e-9)


@pytest.mark.parametrize("taps", [35, 141, 301])
def test_the_convolution_reads_beyond_its_block(taps):
    rng = np.random.default_rng(0)
    v, kernel = rng.standard_normal((1, subject.LENGTH, 2, 3)), rng.standard_normal((2, taps))
    found = np.asarray(jax.jit(_convolved)(v.astype(np.float32), kernel.astype(np.float32)))
    for head in range(2):
        expected = convolution(v[0, :, head], kernel[head])
        np.testing.assert_allclose(found[0, :, head], expected, atol=1e-4)


@pytest.mark.parametrize("check", contract.ALWAYS, ids=lambda check: check.__name__)
def test_keeps_the_contract_with_few_landmarks(check):
    options = {"num_landmarks": 11, "conv_kernel": 3}
    check(subject.registered("nystromformer", **options), "float32")


@pytest.mark.parametrize("kind", [Nystromformer, Skyformer])
def test_iterations_that_may_diverge_are_refused(kind):
    assert kind(Dims(2, 4, 8), iterations=20, rngs=nnx.Rngs(0)).iterations == 20
    with pytest.raises(ValueError, match="iterations=21: must be from 1 to 20"):
        kind(Dims(2, 4, 8), iterations=21, rngs=nnx.Rngs(0))


@pytest.mark.parametrize("rank", [1, 8, 64])
def test_the_most_iterations_of_a_matrix_of_low_rank_stay_finite(rank):
    x, y = np.random.default_rng(rank).standard_normal((2, 4, 128, rank)).astype(np.float32)
    matrix = jax.nn.softmax(0.1 * x @ np.swapaxes(y, 1, 2), axis=-1)
    inverse = jax.jit(pseudo_inverse, static_argnums=1)(matrix, 20)
    projection = np.asarray(inverse @ matrix)
    assert np.abs(projection).max() < 2
    np.testing.assert_allclose(matrix @ projection, matrix, atol=1e-3)


def test_an_even_convolution_is_refused():
    with pytest.raises(UsageError, match="conv_kernel=4: must be an odd number of tokens, or 0"):
        subject.registered("nystromformer", conv_kernel=4)
