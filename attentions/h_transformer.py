"""H-Transformer-1D: exact attention to near tokens, averages of ever more tokens farther away."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float

from lra_bench.attentions._common import (
    MASKED,
    count_of_tokens,
    dot_products,
    head_major,
    token_major,
    wide_dtype,
    without_padding,
)
from lra_bench.attentions._partial_softmax import PartialSoftmax, both, weighted_by
from lra_bench.attentions._state import Options, keys_and_values
from lra_bench.contracts import Dims
from lra_bench.registry import register_attention

_BLOCK = 16


def _state(dims: Dims, options: Options) -> int:
    """Return the keys and values that a query sees at all levels; if causal, those on one side.

    At a coarse level it sees 3/4 of each neighbour's, on average. At the coarsest level, of two
    blocks, it has one neighbour.
    """
    block, coarse = options["block_size"], 0
    blocks = -(-dims.max_len // block)
    while blocks > 2:
        blocks, coarse = -(-blocks // 2), coarse + 1
    sides = 1 if options["causal"] else 2
    neighbours = coarse * sides - (coarse > 0 and sides > 1)
    return keys_and_values(dims, (1 + sides) * block + neighbours * 3 * block // 4)


@register_attention("h-transformer", family="fixed-pattern", state=_state)
class HTransformer(nnx.Module):
    """Compute softmax(Q K^T / sqrt(d)) V, with far blocks of the matrix at lower resolution.

    At level 0 a token attends to its own block of c = `block_size` tokens and to both neighbours.
    At level k, 2^k tokens are one coarse token: its query and key are the means of theirs, and it
    has the sum of their values and counts as that many keys. Coarse tokens attend to the
    neighbours of their block of c coarse tokens, except for the quarter that a lower level has.
    So each pair of tokens is counted at one level, and the numerators and the normalisers of all
    levels are added up. The paper calls c the numerical rank N_r. Up to 2 c tokens, this is exact
    softmax attention.

    If `causal`, only earlier blocks are read, and the query of a coarse token is that of its first
    token, as in the authors' code: a mean would read later queries. Their relative position bias
    is left out, because positions are the model's.

    Padding: means and sums are over real tokens, and coarse tokens without one are masked.
    Time O(l c d), memory O(l (c + d)).

    Args:
        dims: sizes of the model.
        block_size: c, an even number of tokens; at most `max_len` unless it is the default.
        causal: whether a token sees only itself and earlier tokens.
        rngs: unused, because nothing is learned or sampled.

    Raises:
        ValueError: `block_size` is odd or out of its range.

    References:
        Zhu and Soricut 2021, "H-Transformer-1D: Fast One-Dimensional Hierarchical Attention for
        Sequences", arXiv:2107.11906.
    """

    def __init__(
        self, dims: Dims, *, block_size: int = _BLOCK, causal: bool = False, rngs: nnx.Rngs
    ) -> None:
        del rngs
        count_of_tokens("block_size", block_size, _BLOCK, dims.max_len)
        if block_size % 2:
            raise ValueError(f"block_size={block_size}: must be even, because blocks are halved")
        self.block_size, self.causal = block_size, causal

    def __call__(
        self,
        q: Float[Array, "b l h d"],
        k: Float[Array, "b l h d"],
        v: Float[Array, "b l h d"],
        mask: Bool[Array, "b l"],
    ) -> Float[Array, "b l h d"]:
        """Attend at all levels."""
        length = q.shape[1]
        block = min(self.block_size, length + length % 2)
        levels = _levels(q, k, v, mask, block, self.causal)
        part = _near(levels[0], self.causal)
        if levels[1:]:
            part = _joined(part, _far(levels[1:], self.causal))
        return token_major(part.average()[:, :, :length].astype(v.dtype))


class _Level(NamedTuple):
    """The tokens of one level, in blocks; those of coarse levels stand for several tokens.

    Attributes:
        queries, keys, values: means over the real tokens that a token stands for.
        weight: the number of these.
    """

    queries: Float[Array, "b h n c d"]
    keys: Float[Array, "b h n c d"]
    values: Float[Array, "b h n c d"]
    weight: Float[Array, "b 1 n c 1"]


def _levels(q: Array, k: Array, v: Array, mask: Array, block: int, causal: bool) -> list[_Level]:
    """Return level 0, and coarser ones until the last has no more than two blocks."""
    dim, dtype = q.shape[-1], wide_dtype(v)
    arrays = [head_major(without_padding(x, mask)) for x in (q, k, v)]
    count = _filled(mask[:, None, :, None].astype(dtype), block)
    queries, sums = arrays[0], jnp.concatenate(arrays, axis=-1).astype(dtype)
    queries, sums = _filled(queries, block), _filled(sums, block)
    finest = (*(_filled(x, block) for x in arrays), count)
    levels = [_Level(*(_in_blocks(x, block) for x in finest))]
    while levels[-1].weight.shape[2] > 2:
        if causal:
            one, other = (_pairs(queries)[..., half, :] for half in range(2))
            queries = _filled(jnp.where(_pairs(count)[..., 0, :] > 0, one, other), block)
        sums, count = (_filled(jnp.sum(_pairs(x), axis=3), block) for x in (sums, count))
        means = (sums / jnp.maximum(count, 1)).astype(v.dtype)
        means, keys, values = (means[..., i * dim : (i + 1) * dim] for i in range(3))
        queries = queries if causal else means
        levels.append(_Level(*(_in_blocks(x, block) for x in (queries, keys, values, count))))
    return levels


def _filled(x: Float[Array, "b h l d"], block: int) -> Float[Array, "b h nc d"]:
    """Append zeros up to whole blocks."""
    return jnp.pad(x, ((0, 0), (0, 0), (0, -x.shape[2] % block), (0, 0)))


def _in_blocks(x: Float[Array, "b h nc d"], block: int) -> Float[Array, "b h n c d"]:
    return x.reshape(*x.shape[:2], -1, block, x.shape[-1])


def _pairs(x: Float[Array, "b h l d"]) -> Float[Array, "b h half_l two d"]:
    return x.reshape(*x.shape[:2], -1, 2, x.shape[-1])


def _near(level: _Level, causal: bool) -> PartialSoftmax:
    """Attend from the tokens of level 0 to their own block and to its neighbours."""
    blocks, block = level.weight.shape[2:4]
    before, after = _neighbours(blocks)
    seen = np.ones((blocks, block, 3, block), bool)
    seen[:, :, 0] = before[:, None, None]
    seen[:, :, 1] = np.tri(block) if causal else True
    seen[:, :, 2] = after[:, None, None] & (not causal)
    return _attended(level, (1, 0, -1), seen)


def _far(levels: list[_Level], causal: bool) -> PartialSoftmax:
    """Attend from coarse tokens to the neighbours of their blocks, all levels at once."""
    sizes = [level.weight.shape[2] for level in levels]
    block = levels[0].weight.shape[3]
    packed = _Level(*(jnp.concatenate(x, axis=2) for x in zip(*levels, strict=True)))
    before, after = (np.concatenate(x) for x in zip(*map(_neighbours, sizes), strict=True))
    half = np.arange(block) >= block // 2
    seen = np.ones((sum(sizes), block, 2, block), bool)
    seen[:, :, 0] = before[:, None, None] & (half[:, None] | ~half)
    seen[:, :, 1] = after[:, None, None] & (~half[:, None] | half) & (not causal)
    ends = (np.cumsum(sizes)[:-1] * block).tolist()
    *parts, whole = (
        PartialSoftmax(*part)
        for part in zip(
            *(jnp.split(x, ends, axis=2) for x in _attended(packed, (1, -1), seen)), strict=True
        )
    )
    for part in reversed(parts):
        whole = _joined(part, whole)
    return whole


def _neighbours(blocks: int) -> tuple[np.ndarray, np.ndarray]:
    """Return whether each block has one before it, and one after it."""
    number = np.arange(blocks)
    return number > 0, number < blocks - 1


def _attended(level: _Level, shifts: tuple[int, ...], seen: np.ndarray) -> PartialSoftmax:
    """Attend from each block to the blocks that `shifts` brings to its place.

    Args:
        level: the tokens.
        shifts: how far blocks are moved: 1 brings the block before.
        seen: which of those keys a query sees, (n, c, shifts, c).
    """
    keys, values, count = (
        jnp.concatenate([jnp.roll(x, shift, axis=2) for shift in shifts], axis=3) for x in level[1:]
    )
    count = jnp.swapaxes(count, 3, 4)
    logits = dot_products(level.queries, keys) + jnp.log(jnp.maximum(count, 1))
    logits = jnp.where(seen.reshape(*seen.shape[:2], -1) & (count > 0), logits, MASKED)
    part = weighted_by(logits, values)
    return PartialSoftmax(*(x.reshape(*x.shape[:2], -1, x.shape[-1]) for x in part))


def _joined(fine: PartialSoftmax, coarse: PartialSoftmax) -> PartialSoftmax:
    """Add up two levels; a coarse token is two fine ones."""
    length = fine.total.shape[2]
    repeated = (jnp.repeat(x, 2, axis=2)[:, :, :length] for x in coarse)
    return both(fine, PartialSoftmax(*repeated))
