"""BigBird: attention to a window of blocks, to global blocks and to random blocks."""

from typing import Annotated

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Key

from lra_bench.attentions._blocks import (
    Blocks,
    full_attention,
    part_of,
    shared_part,
)
from lra_bench.attentions._common import check_count, wide, without_padding
from lra_bench.attentions._partial_softmax import PartialSoftmax
from lra_bench.attentions._state import Options, blocks_around, keys_and_values
from lra_bench.contracts import Dims, Range
from lra_bench.registry import register_attention

# Above the rank of any block, also after a few are subtracted.
_NONE = 2**30


def _state(dims: Dims, options: Options) -> int:
    """Return the keys and values of the blocks that a query sees."""
    blocks = blocks_around(options) + options["num_global_blocks"] + options["num_random_blocks"]
    return keys_and_values(dims, blocks * options["block_size"])


@register_attention("bigbird", family="fixed-pattern", state=_state)
class BigBird(nnx.Module):
    """Compute softmax(Q K_N^T / sqrt(d)) V_N with N of window, global and random blocks: Eq. (AT).

    This is the internal construction (ITC), in blocks of `block_size` tokens. By one softmax, the
    tokens of a block see their own block and the blocks next to it, the global blocks, and random
    blocks, which differ between heads. Tokens of global blocks see all tokens. No block counts
    twice.

    A block is real if it holds a real token. Global blocks are the first and the last real block
    of the example, as in the authors' code, where they are those of the padded sequence. Random
    blocks are drawn, without replacement, from the example's other real blocks, so no block of
    padding is ever drawn and padding changes nothing. The draws are made from random numbers that
    are stored. The authors keep their blocks for a whole training, which is
    `train.resample_every=0` here. Blocks begin at the first position. Which block is the last
    real one depends on later tokens, so this cannot be causal.
    Time O(l (w + g + r) c d), memory O(l ((w + g + r) c + r d)), with blocks of c tokens of which
    w are in the window, g are global and r are random. On CPUs, the default is slower than
    `performer-softmax`: a token sees 512 keys, which are more than its 256 features.

    Args:
        dims: sizes of the model.
        block_size: c, tokens per block. This and the other defaults are those of Long Range
            Arena and of the paper's base model.
        look_around: blocks of the window on each side of a block; w = 2 `look_around` + 1.
        num_global_blocks: g; half of them at the start, rounded up, and half at the end.
        num_random_blocks: r, random blocks per block; all blocks if there are fewer.
        rngs: draws the random numbers.

    Raises:
        ValueError: an option is out of its range; or when called with a sequence of more blocks
            than `max_len` tokens have.

    References:
        Zaheer et al. 2020, "Big Bird: Transformers for Longer Sequences", arXiv:2007.14062, Section
        2 and Appendix D.
    """

    def __init__(
        self,
        dims: Dims,
        *,
        block_size: int = 64,
        look_around: Annotated[int, Range(0, 2**20)] = 1,
        num_global_blocks: int = 2,
        num_random_blocks: int = 3,
        rngs: nnx.Rngs,
    ) -> None:
        check_count(
            block_size=block_size,
            num_global_blocks=num_global_blocks,
            num_random_blocks=num_random_blocks,
        )
        self.block_size, self.look_around = block_size, look_around
        self.num_global_blocks = num_global_blocks
        shape = (dims.num_heads, -(-dims.max_len // block_size), num_random_blocks)
        self.numbers = nnx.Variable(jax.random.uniform(rngs(), shape))

    def resample(self, key: Key[Array, ""]) -> None:
        """Draw new random blocks."""
        self.numbers[...] = jax.random.uniform(key, self.numbers.shape)

    def __call__(
        self,
        q: Float[Array, "b l h d"],
        k: Float[Array, "b l h d"],
        v: Float[Array, "b l h d"],
        mask: Bool[Array, "b l"],
    ) -> Float[Array, "b l h d"]:
        """Attend to the window, the global and the random blocks."""
        if -(-q.shape[1] // self.block_size) > self.numbers.shape[1]:
            raise ValueError(
                f"bigbird: got {q.shape[1]} tokens, but was built for "
                f"{self.numbers.shape[1] * self.block_size} at most"
            )
        around = self.look_around
        others = (self.num_global_blocks + self.numbers.shape[2]) * self.block_size
        blocks = Blocks.of(q, self.block_size, around, around, others)
        k, v = without_padding(k, mask), without_padding(v, mask)
        fixed, chosen, is_global = self._plan(jnp.any(blocks.cut_all(mask), axis=2), blocks)

        def shared(x: Array) -> Array:
            x = jax.vmap(_taken)(blocks.cut_all(x), fixed)
            return x.reshape(len(x), -1, *x.shape[3:])

        keys, values, seen = (shared(x) for x in (wide(k), wide(v), mask))
        random = [_random_keys(blocks, x, chosen) for x in (k, v, mask[:, :, None, None])]

        def more(numbers: Array, queries: Array, random: list[Array]) -> list[PartialSoftmax]:
            k, v, real = random
            each = jnp.broadcast_to(
                seen[:, None, None], (len(seen), len(numbers), blocks.block, seen.shape[1])
            )
            return [
                shared_part(queries, keys, values, each),
                part_of(queries, k, v, jnp.swapaxes(real, 3, 4)),
            ]

        local = mask & ~jnp.repeat(is_global, blocks.block, axis=1)[:, : blocks.length]
        out = blocks.attend(q, k, v, local, True, more, random)
        rows = full_attention(shared(q), k, v, mask[:, None])
        rows = rows.reshape(len(q), -1, blocks.block, *q.shape[2:])
        out = jax.vmap(lambda out, at, row: out.at[at].set(row, mode="drop"))(
            blocks.cut_all(out), fixed, rows
        )
        return out.reshape(len(q), -1, *q.shape[2:])[:, : blocks.length]

    def _plan(self, real: Bool[Array, "b n"], blocks: Blocks) -> tuple[Array, Array, Array]:
        """Return the global blocks (b, g), the random ones (b, h, n, r), and which are global.

        Blocks are numbered from 0; n stands for a block that is lacking.
        """
        count, total = real.shape[1], jnp.sum(real, axis=1, keepdims=True)
        fixed = _global_ranks(total, self.num_global_blocks)
        ranks = jnp.where(real, jnp.cumsum(real, axis=1) - 1, _NONE)
        is_global = jnp.any(ranks[:, :, None] == fixed[:, None], axis=2) & real
        near = _window_ranks(jnp.where(is_global, _NONE, ranks), blocks.before)
        shared = jnp.broadcast_to(fixed[:, None], (len(real), count, fixed.shape[1]))
        excluded = jnp.concatenate([near, shared], axis=2)
        drawn = _draw(self.numbers[:, :count], total, excluded)
        return _numbers_of(real, fixed), _numbers_of(real, drawn), is_global


def _global_ranks(total: Int[Array, "b 1"], count: int) -> Int[Array, "b g"]:
    """Return the ranks, among real blocks, of the first and the last ones; `_NONE` for lacking."""
    index, first = jnp.arange(count), -(-count // 2)
    ranks = jnp.where(index < first, index, total - 1 - (index - first))
    lacking = (ranks >= total) | ((index >= first) & (ranks < first))
    return jnp.where(lacking, _NONE, ranks)


def _window_ranks(ranks: Int[Array, "b n"], around: int) -> Int[Array, "b n w"]:
    """Return the ranks of the blocks of each window; `_NONE` for those beyond the sequence."""
    padded = jnp.pad(ranks, ((0, 0), (around, around)), constant_values=_NONE)
    count = ranks.shape[1]
    return jnp.stack([padded[:, i : i + count] for i in range(2 * around + 1)], axis=2)


def _draw(
    numbers: Float[Array, "h n r"], total: Int[Array, "b 1"], excluded: Int[Array, "b n e"]
) -> Int[Array, "b h n r"]:
    """Return the ranks of the real blocks that are drawn for each block.

    Each draw is one of the m blocks that are neither excluded nor drawn before: in their order,
    number floor(u m), with u uniform on [0, 1). It is `_NONE` if m is 0.
    """
    heads, _, draws = numbers.shape
    left = (total - jnp.sum(excluded < _NONE, axis=2))[:, None]
    taken = jnp.broadcast_to(excluded[:, None], (len(excluded), heads, *excluded.shape[1:]))
    taken = jnp.pad(taken, ((0, 0), (0, 0), (0, 0), (0, draws)), constant_values=_NONE)
    index = jnp.arange(taken.shape[3])

    def step(taken: Array, x: tuple[Array, Array]) -> tuple[Array, Array]:
        turn, uniform = x
        number = jnp.minimum((uniform * (left - turn)).astype(jnp.int32), left - turn - 1)
        taken = jnp.sort(taken, axis=3)
        # So many of the sorted ranks are below the rank that has `number` free ones below it.
        below = jnp.sum(taken - index <= number[..., None], axis=3)
        rank = jnp.where(turn < left, number + below, _NONE)
        return taken.at[..., -1].set(rank), rank  # the last one is a `_NONE` of the padding

    _, ranks = lax.scan(step, taken, (jnp.arange(draws), jnp.moveaxis(numbers, 2, 0)))
    return jnp.moveaxis(ranks, 0, 3)


def _numbers_of(real: Bool[Array, "b n"], ranks: Int[Array, "b ..."]) -> Int[Array, "b ..."]:
    """Return the numbers of the real blocks of these ranks; n for `_NONE`."""
    order = jnp.argsort(~real, axis=1, stable=True)
    take = jax.vmap(lambda order, rank: order.at[rank].get(mode="fill", fill_value=len(order)))
    return take(order, ranks)


def _taken(x: Array, numbers: Array) -> Array:
    """Return the blocks of these numbers along the first axis, or zeros for a number too high."""
    return x.at[numbers].get(mode="fill", fill_value=0)


def _random_keys(
    blocks: Blocks, x: Float[Array, "b l h_or_1 e"], chosen: Int[Array, "b h n r"]
) -> Float[Array, "groups b h g rc e"]:
    """Return what each block of queries sees of the random blocks, in groups."""
    batch, heads, count, draws = chosen.shape
    x = jnp.moveaxis(blocks.cut_all(x), 3, 1)
    x = jnp.broadcast_to(x, (batch, heads, *x.shape[2:]))
    lacking = blocks.groups * blocks.size - count
    fill = ((0, 0), (0, 0), (0, lacking), (0, 0))
    chosen = jnp.pad(chosen, fill, constant_values=count)
    x = jax.vmap(jax.vmap(_taken))(x, chosen)
    shape = (batch, heads, blocks.groups, blocks.size, draws * blocks.block, x.shape[-1])
    return jnp.moveaxis(x.reshape(shape), 2, 0)
