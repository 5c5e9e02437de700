"""Softmax attention over sets of keys that lie in blocks: windows, shared keys, and their unions.

A token's keys are the union of several disjoint parts, such as a window and global tokens. Each
part is computed by itself, and the parts are put together as one softmax over the union.
Queries are processed in groups of blocks, whose logits are computed again in the backward pass.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from lra_bench.attentions._common import (
    MASKED,
    dot_products,
    head_major,
    token_major,
)
from lra_bench.attentions._partial_softmax import PartialSoftmax, both, weighted_by
from lra_bench.runtime.mesh import platform

# The logits of a group take about this many bytes: on a CPU they should stay in cache, elsewhere a
# group should keep the whole device busy.
_CPU_BYTES, _BYTES = 4 * 2**20, 256 * 2**20
# Blocks that a window is computed in: larger ones compute more pairs that no window holds.
_SMALLEST_BLOCK, _LARGEST_BLOCK = 16, 128


def part_of(
    queries: Float[Array, "*b q d"],
    keys: Float[Array, "*b k d"],
    values: Float[Array, "*b k d"],
    seen: Bool[Array, "*#b #q k"],
) -> PartialSoftmax:
    """Return the softmax over the keys that are seen; one that sees none weighs nothing."""
    logits = jnp.where(seen, dot_products(queries, keys), MASKED)
    return weighted_by(logits, values)


def joined(parts: list[PartialSoftmax]) -> Float[Array, "*b d"]:
    """Return softmax attention over the union of parts that share no key."""
    return functools.reduce(both, parts).average()


@dataclass(frozen=True)
class Blocks:
    """A division of a sequence into blocks of queries, each with a window of blocks of keys.

    Attributes:
        length: tokens of the sequence.
        block: c, tokens per block.
        before, after: blocks of a window before and after the queries' own.
        size: g, blocks per group.
        groups: n, the number of groups.
    """

    length: int
    block: int
    before: int
    after: int
    size: int
    groups: int

    @classmethod
    def of(
        cls, q: Float[Array, "b l h d"], block: int, before: int, after: int, others: int = 0
    ) -> "Blocks":
        """Return the division for these queries.

        Args:
            q: the queries.
            block: tokens per block.
            before, after: blocks of the window; those beyond the sequence are left out.
            others: keys that each query sees besides its window; they take memory, too.
        """
        batch, length, heads, _ = q.shape
        block = min(block, length)
        count = -(-length // block)
        before, after = min(before, count - 1), min(after, count - 1)
        keys = (before + 1 + after) * block + others
        least = max(before, after, 1)
        size = pieces_at_once(4 * batch * heads * keys * block, count, least)
        return cls(length, block, before, after, size, -(-count // size))

    @property
    def keys(self) -> int:
        """Return s, the keys of a window."""
        return (self.before + 1 + self.after) * self.block

    def grouped(self, x: Array, fill: float = 0) -> Array:
        """Cut tokens (b, l, ...) into groups (n, b, g c, ...); `fill` is at the end of the last."""
        tokens = self.groups * self.size * self.block
        ends = [(0, 0), (0, tokens - self.length)] + [(0, 0)] * (x.ndim - 2)
        x = jnp.pad(x, ends, constant_values=fill)
        return jnp.moveaxis(x.reshape(len(x), self.groups, -1, *x.shape[2:]), 1, 0)

    def cut_all(self, x: Array) -> Array:
        """Cut tokens (b, l, ...) into blocks (b, l / c, c, ...); zeros fill the last."""
        ends = [(0, 0), (0, -self.length % self.block)] + [(0, 0)] * (x.ndim - 2)
        return jnp.pad(x, ends).reshape(len(x), -1, self.block, *x.shape[2:])

    def with_neighbours(self, x: Array) -> Array:
        """Cut tokens like `grouped`, and add to each group what its windows hold outside of it."""
        x = self.grouped(x)
        none = jnp.zeros_like(x[:1])
        start, stop = x.shape[2] - self.before * self.block, self.after * self.block
        before = jnp.concatenate([none, x[:-1]])[:, :, start:]
        after = jnp.concatenate([x[1:], none])[:, :, :stop]
        return jnp.concatenate([before, x, after], axis=2)

    def cut(self, x: Float[Array, "b gc h d"]) -> Float[Array, "b h g c d"]:
        """Cut a group into blocks."""
        return head_major(x).reshape(len(x), x.shape[2], self.size, self.block, x.shape[3])

    def windows(self, x: Float[Array, "b t h d"]) -> Float[Array, "b h g s d"]:
        """Return the window of each block, from a group with neighbours."""
        x = head_major(x)
        x = x.reshape(*x.shape[:2], -1, self.block, x.shape[3])
        shifts = range(self.before + 1 + self.after)
        return jnp.concatenate([x[:, :, i : i + self.size] for i in shifts], axis=3)

    def positions(self, numbers: Int[Array, " g"]) -> Int[Array, "g c"]:
        """Return the positions of the tokens of the blocks of these numbers."""
        return numbers[:, None] * self.block + jnp.arange(self.block)

    def offsets(self) -> Int[Array, "c s"]:
        """Return the position of each key of a window less that of each query."""
        keys = jnp.arange(self.keys) - self.before * self.block
        return keys - jnp.arange(self.block)[:, None]

    def attend(
        self,
        q: Float[Array, "b l h d"],
        k: Float[Array, "b l h d"],
        v: Float[Array, "b l h d"],
        mask: Bool[Array, "b l"],
        near: Bool[Array, "c s"] | bool,
        more: Callable[..., list[PartialSoftmax]] = lambda *_: [],
        extra: Any = None,
    ) -> Float[Array, "b l h d"]:
        """Attend to a window and to further keys, by one softmax.

        Args:
            q, k, v: queries, keys and values. Those that the mask excludes must be finite.
            mask: True for keys that windows hold.
            near: which keys of a window a query sees.
            more: of the numbers of a group's blocks (g,), its queries (b, h, g, c, d), and its
                part of `extra`, the parts of the further keys.
            extra: arrays (n, ...) with a part for each group.
        """

        def step(x: Any) -> Array:
            number, q, k, v, real, extra = x
            queries = self.cut(q)
            seen = jnp.swapaxes(self.windows(real), 3, 4) & near
            window = part_of(queries, self.windows(k), self.windows(v), seen)
            out = joined([window, *more(number, queries, extra)])
            return token_major(out.reshape(*out.shape[:2], -1, out.shape[4])).astype(v.dtype)

        numbers = jnp.arange(self.groups * self.size).reshape(self.groups, self.size)
        cut = (self.with_neighbours(x) for x in (k, v, mask[:, :, None, None]))
        out = lax.map(jax.checkpoint(step), (numbers, self.grouped(q), *cut, extra))
        return jnp.moveaxis(out, 0, 1).reshape(len(q), -1, *q.shape[2:])[:, : self.length]


def pieces_at_once(size: int, count: int, least: int = 1) -> int:
    """Return how many of `count` equal pieces of work make a group.

    Args:
        size: bytes of the logits of a piece.
        count: the number of pieces.
        least: the smallest group that is allowed, unless there are fewer pieces.
    """
    limit = _CPU_BYTES if platform() == "cpu" else _BYTES
    groups = min(-(-count // max(limit // size, 1)), max(count // least, 1))
    return -(-count // groups)


def block_for(window: int) -> int:
    """Return the tokens per block for a window of that many tokens on a side."""
    return min(max(window // 2, _SMALLEST_BLOCK), _LARGEST_BLOCK)


def shared_part(
    queries: Float[Array, "b h g c d"],
    keys: Float[Array, "b s h d"],
    values: Float[Array, "b s h d"],
    seen: Bool[Array, "b g c s"],
) -> PartialSoftmax:
    """Return the softmax over keys that all blocks share.

    Args:
        queries: of a group.
        keys, values: in float32 or wider: their gradients are summed over groups in their type.
        seen: which of them each query sees.
    """
    batch, heads, *blocks, dim = queries.shape
    flat = queries.reshape(batch, heads, -1, dim)
    keys, values = (head_major(x.astype(queries.dtype)) for x in (keys, values))
    part = part_of(flat, keys, values, seen.reshape(len(seen), 1, -1, seen.shape[-1]))
    return jax.tree.map(lambda x: x.reshape(batch, heads, *blocks, -1), part)


def full_attention(
    queries: Float[Array, "b q h d"],
    k: Float[Array, "b l h d"],
    v: Float[Array, "b l h d"],
    seen: Bool[Array, "b q_or_1 l"],
) -> Float[Array, "b q h d"]:
    """Return the attention of a few queries, such as global ones, to all keys that are seen."""
    part = part_of(head_major(queries), head_major(k), head_major(v), seen[:, None])
    return token_major(part.average()).astype(v.dtype)
