"""Routing attention: tokens attend within clusters that online k-means finds."""

from typing import Annotated

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from lra_bench.attentions._common import (
    MASKED,
    count_of_tokens,
    dot_products,
    head_major,
    softmax_average,
    summed,
    token_major,
    wide,
    without_padding,
)
from lra_bench.attentions._state import Options, keys_and_values
from lra_bench.contracts import Dims, Range, Rule
from lra_bench.registry import register_attention

_EPSILON = 1e-6  # added to variances, as in the authors' code
_LEAST_COUNT = 1e-30  # a centroid that is nearest to none for 70,000 steps goes to 0


def _state(dims: Dims, options: Options) -> int:
    """Return the keys and values of the members of one cluster."""
    clusters = options["num_clusters"] or max(1, round(dims.max_len**0.5))
    return keys_and_values(dims, options["window"] or -(-dims.max_len // clusters))


@register_attention("routing", family="learned-pattern", state=_state)
class Routing(nnx.Module):
    """Compute softmax(Q' K'^T / sqrt(d)) V' among the members of each cluster, Roy et al.

    Queries and keys are normalised as by LayerNorm without scale and bias. Each head has c
    centroids, which its queries and keys share. The w queries whose inner products with a centroid
    are largest are members of its cluster, and so are w keys, with their values. The members attend
    to each other. A token's output is the mean over the clusters of its query; it is 0 if there is
    none.

    The centroids are means of the normalised queries and keys: moving sums divided by moving
    counts, as in the authors' code. In each step of training both become 0.999 times what they are
    plus 0.001 times the sum, and the number, of the queries and keys that are nearest to that
    centroid in the batch. The centroids that are drawn count as 1,000 such tokens; in the authors'
    code, which also moves the centroids twice a step, for queries and for keys, they count as none.
    Only the training moves them; the "gradient" of sums and counts is their
    value less what is seen in the batch, whatever the loss.

    Two choices are those of softmax attention, where the authors' code has others: logits are
    divided by sqrt(d), and the mean over clusters divides by their number, without adding 0.01. The
    paper gives some heads local attention; here all heads route. The loss of the authors' code that
    pulls queries and keys to their centroids is left out.

    Padding is never a member and moves no centroid. The numbers of clusters and of members depend
    on `max_len` only. A causal form is not offered, because later tokens decide who is a member.

    Time O(l c d + c w^2 d), memory O(l (c + d) + c w (w + d)); that is l^1.5 for the defaults.

    Args:
        dims: sizes of the model.
        num_clusters: c, the number of clusters of a head; None stands for the square root of
            `max_len`, which costs least.
        window: w, the number of members of a cluster, in tokens; None stands for `max_len` / c.
        rngs: draws the centroids: normalised normal vectors.

    Raises:
        ValueError: an option exceeds `max_len`.

    References:
        Roy et al. 2021, "Efficient Content-Based Sparse Attention with Routing Transformers",
        arXiv:2003.05997.
    """

    def __init__(
        self,
        dims: Dims,
        *,
        num_clusters: Annotated[int, Range(1, 2**20)] | None = None,
        window: Annotated[int, Range(1, 2**20)] | None = None,
        rngs: nnx.Rngs,
    ) -> None:
        root = max(1, round(dims.max_len**0.5))
        clusters = root if num_clusters is None else num_clusters
        clusters = count_of_tokens("num_clusters", clusters, root, dims.max_len)
        share = -(-dims.max_len // clusters)
        window = share if window is None else window
        self.window = count_of_tokens("window", window, share, dims.max_len)
        shape = (dims.num_heads, clusters, dims.head_dim)
        drawn = _normalised(jax.random.normal(rngs.params(), shape, jnp.float32))
        one = jnp.ones((*shape[:-1], 1))
        self.sums = nnx.Param(jnp.concatenate([drawn, one], -1), rule=Rule(average=0.999))

    def centroids(self) -> Float[Array, "h c d"]:
        """Return the moving sums of tokens, divided by the moving counts, their last feature."""
        sums = self.sums[...]
        return sums[..., :-1] / jnp.maximum(sums[..., -1:], _LEAST_COUNT)

    def __call__(
        self,
        q: Float[Array, "b l h d"],
        k: Float[Array, "b l h d"],
        v: Float[Array, "b l h d"],
        mask: Bool[Array, "b l"],
    ) -> Float[Array, "b l h d"]:
        """Attend within clusters."""
        queries, keys, values = (wide(head_major(without_padding(x, mask))) for x in (q, k, v))
        queries, keys = _normalised(queries), _normalised(keys)
        centroids = self.centroids()
        asked, held = (_affinities(x, centroids, mask) for x in (queries, keys))
        out = _attend(queries, keys, values, asked, held, self.window, v.dtype)
        observed = _sums_of_nearest((queries, keys), (asked, held), mask)
        return _observing(token_major(out), self.sums[...], jax.lax.stop_gradient(observed))


def _normalised(x: Float[Array, "*b d"]) -> Float[Array, "*b d"]:
    """Return x with mean 0 and variance 1 over its features."""
    centred = x - jnp.mean(x, axis=-1, keepdims=True)
    return centred * jax.lax.rsqrt(jnp.mean(jnp.square(centred), -1, keepdims=True) + _EPSILON)


def _affinities(
    x: Float[Array, "b h l d"], centroids: Float[Array, "h c d"], mask: Bool[Array, "b l"]
) -> Float[Array, "b h c l"]:
    """Return the inner products of tokens and centroids, `MASKED` for padding."""
    products = summed("hcd,bhld->bhcl", centroids, jax.lax.stop_gradient(x))
    return jnp.where(mask[:, None, None, :], products, MASKED)


def _attend(
    queries: Float[Array, "b h l d"],
    keys: Float[Array, "b h l d"],
    values: Float[Array, "b h l d"],
    asked: Float[Array, "b h c l"],
    held: Float[Array, "b h c l"],
    window: int,
    dtype: jnp.dtype,
) -> Float[Array, "b h l d"]:
    """Return the mean outputs over clusters, in `dtype`.

    Where there are fewer real tokens than members, padding asks too; its output is unused.
    """
    window = min(window, queries.shape[2])
    _, asking = jax.lax.top_k(jax.lax.stop_gradient(asked), window)
    largest, holding = jax.lax.top_k(jax.lax.stop_gradient(held), window)
    logits = dot_products(_rows(queries, asking).astype(dtype), _rows(keys, holding).astype(dtype))
    logits = jnp.where(largest[..., None, :] > MASKED, logits, MASKED)
    outputs = softmax_average(logits, _rows(values, holding).astype(dtype)).astype(values.dtype)
    total = _added(jnp.zeros_like(values), asking, outputs)
    count = _added(jnp.zeros_like(values[..., :1]), asking, jnp.ones_like(outputs[..., :1]))
    return (total / jnp.maximum(count, 1)).astype(dtype)


def _rows(x: Float[Array, "b h l d"], index: Int[Array, "b h c w"]) -> Float[Array, "b h c w d"]:
    return jax.vmap(jax.vmap(lambda rows, i: rows[i]))(x, index)


def _added(
    x: Float[Array, "b h l d"], index: Int[Array, "b h c w"], rows: Float[Array, "b h c w d"]
) -> Float[Array, "b h l d"]:
    return jax.vmap(jax.vmap(lambda x, i, rows: x.at[i].add(rows)))(x, index, rows)


def _sums_of_nearest(
    tokens: tuple[Float[Array, "b h l d"], ...],
    affinities: tuple[Float[Array, "b h c l"], ...],
    mask: Bool[Array, "b l"],
) -> Float[Array, "h c d+1"]:
    """Return the sum of the batch's real tokens that are nearest to each centroid, and how many."""
    real = mask[:, None, :, None]
    _, heads, clusters, _ = affinities[0].shape
    sums = jnp.zeros((heads, clusters, tokens[0].shape[-1] + 1), tokens[0].dtype)
    for x, affinity in zip(tokens, affinities, strict=True):
        nearest = jnp.moveaxis(jnp.argmax(affinity, axis=2), 1, 0)
        counted = jnp.concatenate([x, jnp.ones_like(x[..., :1])], axis=-1)
        counted = jnp.moveaxis(jnp.where(real, counted, 0), 1, 0)
        sums = jax.vmap(lambda sums, i, rows: sums.at[i].add(rows))(sums, nearest, counted)
    return sums


@jax.custom_vjp
def _observing(out: Array, sums: Array, observed: Array) -> Array:
    """Return `out`; the gradient of the sums becomes their distance from what is observed."""
    del sums, observed
    return out


def _observing_forward(out: Array, sums: Array, observed: Array) -> tuple[Array, Array]:
    return out, sums - observed.astype(sums.dtype)


def _observing_backward(distance: Array, gradient: Array) -> tuple[Array, Array, None]:
    return gradient, distance, None


_observing.defvjp(_observing_forward, _observing_backward)
