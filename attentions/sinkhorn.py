"""Sinkhorn attention: blocks of keys that are sorted differentiably, next to those in place."""

from typing import Annotated

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from lra_bench.attentions._common import (
    MASKED,
    check_count,
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
from lra_bench.contracts import Dims, Range
from lra_bench.registry import register_attention

_BLOCK = 64
# A sorted token of which less is real is masked: dividing by the share would overflow.
_LEAST_SHARE = 1e-6


def _state(dims: Dims, options: Options) -> int:
    """Return the keys and values of two blocks."""
    return keys_and_values(dims, 2 * options["block_size"])


@register_attention("sinkhorn", family="learned-pattern", state=_state)
class Sinkhorn(nnx.Module):
    """Attend to the own block and to one sorted block, softmax(Q [K, S K]^T / sqrt(d)) [V, S V].

    The sequence is cut into blocks of `block_size` tokens. S is a matrix over blocks, made from
    scores R: R is divided by `temperature`, exponentiated, and its columns and rows are normalised
    in turn, in logarithms, `num_iterations` times. In training, Gumbel noise is added to R.

    Three choices differ from the paper. Rows are last here, so that every sorted block is an
    average of blocks; the paper has columns last. Its sorting network computes R from the sum of
    the layer's input over each block (Eq. 1), of which a function of queries and keys knows
    nothing; here R_ij = m_i n_j / (c sqrt(d)), with the sum m_i of the queries of block i, the sum
    n_j of the keys of block j and c tokens in a block. So R spreads as the logits of softmax
    attention do, and the projections of queries and keys are all that learns to sort. And a token
    has one softmax over both blocks; the code of the Long Range Arena adds two softmaxes.

    Padding: sums are over real tokens. A block without real tokens is left out of the
    normalisation, so it is never sorted in. A sorted token is the average of the real tokens that
    are sorted to its place, and counts as much as the share of real tokens among them.

    Time O(l c d + l^2 d / c), memory O(l (c + d) + (l / c)^2), with blocks of c.

    Args:
        dims: sizes of the model.
        block_size: c, tokens of a block; at most `max_len`, which is the default if it is below
            64.
        temperature: divides R; small values make S nearly a permutation.
        num_iterations: how often columns and rows are normalised.
        rngs: unused, because nothing is learned or sampled when it is built.

    Raises:
        ValueError: an option is out of its range.

    References:
        Tay et al. 2020, "Sparse Sinkhorn Attention", arXiv:2002.11296.
    """

    def __init__(
        self,
        dims: Dims,
        *,
        block_size: int = _BLOCK,
        temperature: Annotated[float, Range(1e-3, 1e3)] = 0.75,
        num_iterations: int = 7,
        rngs: nnx.Rngs,
    ) -> None:
        del rngs
        check_count(num_iterations=num_iterations)
        if not 1e-3 <= temperature <= 1e3:
            raise ValueError(f"temperature={temperature}: must be from 0.001 to 1000")
        self.block_size = count_of_tokens("block_size", block_size, _BLOCK, dims.max_len)
        self.temperature, self.num_iterations = temperature, num_iterations

    def __call__(
        self,
        q: Float[Array, "b l h d"],
        k: Float[Array, "b l h d"],
        v: Float[Array, "b l h d"],
        mask: Bool[Array, "b l"],
        rngs: nnx.Rngs | None = None,
    ) -> Float[Array, "b l h d"]:
        """Attend to two blocks; `rngs` are given in training, and draw the Gumbel noise."""
        length = q.shape[1]
        block = min(self.block_size, length)
        fill = ((0, 0), (0, -length % block))
        queries, keys, values = (
            _blocks(jnp.pad(without_padding(x, mask), (*fill, (0, 0), (0, 0))), block)
            for x in (q, k, v)
        )
        real = jnp.pad(mask, fill).reshape(len(mask), 1, -1, block)
        sorting = self._sorting(queries, keys, real, rngs)
        keys, values, bias = _with_sorted(sorting, keys, values, real)
        logits = dot_products(queries, keys) + bias[..., None, :]
        out = softmax_average(logits, values)
        return token_major(out.reshape(*out.shape[:2], -1, out.shape[-1]))[:, :length]

    def _sorting(
        self,
        queries: Float[Array, "b h n c d"],
        keys: Float[Array, "b h n c d"],
        real: Bool[Array, "b 1 n c"],
        rngs: nnx.Rngs | None,
    ) -> Float[Array, "b h n n"]:
        """Return the weights with which each block of keys (last axis) goes to a block's place."""
        sums = (jnp.sum(wide(x), axis=3) for x in (queries, keys))  # padding is 0 already
        scores = dot_products(*sums) / self.block_size
        if rngs is not None:
            scores += jax.random.gumbel(rngs.dropout(), scores.shape, scores.dtype)
        used = jnp.any(real, axis=-1)
        return _sinkhorn(scores / self.temperature, used, self.num_iterations)


def _blocks(x: Float[Array, "b l h d"], block: int) -> Float[Array, "b h n c d"]:
    x = head_major(x)
    return x.reshape(*x.shape[:2], -1, block, x.shape[-1])


def _sinkhorn(
    scores: Float[Array, "b h n n"], used: Bool[Array, "b 1 n"], iterations: int
) -> Float[Array, "b h n n"]:
    """Return exp(scores) with normalised columns and rows, zero where a block is not used.

    Only the logarithms of the factors of rows and columns are kept between iterations.
    """
    pairs = used[..., :, None] & used[..., None, :]
    scores = jnp.where(pairs, scores, MASKED)

    @jax.checkpoint
    def step(rows: Array, _: None) -> tuple[Array, Array]:
        columns = jax.nn.logsumexp(scores - rows[..., :, None], axis=-2)
        columns = jnp.where(used, columns, 0)
        rows = jax.nn.logsumexp(scores - columns[..., None, :], axis=-1)
        return jnp.where(used, rows, 0), columns

    start = jnp.zeros(scores.shape[:-1], scores.dtype)
    _, columns = jax.lax.scan(step, start, length=iterations)
    # Softmax makes rows add up to 1. `rows` would not, because it is rounded as large scores are.
    weights = jax.nn.softmax(scores - columns[-1][..., None, :], axis=-1)
    return jnp.where(pairs, weights, 0)


def _with_sorted(
    sorting: Float[Array, "b h n n"],
    keys: Float[Array, "b h n c d"],
    values: Float[Array, "b h n c d"],
    real: Bool[Array, "b 1 n c"],
) -> tuple[
    Float[Array, "b h n two_c d"], Float[Array, "b h n two_c d"], Float[Array, "b h n two_c"]
]:
    """Return the keys and values of both blocks of a token, and what is added to the logits."""
    present = jnp.broadcast_to(real, (*sorting.shape[:-1], real.shape[-1]))
    share = summed("bhij,bhjc->bhic", sorting, present.astype(sorting.dtype))
    enough = share > _LEAST_SHARE
    share = jnp.where(enough, share, 1)

    def both(x: Array) -> Array:
        flat = x.reshape(*x.shape[:3], -1)
        moved = summed("bhij,bhjx->bhix", sorting.astype(x.dtype), flat).reshape(x.shape)
        moved = jnp.where(enough[..., None], moved / share[..., None], 0)
        return jnp.concatenate([x, moved.astype(x.dtype)], axis=3)

    own = jnp.where(present, 0, MASKED).astype(share.dtype)
    bias = jnp.concatenate([own, jnp.where(enough, jnp.log(share), MASKED)], axis=3)
    return both(keys), both(values), bias
