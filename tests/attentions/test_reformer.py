"""Reformer against dense attention over what its hashing allows, and the theory of its hashing."""

import dataclasses

import jax
import numpy as np
import pytest
from flax import nnx
from references import MASK, agree, float64

from lra_bench.attentions.reformer import Reformer
from lra_bench.contracts import Dims
from lra_bench.verification.subject import DIMS, inputs, unit


def shared_softmax(q, v, mask, allowed=None):
    """Softmax with normalised queries as keys, oneself only where there is nobody else."""
    q, v = float64(q, v)
    k = unit(q)
    logits = np.einsum("bqhd,bkhd->bhqk", q, k) - 1e5 * np.eye(q.shape[1])
    allowed = np.asarray(mask)[:, None, None, :] if allowed is None else allowed
    logits = np.where(allowed, logits, -1e30)
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    return np.einsum("bhqk,bkhd->bqhd", weights / weights.sum(-1, keepdims=True), v)


def hashed(module, keys, mask):
    """The bucket of each key in each round."""
    return np.asarray(jax.jit(module._hash)(keys, mask, module.rotations[...]))


class TestReformer:
    @pytest.mark.parametrize("rounds", [1, 3])
    def test_one_chunk_holding_all_is_softmax_with_shared_keys(self, rounds):
        """However many rounds: what several rounds hold counts once (log N_ij)."""
        module = Reformer(DIMS, bucket_size=160, num_hashes=rounds, rngs=nnx.Rngs(0))
        q, _, v = inputs()
        agree(jax.jit(module)(q, q, v, MASK), shared_softmax(q, v, MASK))

    @pytest.mark.parametrize(
        ("rounds", "max_len"),
        [
            (1, DIMS.max_len),
            (2, DIMS.max_len),
            (4, DIMS.max_len),
            pytest.param(2, 2**30, id="no 32 bits hold a bucket and a position"),
        ],
    )
    def test_equals_dense_attention_over_the_union_of_its_sets(self, rounds, max_len):
        """Eq. (3) to (6) of the paper, from chunks recomputed here by numpy's own sort."""
        chunk, dims = 16, dataclasses.replace(DIMS, max_len=max_len)
        module = Reformer(dims, bucket_size=chunk, num_hashes=rounds, rngs=nnx.Rngs(0))
        q, _, v = inputs()
        bucket = hashed(module, np.swapaxes(unit(q), 1, 2), MASK)
        place = np.argsort(np.argsort(bucket, axis=-1, kind="stable"), axis=-1) // chunk
        behind = place[..., :, None] - place[..., None, :]
        allowed = ((behind == 0) | (behind == 1)).any(axis=2) & MASK[:, None, None, :]
        agree(jax.jit(module)(q, q, v, MASK), shared_softmax(q, v, MASK, allowed))

    @pytest.mark.parametrize("rounds", [1, 3])
    def test_causal_sees_the_last_of_its_bucket(self, rounds):
        """The union over rounds of the last c tokens up to oneself in one's bucket."""
        chunk = 8
        module = Reformer(DIMS, bucket_size=chunk, num_hashes=rounds, causal=True, rngs=nnx.Rngs(0))
        q, _, v = inputs()
        bucket = hashed(module, np.swapaxes(unit(q), 1, 2), MASK)
        same = np.tril(bucket[..., :, None] == bucket[..., None, :])
        recent = same[..., ::-1].cumsum(-1)[..., ::-1] <= chunk
        allowed = (same & recent).any(axis=2) & MASK[:, None, None, :]
        assert allowed.sum(-1).max() > 1
        agree(jax.jit(module)(q, q, v, MASK), shared_softmax(q, v, MASK, allowed))

    def test_collisions_follow_the_angle_with_many_buckets(self):
        """argmax([xR; -xR]) of n columns agrees as n pairs of correlated Gaussians do."""
        angle, columns, draws = 0.8, 4, 20_000
        x = np.array([[1.0, 0, 0], [np.cos(angle), np.sin(angle), 0]], np.float32)[None, None]
        dims = Dims(1, 3, columns * 64)
        module = Reformer(dims, bucket_size=64, num_hashes=draws, rngs=nnx.Rngs(0))
        assert module.factors == (2 * columns,)
        bucket = hashed(module, x, np.ones((1, 2), bool))[0, 0]
        rng = np.random.default_rng(0)
        one, other = rng.standard_normal((2, draws, columns))
        other = np.cos(angle) * one + np.sin(angle) * other
        hashes = [np.argmax(np.concatenate([z, -z], 1), 1) for z in (one, other)]
        expected = (hashes[0] == hashes[1]).mean()
        same = (bucket[:, 0] == bucket[:, 1]).mean()
        assert abs(same - expected) < 4 * np.sqrt(2 * expected * (1 - expected) / draws)

    def test_collisions_follow_the_angle(self):
        """Two buckets are the two sides of a hyperplane: P(same) = 1 - angle / pi."""
        dims = Dims(1, 3, 64)
        angle = 1.1
        x = np.array([[1.0, 0, 0], [np.cos(angle), np.sin(angle), 0]], np.float32)[None, None]
        draws = 4000
        module = Reformer(dims, bucket_size=64, num_hashes=draws, rngs=nnx.Rngs(0))
        assert module.factors == (2,)
        bucket = hashed(module, x, np.ones((1, 2), bool))[0, 0]
        same = (bucket[:, 0] == bucket[:, 1]).mean()
        expected = 1 - angle / np.pi
        assert abs(same - expected) < 4 * np.sqrt(expected * (1 - expected) / draws)

    def test_more_rounds_come_closer_to_full_attention(self):
        q, _, v = inputs(scale=2.0)
        full = shared_softmax(q, v, MASK)
        errors = []
        for rounds in (1, 4, 16):
            module = Reformer(DIMS, bucket_size=8, num_hashes=rounds, rngs=nnx.Rngs(0))
            found = np.asarray(jax.jit(module)(q, q, v, MASK))
            errors.append(np.square(found - full)[MASK].mean())
        assert errors[0] > errors[1] > errors[2]

    def test_buckets_grow_with_length_and_their_hashing_does_not(self):
        """The columns that tokens are hashed by grow as the root of the bucket count."""
        for length in (512, 2048, 32_768):
            factors = Reformer(Dims(1, 4, length), rngs=nnx.Rngs(0)).factors
            buckets = 2 * length // 64
            assert buckets <= np.prod(factors) <= 1.5 * buckets
            assert all(factor % 2 == 0 for factor in factors)
            assert sum(factors) <= max(64, 3 * np.sqrt(buckets))
