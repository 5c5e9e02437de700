"""Longformer: attention to a sliding window and to a few global tokens."""

from typing import Annotated, Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from lra_bench.attentions._blocks import (
    Blocks,
    block_for,
    full_attention,
    shared_part,
)
from lra_bench.attentions._common import check_count, wide, without_padding
from lra_bench.attentions._partial_softmax import PartialSoftmax
from lra_bench.attentions._sequence import position_of_real
from lra_bench.attentions._state import Options, keys_and_values
from lra_bench.contracts import Dims, Range
from lra_bench.registry import register_attention


def _state(dims: Dims, options: Options) -> int:
    """Return the keys and values of a query's window, and of the global tokens."""
    sides = 1 if options["causal"] else 2
    tokens = sides * options["window"] + 1 + options["num_global"]
    return keys_and_values(dims, tokens)


@register_attention("longformer", family="fixed-pattern", state=_state)
def longformer(
    q: Float[Array, "b l h d"],
    k: Float[Array, "b l h d"],
    v: Float[Array, "b l h d"],
    mask: Bool[Array, "b l"],
    *,
    window: int = 256,
    num_global: Annotated[int, Range(0, 2**20)] = 1,
    causal: bool = False,
) -> Float[Array, "b l h d"]:
    """Compute softmax(Q K^T / sqrt(d)) V over a sliding window and global tokens: Eq. (1).

    A token sees the tokens at a distance of at most `window`, and the global tokens, by one
    softmax. Global tokens see all tokens. They are the first `num_global` real tokens of the
    example, so padding is never one of them and changes nothing. If `causal`, all of them see
    only themselves and earlier tokens.

    In the paper, global attention has query, key and value projections of its own. A function of
    one q, k and v cannot have them. There is no dilation, either. Windows are computed in chunks.
    Time O(l (w + g) d), memory O(l (w + g + d)), with windows of w = 2 `window` + 1 and g global
    tokens. On CPUs, the default is slower than `performer-softmax`: a window holds 513 keys,
    which are more than its 256 features.

    Args:
        q, k, v: queries, keys and values.
        mask: True where a token is real.
        window: tokens of the window on each side. The paper has 256 for its encoders, and so has
            Long Range Arena.
        num_global: the number of global tokens; 1 stands for the token that the paper classifies
            by. Long Range Arena's code has none.
        causal: whether a token sees only itself and earlier tokens.

    References:
        Beltagy et al. 2020, "Longformer: The Long-Document Transformer", arXiv:2004.05150, Section
        3.
    """
    check_count(window=window)
    block = block_for(window)
    around = -(-window // block)
    blocks = Blocks.of(q, block, around, 0 if causal else around, num_global)
    offsets = blocks.offsets()
    near = (abs(offsets) <= window) & ((offsets <= 0) | (not causal))
    k, v = without_padding(k, mask), without_padding(v, mask)
    if num_global == 0:
        return blocks.attend(q, k, v, mask, near)
    positions = _first_real(mask, min(num_global, q.shape[1]))
    keys, values = (wide(_at(x, positions)) for x in (k, v))

    def more(numbers: Array, queries: Array, _: Any) -> list[PartialSoftmax]:
        at = blocks.positions(numbers)[None, :, :, None]
        last = at if causal else jnp.full_like(at, q.shape[1] - 1)
        return [shared_part(queries, keys, values, positions[:, None, None] <= last)]

    others = mask & (jnp.cumsum(mask, axis=1) > num_global)
    out = blocks.attend(q, k, v, others, near, more)
    seen = mask[:, None]
    if causal:
        seen = seen & (jnp.arange(q.shape[1]) <= positions[:, :, None])
    rows = full_attention(_at(q, positions), k, v, seen)
    return jax.vmap(lambda out, at, row: out.at[at].set(row, mode="drop"))(out, positions, rows)


def _first_real(mask: Bool[Array, "b l"], count: int) -> Int[Array, "b g"]:
    """Return the positions of the first real tokens, or l where there are fewer."""
    return position_of_real(mask, jnp.broadcast_to(jnp.arange(count), (len(mask), count)))


def _at(x: Float[Array, "b l h d"], positions: Int[Array, "b g"]) -> Float[Array, "b g h d"]:
    """Return the tokens at some positions, or the last token for a position after it."""
    index = jnp.minimum(positions, x.shape[1] - 1)
    return jnp.take_along_axis(x, index[:, :, None, None], axis=1)
