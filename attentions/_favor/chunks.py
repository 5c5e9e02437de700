"""Tokens in chunks, and the features of a chunk."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from lra_bench.attentions._common import MASKED
from lra_bench.attentions._favor.features import FeatureMap, Features

# Tokens a chunk, at most; with fewer than eight heads in the batch as many more, so that a chunk is
# work for all cores while its features stay in a CPU's cache. A causal chunk is a row of blocks,
# within which all pairs cost l t (m + d). Measured by benchmarks/attention.py.
_CHUNK, _CAUSAL_CHUNK, _BLOCK = 256, 512, 64
_HEADS = 8
_ALIGNED = 8
# A normaliser below this has lost its digits to underflow; its inverse would overflow gradients.
_EMPTY = 1e-30


@dataclass(frozen=True)
class Plan:
    """What the loops are compiled for.

    Attributes:
        length: tokens of a sequence.
        chunk: tokens of a chunk.
        block: tokens of a block of a causal chunk.
        dim: values of a token's features.
        causal, renormalize: as in `kernel_attention`.
        exponential: whether the features have exponents, which then are shifted.
        axis: of the mesh, over whose devices the tokens are cut; None where all are here.
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
        """The plan for queries of that shape: chunks of about equal length."""
        batch, length, heads, dim = shape
        aligned, longest = (_BLOCK, _CAUSAL_CHUNK) if causal else (_ALIGNED, _CHUNK)
        aligned = min(aligned, length)
        longest *= max(1, _HEADS // (batch * heads))
        count = -(-length // longest)
        chunk = -(-length // count)
        if count > 1 or causal:
            chunk = -(-chunk // aligned) * aligned
        token = jax.ShapeDtypeStruct((1, dim), jnp.float32)
        made = jax.eval_shape(features, token, drawn)
        exponential = made.exponent is not None
        return cls(length, chunk, aligned, made.dim, causal, renormalize, exponential, axis)

    @property
    def padding(self) -> int:
        """Tokens that the last chunk lacks."""
        return -self.length % self.chunk


class Residuals(NamedTuple):
    """What the backward pass is given: inputs, output, each query's gain, the loops' states."""

    q: Float[Array, "b l h d"]
    k: Float[Array, "b l h d"]
    v: Float[Array, "b l h d"]
    mask: Bool[Array, "b l"]
    drawn: Any
    out: Float[Array, "b l h d"]
    gain: Float[Array, "n b h c 1"]
    kept: Any

    def by_token(self, chunk: int) -> tuple[Array, Array, Array, Array, Array]:
        """q, k, v, mask and out in chunks."""
        q, k, v, mask, out = (cut(x, chunk) for x in (self.q, self.k, self.v, self.mask, self.out))
        return q, k, v, mask, out


def padded(x: Array, tokens: int) -> Array:
    """With zeros, or False, after the last token."""
    return jnp.pad(x, [(0, 0), (0, tokens)] + [(0, 0)] * (x.ndim - 2))


def cut(x: Array, chunk: int) -> Array:
    """(b, n c, ...) -> (n, b, c, ...), for a loop over chunks."""
    return jnp.swapaxes(x.reshape(x.shape[0], -1, chunk, *x.shape[2:]), 0, 1)


def join(x: Float[Array, "n b c h d"]) -> Float[Array, "b l h d"]:
    """Undo `cut`."""
    return jnp.swapaxes(x, 0, 1).reshape(x.shape[1], -1, *x.shape[3:])


def wide(x: Array) -> Array:
    """In float32 or wider: exponents and sums need the digits."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def product(equation: str, a: Array, b: Array, dtype: Any) -> Array:
    """A product of features with values of `dtype`: inputs in that, sums in float32 or wider."""
    out = jnp.promote_types(dtype, jnp.float32)
    return jnp.einsum(equation, a.astype(dtype), b.astype(dtype), preferred_element_type=out)


def real_keys(mask: Bool[Array, "b c"]) -> Bool[Array, "b 1 c 1"]:
    """The mask beside head-major keys."""
    return mask[:, None, :, None]


def values_of(v: Float[Array, "b c h d"], mask: Bool[Array, "b c"]) -> Float[Array, "b h c d"]:
    """Values, head-major, zero at padding."""
    return jnp.where(real_keys(mask), jnp.swapaxes(v, 1, 2), 0)


def keys_of(
    features: FeatureMap, k: Float[Array, "b c h d"], mask: Bool[Array, "b c"], drawn: Any
) -> Features:
    """Features of the keys, zero at padding, where not even a NaN is read."""
    real = real_keys(mask)
    return features(wide(jnp.where(real, jnp.swapaxes(k, 1, 2), 0)), drawn).where(real)


def raised(shift: Array | None, keys: Features) -> Array | None:
    """The largest exponent of each feature, by now."""
    if keys.exponent is None or shift is None:
        return None
    return jnp.maximum(shift, lax.stop_gradient(jnp.max(keys.exponent, axis=2, keepdims=True)))


def no_shift(plan: Plan, shape: tuple[int, ...]) -> Float[Array, "b h 1 m"] | None:
    """The largest exponents before the first key."""
    return jnp.full((shape[0], shape[2], 1, plan.dim), MASKED) if plan.exponential else None


def usable(shift: Array | None) -> Array | None:
    """The shift, 0 where no key was real."""
    return None if shift is None else jnp.where(shift == MASKED, 0, shift)


def opposite(shift: Array | None) -> Array | None:
    """-shift."""
    return None if shift is None else -shift


def rescaled(
    weighted: Array, totals: Array, before: Array | None, now: Array | None
) -> tuple[Array, Array]:
    """Sums of features shifted by `before`, as if shifted by `now`."""
    if before is None or now is None:
        return weighted, totals
    scale = jnp.exp(before - now)
    return weighted * scale, totals * scale[:, :, 0]


def queries_of(
    features: FeatureMap, q: Float[Array, "b c h d"], shift: Array | None, drawn: Any
) -> tuple[Float[Array, "b h c m"], Float[Array, "b h c 1"]]:
    """Features of the queries, shifted so that each query's largest exponent is 0; that shift."""
    made = features(wide(jnp.swapaxes(q, 1, 2)), drawn).shifted(shift)
    if made.exponent is None:
        value = made.value()
        return value, jnp.zeros((*value.shape[:3], 1), value.dtype)
    largest = lax.stop_gradient(jnp.max(made.exponent, axis=-1, keepdims=True))
    return made.shifted(-largest).value(), largest


def gain_of(
    plan: Plan, normaliser: Float[Array, "b h c 1"], largest: Float[Array, "b h c 1"]
) -> Float[Array, "b h c 1"]:
    """What the numerator is multiplied by: 1 / normaliser, 0 where that is next to 0."""
    if not plan.renormalize:
        return jnp.exp(largest)
    empty = jnp.abs(normaliser) < _EMPTY
    return jnp.where(empty, 0, 1 / jnp.where(empty, 1, normaliser))


def gradient_of_parts(
    plan: Plan, gain: Float[Array, "b h c 1"], out: Array, gradient: Array
) -> tuple[Float[Array, "b h c d"], Float[Array, "b h c 1"]]:
    """The gradients of numerator and normaliser, from those of the output, (b, c, h, d)."""
    out, gradient = (wide(jnp.swapaxes(x, 1, 2)) for x in (out, gradient))
    of_numerator = gradient * gain
    if not plan.renormalize:
        return of_numerator, jnp.zeros_like(gain)
    return of_numerator, -jnp.sum(of_numerator * out, axis=-1, keepdims=True)
