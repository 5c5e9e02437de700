"""The mechanisms against closed forms, dense references and the theory of their papers."""

import contract
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contract import DIM, DIMS, HEADS, LENGTH, REAL, Mechanism, inputs, lengths_mask
from flax import nnx

from lra_bench.attentions._random_features import orthogonal_gaussian
from lra_bench.attentions.linformer import Linformer
from lra_bench.attentions.performer_relu import PerformerRelu
from lra_bench.attentions.performer_softmax import PerformerSoftmax
from lra_bench.attentions.reformer import Reformer
from lra_bench.dims import Dims
from lra_bench.registry import AttentionTraits

MASK = lengths_mask(LENGTH, REAL)


def float64(*arrays):
    return [np.asarray(x, np.float64) for x in arrays]


def dense_kernel(phi_q, phi_k, v, mask):
    """Kernel attention as an L x L matrix, in float64; features are (b, l, h, m)."""
    weights = np.einsum("bqhm,bkhm->bhqk", phi_q, phi_k) * np.asarray(mask)[:, None, None, :]
    return np.einsum("bhqk,bkhd->bqhd", weights / weights.sum(-1, keepdims=True), v)


def agree(found, expected, tolerance=2e-5):
    np.testing.assert_allclose(
        np.asarray(found)[np.asarray(MASK)],
        expected[np.asarray(MASK)],
        rtol=tolerance,
        atol=tolerance,
    )


def test_linear_equals_its_dense_form():
    qkv = inputs()
    q, k, v = float64(*qkv)
    phi = [np.where(x > 0, x + 1, np.exp(np.minimum(x, 0))) for x in (q, k)]
    agree(contract.registered("linear")(*qkv, MASK), dense_kernel(*phi, v, MASK))


def test_performer_relu_equals_its_dense_form():
    module = PerformerRelu(DIMS, num_features=24, rngs=nnx.Rngs(0))
    qkv = inputs()
    q, k, v, w = float64(*qkv, module.projection[...])
    phi = [np.maximum(np.einsum("blhd,md->blhm", x, w), 0) / np.sqrt(24) + 1e-3 for x in (q, k)]
    agree(module(*qkv, MASK), dense_kernel(*phi, v, MASK))


def test_performer_softmax_equals_its_dense_form():
    """The shifts of the exponents cancel: Lemma 1's features, unshifted in float64, agree."""
    module = PerformerSoftmax(DIMS, num_features=24, rngs=nnx.Rngs(0))
    qkv = inputs()
    q, k, v, w = float64(*qkv, module.projection[...])
    q, k = (x * DIM**-0.25 for x in (q, k))
    phi = [
        np.exp(np.einsum("blhd,md->blhm", x, w) - np.square(x).sum(-1, keepdims=True) / 2)
        for x in (q, k)
    ]
    agree(module(*qkv, MASK), dense_kernel(*phi, v, MASK))


def performer(draw, features):
    module = PerformerSoftmax(DIMS, num_features=features, rngs=nnx.Rngs(draw))
    return Mechanism(lambda *args: module(*args), AttentionTraits())


def test_performer_softmax_converges_to_softmax():
    contract.check_converges_to_softmax(performer)


@pytest.mark.parametrize("norm", [10.0, 30.0])
def test_performer_softmax_keeps_its_precision_at_large_norms(norm):
    """In float32 it equals its own dense float64 form where plain exponentials underflow."""
    module = PerformerSoftmax(DIMS, num_features=24, rngs=nnx.Rngs(0))
    q, k, v = inputs()
    q, k = (norm * x / jnp.linalg.norm(x, axis=-1, keepdims=True) for x in (q, k))
    logs = []
    for x in float64(q, k):
        x = x * DIM**-0.25
        w = np.asarray(module.projection[...], np.float64)
        logs.append(np.einsum("blhd,md->blhm", x, w) - np.square(x).sum(-1, keepdims=True) / 2)
    pairs = logs[0][:, :, None] + logs[1][:, None]  # b q k h m
    pairs = np.where(np.asarray(MASK)[:, None, :, None, None], pairs, -np.inf)
    pairs = np.exp(pairs - pairs.max(axis=(2, 4), keepdims=True)).sum(-1)
    weights = pairs / pairs.sum(2, keepdims=True)
    expected = np.einsum("bqkh,bkhd->bqhd", weights, np.asarray(v, np.float64))
    agree(module(q, k, v, MASK), expected, 2e-3)


