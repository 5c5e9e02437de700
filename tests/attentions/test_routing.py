"""Routing attention against loops over clusters in float64, its limits, and its centroids."""

import agreement
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from references import MASK, agree

from lra_bench.attentions.routing import Routing
from lra_bench.contracts import Dims
from lra_bench.verification import contract, subject
from lra_bench.verification.exact import softmax_float64
from lra_bench.verification.subject import DIM, HEADS, inputs, lengths_mask

LENGTH = 37
SHORT_MASK = lengths_mask(LENGTH, 20, length=LENGTH)
SHORT_MASK[0, [0, 11, 30]] = False


def layer_norm(x):
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt(np.square(centred).mean(-1, keepdims=True) + 1e-6)


def members(x, centroid, mask, window):
    """The real tokens with the largest inner products."""
    nearest_first = np.argsort(-(x @ centroid))
    return [t for t in nearest_first if mask[t]][:window]


def attend_one(q, k, v, mask, centroids, window):
    """One head of one example."""
    q, k = layer_norm(q), layer_norm(k)
    total, count = np.zeros_like(v), np.zeros(len(v))
    for centroid in centroids:
        holding = members(k, centroid, mask, window)
        for t in members(q, centroid, mask, window):
            weights = np.exp(k[holding] @ q[t] / np.sqrt(q.shape[-1]))
            total[t] += weights @ v[holding] / weights.sum()
            count[t] += 1
    return total / np.maximum(count, 1)[:, None], count


def reference(x, mask, centroids, window):
    out, counts = np.zeros_like(x["v"]), np.zeros(x["v"].shape[:3])
    for b, h in np.ndindex(len(mask), HEADS):
        arrays = (x[name][b, :, h] for name in "qkv")
        out[b, :, h], counts[b, :, h] = attend_one(*arrays, mask[b], centroids[h], window)
    return out, counts


@pytest.mark.parametrize("options", [{}, {"num_clusters": 3, "window": 25}], ids=str)
def test_equals_loops_over_clusters(options):
    """By default some tokens are in no cluster; in three large ones many are in several."""
    module = Routing(Dims(HEADS, DIM, LENGTH), **options, rngs=nnx.Rngs(0))
    centroids = np.asarray(module.centroids(), np.float64)
    window = options.get("window", 7)
    assert (centroids.shape[1], module.window) == (options.get("num_clusters", 6), window)
    arrays = dict(zip("qkv", inputs(length=LENGTH), strict=True))
    counts = reference(arrays, SHORT_MASK, centroids, window)[1][SHORT_MASK]
    assert {0, 1, 2} <= set(counts.flat)
    agreement.check_agreement(
        lambda x: module(x["q"], x["k"], x["v"], SHORT_MASK),
        lambda x: reference(x, SHORT_MASK, centroids, window)[0],
        arrays,
        SHORT_MASK,
    )


def test_one_cluster_of_all_is_softmax_over_normalised_queries_and_keys():
    module = Routing(subject.DIMS, num_clusters=1, rngs=nnx.Rngs(0))
    assert module.window == subject.MAX_LEN
    q, k, v = inputs()
    expected = softmax_float64(layer_norm(q), layer_norm(k), v, MASK)
    agree(jax.jit(module)(q, k, v, MASK), expected)


@pytest.mark.parametrize("check", contract.ALWAYS, ids=lambda check: check.__name__)
def test_many_small_clusters(check):
    check(subject.registered("routing", num_clusters=40, window=3), "float32")


class TestCentroids:
    """What a step of training does with them."""

    @staticmethod
    def gradient(scale=1.0, junk=0.0, mask=MASK):
        q, k, v = inputs()
        real = MASK[:, :, None, None]
        q, k, v = (np.where(real, x, junk).astype(np.float32) for x in (q, k, v))
        graph, params, rest = nnx.split(Routing(subject.DIMS, rngs=nnx.Rngs(0)), nnx.Param, ...)

        @jax.jit
        @jax.grad
        def of(params):
            return scale * jnp.sum(nnx.merge(graph, params, rest)(q, k, v, mask))

        (found,) = jax.tree.leaves(of(params))
        (value,) = jax.tree.leaves(params)
        return np.asarray(value), np.asarray(found)

    def test_move_to_the_sum_of_what_is_nearest_and_its_number(self):
        value, found = self.gradient()
        q, k, _ = inputs()
        for head in range(HEADS):
            tokens = np.concatenate([layer_norm(x)[MASK][:, head] for x in (q, k)])
            nearest = np.argmax(tokens @ value[head, :, :-1].T, axis=1)
            for cluster, sums in enumerate(value[head]):
                mine = tokens[nearest == cluster]
                seen = np.append(mine.sum(0), len(mine))
                np.testing.assert_allclose(found[head, cluster], sums - seen, atol=1e-4)

    def test_the_first_steps_replace_what_was_drawn(self):
        """Of a centroid nearest to n tokens, the drawn one weighs 1 / (1 + n / 1000) or less."""
        module = Routing(subject.DIMS, rngs=nnx.Rngs(0))
        drawn, tokens = np.asarray(module.centroids()), 1_000
        seen = np.concatenate([np.full_like(drawn, 2.0), np.ones_like(drawn[..., :1])], -1)
        module.sums[...] = 0.999 * module.sums[...] + 0.001 * tokens * seen
        weight = 0.999 / (0.999 + 0.001 * tokens)
        expected = weight * drawn + (1 - weight) * 2.0 / 1.0
        np.testing.assert_allclose(module.centroids(), expected, rtol=1e-5)

    def test_one_that_is_nearest_to_none_stays(self):
        module = Routing(subject.DIMS, rngs=nnx.Rngs(0))
        before = np.asarray(module.centroids())
        module.sums[...] = 0.999**1_000 * module.sums[...]
        np.testing.assert_allclose(module.centroids(), before, rtol=1e-5)
        module.sums[...] = 0 * module.sums[...]
        assert np.isfinite(module.centroids()).all()

    def test_move_alike_whatever_the_loss_and_whatever_is_padded(self):
        expected = self.gradient()[1]
        np.testing.assert_array_equal(self.gradient(scale=1e-3)[1], expected)
        np.testing.assert_allclose(self.gradient(junk=1e4)[1], expected, atol=1e-5)

    def test_see_nothing_where_no_token_is_real(self):
        value, found = self.gradient(mask=np.zeros_like(MASK))
        np.testing.assert_array_equal(found, value)

    def test_are_averages_that_only_training_moves(self):
        module = Routing(subject.DIMS, rngs=nnx.Rngs(0))
        assert module.sums.get_metadata()["rule"].average == 0.999
