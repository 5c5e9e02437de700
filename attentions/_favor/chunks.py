"""Cut tokens into chunks, and compute the features of one chunk."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from lra_bench.attentions._common import MASKED, wide
from lra_bench.attentions._favor.features import FeatureMap, Features
from lra_bench.runtime.mesh import platform

# The largest numbers of tokens in a chunk and in a block, on CPUs. A chunk may be longer until its
# features of a head are `_FEW` values, because work that does not depend on their number then
# counts more. With fewer than eight heads in the batch chunks get longer in proportion, so that a
# chunk keeps all cores busy while its features stay in a CPU's cache. A causal chunk is a row of
# blocks of t tokens, within which the products of all pairs cost l t (m + d). The values were
# chosen by benchmarks/attention.py.
_CHUNK, _CAUSAL_CHUNK, _BLOCK = 256, 128, 64
_FEW = 2**15
_HEADS = 8
_ALIGNED = 8
# On GPUs and TPUs the features of a chunk take this many bytes in float32, because a chunk costs
# some 40 launches of kernels on a GPU, in all loops together. A chunk has at least `_CHUNK` tokens.
# A causal one has at most `_LONGEST_CAUSAL`, as its blocks are added up one by one.
# docs/efficiency.md, "Chunks", has the measurements.
_FEATURE_BYTES = 32 * 2**20
_LONGEST_CAUSAL = {"gpu": 1_024, "tpu": 256}
# A smaller normaliser has lost its digits to underflow, and its inverse would overflow gradients.
_EMPTY = 1e-30
# Values below 1e-38 are lost. A normaliser of at least this size has not noticed.
_WEAK = 1e-20
# The largest exponent of a query that is undone without renormalisation; exp(89) is infinite.
_LARGEST_GAIN = 60.0


@dataclass(frozen=True)
class Plan:
    """A plan holds the sizes and options that the loops are compiled for.

    Attributes:
        length: tokens per sequence.
        chunk: tokens per chunk.
        block: tokens per block of a causal chunk.
        dim: feature values per token.
        causal, renormalize: as in `kernel_attention`.
        exponential: whether the features have exponents, which are then shifted.
        axis: the mesh axis over whose devices the tokens are spread; None if this device has all.
    """

    length: int
    chunk: int
    block: int
    dim: int
    causal: bool
    renormalize: bool
    exponential: bool
    axis: str | None

    @classmethod
    def of(
        cls,
        shape: tuple[int, ...],
        features: FeatureMap,
        drawn: Any,
        *,
        causal: bool,
        renormalize: bool,
        axis: str | None,
    ) -> "Plan":
        """Make the plan for queries of shape (b, l, h, d), with chunks of about equal length."""
        batch, length, heads, dim = shape
        token = jax.ShapeDtypeStruct((1, dim), jnp.float32)
        shapes = jax.eval_shape(features, token, drawn)
        aligned = min(_BLOCK if causal else _ALIGNED, length)
        count = -(-length // _longest(batch * heads, shapes.dim, causal=causal))
        chunk = -(-length // count)
        if count > 1 or causal:
            chunk = -(-chunk // aligned) * aligned
        exponential = shapes.exponent is not None
        return cls(length, chunk, aligned, shapes.dim, causal, renormalize, exponential, axis)

    @property
    def padding(self) -> int:
        """Return the number of tokens that the last chunk lacks."""
        return -self.length % self.chunk


def _longest(heads: int, dim: int, *, causal: bool) -> int:
    """Return the largest number of tokens in a chunk, for the device that is compiled for.

    Args:
        heads: the heads of the whole batch; those of one device would make rounding errors depend
            on the number of devices.
        dim: feature values per token.
        causal: as in `kernel_attention`.
    """
    device = platform()
    if device == "cpu":
        tokens = _CAUSAL_CHUNK if causal else max(_CHUNK, _FEW // dim)
        return tokens * max(1, _HEADS // heads)
    tokens = max(_CHUNK, _FEATURE_BYTES // (heads * dim * 4))
    return min(tokens, _LONGEST_CAUSAL.get(device, _CHUNK)) if causal else tokens


class Residuals(NamedTuple):
    """Residuals hold what the backward pass reads.

    Attributes:
        q, k, v, mask, drawn: the inputs.
        out: the output.
        gain: each query's gain, as in `gain_of`.
        kept: the shifts and sums of the forward loop.
    """

    q: Float[Array, "b l h d"]
    k: Float[Array, "b l h d"]
    v: Float[Array, "b l h d"]
    mask: Bool[Array, "b l"]
    drawn: Any
    out: Float[Array, "b l h d"]
    gain: Float[Array, "n b h c 1"]
    kept: Any


def padded(x: Array, tokens: int) -> Array:
    """Append `tokens` tokens of zeros, or of False."""
    return jnp.pad(x, [(0, 0), (0, tokens)] + [(0, 0)] * (x.ndim - 2))


def over_chunks(
    step: Callable[..., tuple[Any, tuple[Array, ...], Any]],
    carry: Any,
    tokens: tuple[Array, ...],
    chunk: int,
    kept: Any = None,
    *,
    into: tuple[Array, ...] = (),
    reverse: bool = False,
) -> tuple[Any, list[Array], Any]:
    """Call `step` on one chunk of tokens after the other, and put the chunks it returns together.

    Chunks are read from and written to arrays of all tokens. Cutting these into a stack of chunks
    first would copy them, and so would joining a stack of results.

    Args:
        step: maps the carry, a tuple of chunks (b, c, ...) and a chunk's part of `kept` to the
            next carry, a tuple of chunks of results, and what to stack.
        carry: the carry of the first chunk.
        tokens: arrays (b, n c, ...).
        chunk: c, the tokens of a chunk.
        kept: arrays (n, ...), one part for each chunk.
        into: arrays that are no longer needed and are overwritten by the results, so that no
            memory is allocated. Results start as zeros without them, or where shapes differ, as
            they do where queries have another width than values.
        reverse: whether to begin with the last chunk.

    Returns:
        The last carry, the results as arrays (b, n c, ...), and the stacks.
    """

    def read(index: Array | int) -> tuple[Array, ...]:
        return tuple(lax.dynamic_slice_in_dim(x, index * chunk, chunk, axis=1) for x in tokens)

    def turn(state: Any, x: Any) -> Any:
        carry, results = state
        index, kept = x
        carry, parts, stacked = step(carry, read(index), kept)
        write = functools.partial(lax.dynamic_update_slice_in_dim, axis=1)
        results = [write(a, b, index * chunk) for a, b in zip(results, parts, strict=True)]
        return (carry, results), stacked

    batch, length = tokens[0].shape[:2]
    first = jax.tree.map(lambda x: x[0], kept)
    parts = jax.eval_shape(lambda: step(carry, read(0), first)[1])
    results = [jnp.zeros((batch, length, *x.shape[2:]), x.dtype) for x in parts]
    if into:
        results = [
            x.astype(zeros.dtype) if x.shape == zeros.shape else zeros
            for x, zeros in zip(into, results, strict=True)
        ]
    x = jnp.arange(length // chunk), kept
    (carry, results), stacked = lax.scan(turn, (carry, results), x, reverse=reverse)
    return carry, results, stacked


def product(equation: str, a: Array, b: Array, dtype: Any) -> Array:
    """Multiply features by values, with inputs in `dtype` and sums in float32 or wider."""
    out = jnp.promote_types(dtype, jnp.float32)
    return jnp.einsum(equation, a.astype(dtype), b.astype(dtype), preferred_element_type=out)


def real_keys(mask: Bool[Array, "b c"]) -> Bool[Array, "b 1 c 1"]:
    """Return the mask in a shape that broadcasts with head-major keys."""
    return mask[:, None, :, None]


def values_of(v: Float[Array, "b c h d"], mask: Bool[Array, "b c"]) -> Float[Array, "b h c d"]:
    """Return the values head-major, with zeros at padding."""
    return jnp.where(real_keys(mask), jnp.swapaxes(v, 1, 2), 0)


def keys_of(
    features: FeatureMap, k: Float[Array, "b c h d"], mask: Bool[Array, "b c"], drawn: Any
) -> Features:
    """Return the features of the keys, zero at padding, where even a NaN is not read."""
    real = real_keys(mask)
    return features(wide(jnp.where(real, jnp.swapaxes(k, 1, 2), 0)), drawn).where(real)


def raised(shift: Array | None, keys: Features) -> Array | None:
    """Return the largest exponent of each feature, in `shift` or among `keys`."""
    if keys.exponent is None or shift is None:
        return None
    return jnp.maximum(shift, lax.stop_gradient(jnp.max(keys.exponent, axis=2, keepdims=True)))


def no_shift(plan: Plan, shape: tuple[int, ...]) -> Float[Array, "b h 1 m"] | None:
    """Return the shift before the first key; None for features without exponents."""
    return jnp.full((shape[0], shape[2], 1, plan.dim), MASKED) if plan.exponential else None


def usable(shift: Array | None) -> Array | None:
    """Return the shift, or 0 where no key was real."""
    return None if shift is None else jnp.where(shift == MASKED, 0, shift)


def opposite(shift: Array | None) -> Array | None:
    """Return -shift."""
    return None if shift is None else -shift


class PrefixSums(NamedTuple):
    """Prefix sums are sums over the keys before a chunk.

    Attributes:
        shift: the shift of the sums: the largest exponent of each feature, or a larger number;
            None for features without exponents.
        weighted: the sum of phi(k_j) v_j^T.
        totals: the sum of phi(k_j).
    """

    shift: Float[Array, "b h 1 m"] | None
    weighted: Float[Array, "b h d m"]
    totals: Float[Array, "b h m"]

    def shifted_to(self, shift: Array | None) -> "PrefixSums":
        """Return the same sums with the shift `shift`."""
        return PrefixSums(shift, *rescaled(self.weighted, self.totals, self.shift, shift))


def rescaled(
    weighted: Array, totals: Array, before: Array | None, now: Array | None
) -> tuple[Array, Array]:
    """Rescale sums of features that were shifted by `before` to the shift `now`."""
    if before is None or now is None:
        return weighted, totals
    scale = jnp.exp(before - now)
    return weighted * scale, totals * scale[:, :, 0]


def queries_of(
    features: FeatureMap,
    q: Float[Array, "b c h d"],
    shift: Array | None,
    drawn: Any,
    largest: Array | None = None,
) -> tuple[Float[Array, "b h c m"], Float[Array, "b h c 1"]]:
    """Return the features of the queries, and each query's largest exponent.

    Features are shifted by `shift`, then so that each query's largest exponent is 0. The backward
    pass gives `largest`, which the forward pass found.
    """
    return lifted(features(wide(jnp.swapaxes(q, 1, 2)), drawn), shift, largest)


def lifted(
    queries: Features, shift: Array | None, largest: Array | None = None
) -> tuple[Float[Array, "*b m"], Float[Array, "*b 1"]]:
    """Return what `queries_of` returns, for features that are already computed."""
    queries = queries.shifted(shift)
    if queries.exponent is None:
        value = queries.value()
        return value, jnp.zeros((*value.shape[:-1], 1), value.dtype)
    if largest is None:
        largest = lax.stop_gradient(jnp.max(queries.exponent, axis=-1, keepdims=True))
    return queries.shifted(-largest).value(), largest


def gain_of(
    plan: Plan, normaliser: Float[Array, "b h c 1"], largest: Float[Array, "b h c 1"]
) -> Float[Array, "b h c 1"]:
    """Return the factor of the numerator: 1 / normaliser, or 0 if the normaliser is close to 0.

    Without renormalisation the factor is exp(largest), which undoes the shift of the query. It is
    at most e^60: from about e^89 on it would be infinite, and infinity times 0 is NaN.
    """
    if not plan.renormalize:
        return jnp.exp(jnp.minimum(largest, _LARGEST_GAIN))
    empty = jnp.abs(normaliser) < _EMPTY
    return jnp.where(empty, 0, 1 / jnp.where(empty, 1, normaliser))


def is_weak(
    plan: Plan,
    normaliser: Float[Array, "b h c"],
    largest: Float[Array, "b h c"],
    mask: Bool[Array, "b c"],
) -> Bool[Array, ""]:
    """Return whether a real query of a causal chunk may have lost digits to a later key.

    The products phi(q_i)^T phi(k_j) are then so small that some of them, or of their factors,
    have underflowed. Without renormalisation the gain may be cut off because of that key.
    """
    if not plan.exponential:
        return jnp.zeros((), bool)
    lost = jnp.abs(normaliser) < _WEAK
    if not plan.renormalize:
        lost |= largest > _LARGEST_GAIN
    return jnp.any(mask[:, None] & lost)


def gradient_of_parts(
    plan: Plan, gain: Float[Array, "b h c 1"], out: Array, gradient: Array
) -> tuple[Float[Array, "b h c d"], Float[Array, "b h c 1"]]:
    """Return the gradients of numerator and normaliser, from that of the output (b, c, h, d)."""
    out, gradient = (wide(jnp.swapaxes(x, 1, 2)) for x in (out, gradient))
    of_numerator = gradient * gain
    if not plan.renormalize:
        return of_numerator, jnp.zeros_like(gain)
    return of_numerator, -jnp.sum(of_numerator * out, axis=-1, keepdims=True)