def test_lemma_2_variance_of_positive_features():
    """MSE of the iid positive estimator: exp(|x + y|^2) SM(x, y)^2 (1 - exp(-|x + y|^2)) / m."""
    x, y = np.array([0.5, -0.3, 0.2]), np.array([0.1, 0.4, -0.2])
    w = np.random.default_rng(0).standard_normal((400_000, 3))
    samples = np.exp(w @ x - x @ x / 2) * np.exp(w @ y - y @ y / 2)
    both = (x + y) @ (x + y)
    expected = np.exp(both) * np.exp(x @ y) ** 2 * (1 - np.exp(-both))
    errors = np.square(samples - np.exp(x @ y))
    standard_error = errors.std() / np.sqrt(len(errors))
    assert abs(errors.mean() - expected) < 4 * standard_error


class TestOrthogonalFeatures:
    def test_blocks_are_orthogonal(self):
        w = np.asarray(orthogonal_gaussian(jax.random.key(0), 3 * DIM, DIM), np.float64)
        for block in w.reshape(3, DIM, DIM):
            gram = block @ block.T
            off_diagonal = gram - np.diag(np.diag(gram))
            assert np.abs(off_diagonal).max() < 1e-4

    def test_marginals_are_standard_normal(self):
        """Mean 0, covariance I, and the fourth moment 3 that unit-length rows would lack."""
        keys = jax.random.split(jax.random.key(0), 4000)
        w = jax.vmap(lambda key: orthogonal_gaussian(key, DIM, DIM))(keys)
        rows = np.asarray(w, np.float64).reshape(-1, DIM)
        error = 1 / np.sqrt(len(rows))
        assert np.abs(rows.mean(0)).max() < 4.5 * error
        assert np.abs(np.cov(rows.T) - np.eye(DIM)).max() < 4.5 * np.sqrt(2) * error
        assert abs((rows**4).mean() - 3) < 4.5 * np.sqrt(96 / rows.size)

    def test_a_part_of_a_block_is_drawn_too(self):
        assert orthogonal_gaussian(jax.random.key(0), DIM + 3, DIM).shape == (DIM + 3, DIM)

    def test_variance_is_below_that_of_iid_rows(self):
        """Theorem 2: orthogonal features estimate SM(x, y) with less mean squared error."""
        x, y = np.full(DIM, 0.17), np.linspace(-0.15, 0.25, DIM)
        keys = jax.random.split(jax.random.key(1), 20_000)
        draw = jax.vmap(lambda key: orthogonal_gaussian(key, DIM, DIM))
        iid = jax.vmap(lambda key: jax.random.normal(key, (DIM, DIM)))
        errors = []
        for sample in (draw, iid):
            w = np.asarray(sample(keys), np.float64)
            estimate = np.exp(w @ (x + y) - (x @ x + y @ y) / 2).mean(-1)
            errors.append(np.square(estimate - np.exp(x @ y)))
        orthogonal, independent = errors
        gap = independent.mean() - orthogonal.mean()
        assert gap > 3 * np.sqrt((independent.var() + orthogonal.var()) / len(keys))


def test_linformer_equals_its_dense_form():
    module = Linformer(DIMS, num_projected=7, rngs=nnx.Rngs(0))
    qkv = inputs()
    q, k, v, e, f = float64(*qkv, module.key_projection[...], module.value_projection[...])
    real = np.asarray(MASK)[:, :, None, None]
    keys, values = (
        np.einsum("blhd,lk->bkhd", np.where(real, x, 0), w[:LENGTH]) for x, w in ((k, e), (v, f))
    )
    logits = np.einsum("bqhd,bkhd->bhqk", q, keys) / np.sqrt(DIM)
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    expected = np.einsum("bhqk,bkhd->bqhd", weights / weights.sum(-1, keepdims=True), values)
    agree(module(*qkv, MASK), expected)


def test_linformer_refuses_more_tokens_than_it_was_built_for():
    module = Linformer(Dims(HEADS, DIM, 5), rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="built for 5 tokens got 6"):
        module(*inputs(length=6), jnp.ones((2, 6), bool))


