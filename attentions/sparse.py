"""Sparse Transformer: attention factorised into two patterns of about sqrt(l) keys each."""

import math
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jaxtyping import Array, Bool, Float

from lra_bench.attentions._blocks import (
    Blocks,
    block_for,
    part_of,
    pieces_at_once,
    shared_part,
)
from lra_bench.attentions._common import MASKED, check_count, wide, without_padding
from lra_bench.attentions._partial_softmax import PartialSoftmax
from lra_bench.attentions._state import Options, keys_and_values, stride_of
from lra_bench.contracts import Dims, Range
from lra_bench.registry import register_attention

_SUMMARY = 8


def _state(dims: Dims, options: Options) -> int:
    """Return the keys and values of the two patterns of a query."""
    stride = stride_of(dims, options)
    rows, sides = -(-dims.max_len // stride), 1 if options["causal"] else 2
    if options["pattern"] == "fixed":
        tokens = stride + (rows - 1) * min(options["num_summary"], stride)
    else:  # the window holds up to three tokens of the column
        tokens = sides * stride + 1 + max(rows - 1 - sides, 0)
    return keys_and_values(dims, tokens)


@register_attention("sparse", family="fixed-pattern", state=_state)
class Sparse(nnx.Module):
    """Compute softmax(Q K_S^T / sqrt(d)) V_S with S the union of two patterns: Eqs. (3) and (7).

    With stride s, token i sees, in the pattern

    - "fixed": the tokens of its own block of s tokens, floor(j / s) = floor(i / s), and the
      summary tokens of all blocks, j mod s >= s - c;
    - "strided": the tokens at a distance of at most s, and those of its column,
      (i - j) mod s = 0.

    All heads are the paper's merged heads, by one softmax over the union. In the paper, tokens
    see only themselves and earlier tokens. Here that is the option `causal`; the default drops
    this limit and so sees both sides. The stride depends on `max_len` and not on the length of
    the input, and blocks begin at the first position, so padding changes nothing. Summary tokens
    that are padding are not seen.
    Time O(l sqrt(l) c d), memory O(l (sqrt(l) + d)), where c is 1 for "strided". It grows faster
    than linearly, so at long lengths it is slower than `performer-softmax`.

    Args:
        dims: sizes of the model.
        pattern: "fixed", which the paper uses for text and Long Range Arena for all tasks, or
            "strided", which the paper uses for images.
        stride: s, in tokens; 0 for the square root of `max_len`, rounded. The paper wants it
            close to that.
        num_summary: c, summary tokens of a block, for "fixed" only; at most the stride, which is
            the default if it is below 8. The paper has 8, 16 or 32, for strides of 128 or 256.
        causal: whether a token sees only itself and earlier tokens.
        rngs: not used.

    Raises:
        ValueError: an option is out of its range.

    References:
        Child et al. 2019, "Generating Long Sequences with Sparse Transformers", arXiv:1904.10509,
        Sections 4.3 and 5.1.
    """

    def __init__(
        self,
        dims: Dims,
        *,
        pattern: Literal["fixed", "strided"] = "fixed",
        stride: Annotated[int, Range(1, 2**20, or_zero=True)] = 0,
        num_summary: int = _SUMMARY,
        causal: bool = False,
        rngs: nnx.Rngs,
    ) -> None:
        del rngs
        self.stride = stride or round(math.sqrt(dims.max_len))
        check_count(stride=self.stride, num_summary=num_summary)
        if num_summary > self.stride and num_summary != _SUMMARY:
            raise ValueError(
                f"num_summary={num_summary}: must be at most {self.stride}, the stride"
            )
        self.num_summary = min(num_summary, self.stride)
        self.pattern, self.causal = pattern, causal

    def __call__(
        self,
        q: Float[Array, "b l h d"],
        k: Float[Array, "b l h d"],
        v: Float[Array, "b l h d"],
        mask: Bool[Array, "b l"],
    ) -> Float[Array, "b l h d"]:
        """Attend to the two patterns together."""
        k, v = without_padding(k, mask), without_padding(v, mask)
        attend = self._fixed if self.pattern == "fixed" else self._strided
        return attend(q, k, v, mask)

    def _fixed(self, q: Array, k: Array, v: Array, mask: Array) -> Array:
        rows = -(-q.shape[1] // self.stride)
        blocks = Blocks.of(q, self.stride, 0, 0, rows * self.num_summary)
        near = blocks.offsets() <= 0 if self.causal else True
        if rows == 1:
            return blocks.attend(q, k, v, mask, near)
        keys, values, real = (self._summary(x) for x in (wide(k), wide(v), mask))
        row = jnp.repeat(jnp.arange(rows), self.num_summary)

        def more(numbers: Array, queries: Array, _: Any) -> list[PartialSoftmax]:
            own = numbers[:, None, None]
            other = (row < own) if self.causal else (row != own)
            seen = real[:, None, None] & jnp.broadcast_to(
                other, (len(numbers), blocks.block, len(row))
            )
            return [shared_part(queries, keys, values, seen)]

        return blocks.attend(q, k, v, mask, near, more)

    def _rows(self, x: Array) -> Array:
        """Cut tokens (b, l, ...) into rows of a stride, (b, n, s, ...)."""
        ends = [(0, 0), (0, -x.shape[1] % self.stride)] + [(0, 0)] * (x.ndim - 2)
        return jnp.pad(x, ends).reshape(len(x), -1, self.stride, *x.shape[2:])

    def _summary(self, x: Array) -> Array:
        """Return the summary tokens, (b, n c, ...)."""
        cells = self._rows(x)[:, :, self.stride - self.num_summary :]
        return cells.reshape(len(x), -1, *x.shape[2:])

    def _strided(self, q: Array, k: Array, v: Array, mask: Array) -> Array:
        block = block_for(self.stride)
        around = -(-self.stride // block)
        blocks = Blocks.of(q, block, around, 0 if self.causal else around)
        offsets = blocks.offsets()
        near = (abs(offsets) <= self.stride) & ((offsets <= 0) | (not self.causal))
        if q.shape[1] <= 2 * self.stride:  # all of a column is in the window
            return blocks.attend(q, k, v, mask, near)
        columns = [
            blocks.grouped(x, fill)
            for x, fill in zip(self._columns(q, k, v, mask), (MASKED, 0, 0), strict=True)
        ]

        def more(_: Array, __: Array, columns: list[Array]) -> list[PartialSoftmax]:
            return [PartialSoftmax(*map(blocks.cut, columns))]

        return blocks.attend(q, k, v, mask, near, more, columns)

    def _columns(self, q: Array, k: Array, v: Array, mask: Array) -> PartialSoftmax:
        """Return the softmax of each token over its column, without what its window holds.

        Columns are processed in groups, as windows are.
        """
        batch, length, heads, _ = q.shape
        rows = -(-length // self.stride)
        size = pieces_at_once(4 * batch * heads * rows * rows, self.stride)
        behind = jnp.arange(rows)[:, None] - jnp.arange(rows)
        far = (behind if self.causal else abs(behind)) >= 2

        def column(x: tuple[Array, ...]) -> PartialSoftmax:
            q, k, v, real = x
            return part_of(q, k, v, jnp.swapaxes(real, -1, -2) & far)

        def cut(x: Array) -> Array:
            x = jnp.pad(self._rows(x), ((0, 0), (0, 0), (0, -self.stride % size), (0, 0), (0, 0)))
            return jnp.moveaxis(x, (2, 3), (0, 2)).reshape(
                -1, size, batch, x.shape[3], rows, x.shape[4]
            )

        def tokens(x: Array) -> Array:
            x = x.reshape(-1, *x.shape[2:])[: self.stride]
            x = jnp.moveaxis(x, (0, 2), (2, 3))
            return x.reshape(batch, -1, *x.shape[3:])[:, :length]

        inputs = tuple(cut(x) for x in (q, k, v, mask[:, :, None, None]))
        return PartialSoftmax(*map(tokens, lax.map(jax.checkpoint(column), inputs)))
