"""Skyformer against its formula in float64, and against the kernel that it approximates."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from agreement import check_agreement
from flax import nnx
from nystrom_reference import inverted

from lra_bench.attentions.skyformer import Skyformer
from lra_bench.contracts import Dims
from lra_bench.verification import contract, subject

LENGTH, REAL, DIMS = 37, 23, Dims(3, 8, 48)
# Real tokens need not come first.
SCATTERED = np.stack([np.ones(LENGTH, bool), np.random.default_rng(0).permutation(LENGTH) < REAL])


def gaussian(x, y):
    square = np.square(x[:, None] - y[None]).sum(-1)
    return np.exp(-square / (2 * np.sqrt(x.shape[-1])))


def reference(mask, module):
    """One example and head after the other, by itself and without its padding."""
    drawn = np.asarray(module.drawn[...])
    half = len(drawn) // 2

    def of(inputs):
        q, k, v = (inputs[name] for name in "qkv")
        out = np.zeros_like(v)
        for row, real in enumerate(mask):
            chosen = [int(u * real.sum()) for u in drawn]
            for head in range(q.shape[2]):
                queries, keys, values = (x[row, real, head] for x in (q, k, v))
                few = np.stack(
                    [queries[i] for i in chosen[:half]] + [keys[i] for i in chosen[half:]]
                )
                gram = gaussian(few, few) + module.ridge * np.eye(len(few))
                root = np.diag(gram.sum(1) ** -0.5)
                inverse = root @ inverted(root @ gram @ root, module.iterations) @ root
                approximate = gaussian(queries, few) @ inverse @ gaussian(few, keys)
                out[row, real, head] = approximate @ values
        return out

    return of


@pytest.mark.parametrize("options", [{"num_landmarks": 9}, {"num_landmarks": 64, "ridge": 0.01}])
def test_agrees_with_the_paper(options):
    module = Skyformer(DIMS, **options, rngs=nnx.Rngs(0))
    keys = jax.random.split(jax.random.key(1), 3)
    shape = (2, LENGTH, DIMS.num_heads, DIMS.head_dim)
    inputs = {name: jax.random.normal(key, shape) for name, key in zip("qkv", keys, strict=True)}
    check_agreement(
        lambda x: module(x["q"], x["k"], x["v"], SCATTERED),
        reference(SCATTERED, module),
        inputs,
        SCATTERED,
    )


def test_with_all_tokens_as_landmarks_it_is_kernelized_attention():
    """Each real query and each real key once: the Nystrom method is then exact."""
    q, k, v = (x[1:] for x in subject.inputs(scale=1.5))
    mask = subject.lengths_mask(subject.REAL)
    options = {"num_landmarks": 2 * subject.REAL, "ridge": 1e-6, "iterations": 20}
    module = Skyformer(subject.DIMS, **options, rngs=nnx.Rngs(0))
    each = (jnp.arange(subject.REAL) + 0.5) / subject.REAL
    module.drawn[...] = jnp.concatenate([each, each])
    found = np.asarray(jax.jit(module)(q, k, v, mask))
    for head in range(subject.HEADS):
        one, other, values = (x[0, : subject.REAL, head].astype(np.float64) for x in (q, k, v))
        expected = gaussian(one, other) @ values
        error = np.abs(found[0, : subject.REAL, head] - expected).max()
        assert error < 1e-3 * np.abs(expected).max()


def test_real_tokens_are_drawn_uniformly():
    module = Skyformer(DIMS, num_landmarks=4_000, rngs=nnx.Rngs(0))
    module.resample(jax.random.key(1))
    mask = np.zeros((1, 9), bool)
    mask[0, [1, 2, 4, 5, 8]] = True
    position = np.broadcast_to(np.arange(9.0)[:, None], (1, 1, 9, 1)).astype(np.float32)
    chosen = np.asarray(module._landmarks(jnp.asarray(position), jnp.asarray(-position), mask))
    numbers, counts = np.unique(chosen, return_counts=True)
    assert numbers.tolist() == [-8, -5, -4, -2, -1, 1, 2, 4, 5, 8]
    assert np.abs(counts - 400).max() < 5 * np.sqrt(400 * 4 / 5)


@pytest.mark.parametrize("check", contract.ALWAYS, ids=lambda check: check.__name__)
def test_keeps_the_contract_with_few_landmarks(check):
    check(subject.registered("skyformer", num_landmarks=11), "float32")


def test_other_landmarks_give_another_output():
    module = Skyformer(subject.DIMS, num_landmarks=11, rngs=nnx.Rngs(0))
    qkv, mask = subject.inputs(), subject.lengths_mask(subject.LENGTH, subject.REAL)
    graph, state = nnx.split(module)
    call = jax.jit(lambda state, *x: nnx.merge(graph, state)(*x))
    before = call(state, *qkv, mask)
    np.testing.assert_array_equal(before, call(state, *qkv, mask))
    module.resample(jax.random.key(1))
    assert np.abs(before - call(nnx.state(module), *qkv, mask)).max() > 0.1