def shared_softmax(q, v, mask, allowed=None):
    """Softmax with normalised queries as keys, oneself only where there is nobody else."""
    q, v = float64(q, v)
    k = q / np.linalg.norm(q, axis=-1, keepdims=True)
    logits = np.einsum("bqhd,bkhd->bhqk", q, k) / np.sqrt(DIM) - 1e5 * np.eye(q.shape[1])
    allowed = np.asarray(mask)[:, None, None, :] if allowed is None else allowed
    logits = np.where(allowed, logits, -1e30)
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    return np.einsum("bhqk,bkhd->bqhd", weights / weights.sum(-1, keepdims=True), v)


class TestReformer:
    @pytest.mark.parametrize("rounds", [1, 3])
    def test_one_chunk_holding_all_is_softmax_with_shared_keys(self, rounds):
        """However many rounds: what several rounds hold counts once (log N_ij)."""
        module = Reformer(DIMS, bucket_size=160, num_hashes=rounds, rngs=nnx.Rngs(0))
        q, _, v = inputs()
        agree(jax.jit(module)(q, q, v, MASK), shared_softmax(q, v, MASK))

    @pytest.mark.parametrize("rounds", [1, 2, 4])
    def test_equals_dense_attention_over_the_union_of_its_sets(self, rounds):
        """Eq. (3) to (6) of the paper, from chunks recomputed here by numpy's own sort."""
        chunk = 16
        module = Reformer(DIMS, bucket_size=chunk, num_hashes=rounds, rngs=nnx.Rngs(0))
        q, _, v = inputs()
        keys = jnp.swapaxes(q / jnp.linalg.norm(q, axis=-1, keepdims=True), 1, 2)
        bucket = np.asarray(module._hash(keys, MASK))
        place = np.argsort(np.argsort(bucket, axis=-1, kind="stable"), axis=-1) // chunk
        behind = place[..., :, None] - place[..., None, :]
        allowed = ((behind == 0) | (behind == 1)).any(axis=2) & np.asarray(MASK)[:, None, None, :]
        agree(jax.jit(module)(q, q, v, MASK), shared_softmax(q, v, MASK, allowed))

    def test_collisions_follow_the_angle(self):
        """Two buckets are the two sides of a hyperplane: P(same) = 1 - angle / pi."""
        dims = Dims(1, 3, 64)
        angle = 1.1
        x = jnp.array([[1.0, 0, 0], [np.cos(angle), np.sin(angle), 0]])[None, None]
        draws = 4000
        module = Reformer(dims, bucket_size=64, num_hashes=draws, rngs=nnx.Rngs(0))
        assert module.factors == (2,)
        bucket = np.asarray(module._hash(x, jnp.ones((1, 2), bool)))[0, 0]
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
            errors.append(np.square(found - full)[np.asarray(MASK)].mean())
        assert errors[0] > errors[1] > errors[2]

    def test_buckets_grow_with_length_and_their_hashing_does_not(self):
        """The columns that tokens are hashed by grow as the root of the bucket count."""
        for length in (512, 2048, 32_768):
            factors = Reformer(Dims(1, 4, length), rngs=nnx.Rngs(0)).factors
            buckets = 2 * length // 64
            assert buckets <= np.prod(factors) <= 1.5 * buckets
            assert all(factor % 2 == 0 for factor in factors)
            assert sum(factors) <= max(64, 3 * np.sqrt(buckets))


@pytest.mark.parametrize("module", [PerformerSoftmax, PerformerRelu, Reformer])
def test_resampling_draws_anew_and_from_the_key_alone(module):
    def draw(seed):
        built = module(DIMS, rngs=nnx.Rngs(0))
        before = nnx.to_pure_dict(nnx.state(built))
        built.resample(jax.random.key(seed))
        return before, nnx.to_pure_dict(nnx.state(built))

    (before, one), (_, again), (_, other) = draw(1), draw(1), draw(2)
    for name in before:
        assert (one[name] == again[name]).all()
        assert not (one[name] == before[name]).any()
        assert not (one[name] == other[name]).any()


@pytest.mark.parametrize("module", [PerformerSoftmax, PerformerRelu, Reformer])
def test_sampled_state_is_no_parameter(module):
    assert not jax.tree.leaves(nnx.state(module(DIMS, rngs=nnx.Rngs(0)), nnx.Param))
