"""Local attention: exact softmax within blocks."""

from typing import Annotated

from jaxtyping import Array, Bool, Float

from lra_bench.attentions._blocks import Blocks
from lra_bench.attentions._common import check_count, without_padding
from lra_bench.attentions._state import Options, blocks_around, keys_and_values
from lra_bench.contracts import Dims, Range
from lra_bench.registry import register_attention


def _state(dims: Dims, options: Options) -> int:
    """Return the keys and values of a query's window."""
    tokens = blocks_around(options) * options["block_size"]
    return keys_and_values(dims, tokens)


@register_attention("local", family="fixed-pattern", state=_state)
def local(
    q: Float[Array, "b l h d"],
    k: Float[Array, "b l h d"],
    v: Float[Array, "b l h d"],
    mask: Bool[Array, "b l"],
    *,
    block_size: int = 64,
    look_around: Annotated[int, Range(0, 2**20)] = 0,
    causal: bool = False,
) -> Float[Array, "b l h d"]:
    """Compute softmax(Q_n K_n^T / sqrt(d)) V_n for each block n of `block_size` tokens.

    This is the model "Local Attention" of Long Range Arena. With `look_around` = a, the keys and
    values of block n are those of blocks n - a to n + a. If `causal`, a token sees only itself
    and earlier ones of these. Blocks begin at the first position, so padding at the end changes
    none of them.
    Time O(l (2a + 1) c d), memory O(l (2a + 1) d), with blocks of c tokens.

    Args:
        q, k, v: queries, keys and values.
        mask: True where a token is real.
        block_size: c, tokens per block. The benchmark has 64 for its tasks on images and 50 for
            the others.
        look_around: a, the blocks on each side that are seen, too; 0 is the benchmark's.
        causal: whether a token sees only itself and earlier tokens.

    References:
        Tay et al. 2021, arXiv:2011.04006, Section 3.1.
    """
    check_count(block_size=block_size)
    blocks = Blocks.of(q, block_size, look_around, 0 if causal else look_around)
    k, v = without_padding(k, mask), without_padding(v, mask)
    return blocks.attend(q, k, v, mask, blocks.offsets() <= 0 if causal else True)
