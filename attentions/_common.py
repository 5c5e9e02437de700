"""Code that several mechanisms share: head-major layout, masked softmax."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

# Lower than the logit of any real token, yet finite, so that inf - inf never occurs.
MASKED = -1e30


def head_major(x: Float[Array, "b l h d"]) -> Float[Array, "b h l d"]:
    """Put heads before tokens, so that attention becomes plain batched matrix products."""
    return jnp.swapaxes(x, 1, 2)


def token_major(x: Float[Array, "b h l d"]) -> Float[Array, "b l h d"]:
    """Undo `head_major`."""
    return jnp.swapaxes(x, 1, 2)


def without_padding(
    x: Float[Array, "b l h d"], mask: Bool[Array, "b l"]
) -> Float[Array, "b l h d"]:
    """Set padded tokens to zero, so that even a NaN there reaches no output and no gradient."""
    return jnp.where(mask[:, :, None, None], x, 0)


def wide_dtype(x: Array) -> jnp.dtype:
    """Return float32, or the dtype of x if that is wider."""
    return jnp.promote_types(x.dtype, jnp.float32)


def wide(x: Array) -> Array:
    """Convert to float32 unless x is wider: exponents and sums need the digits."""
    return x.astype(wide_dtype(x))


def summed(equation: str, a: Array, b: Array) -> Array:
    """Return `jnp.einsum(equation, a, b)` with sums and result in float32 or wider.

    Without a word on the dtype of sums, XLA may add up bfloat16 numbers in bfloat16.
    """
    dtype = jnp.promote_types(jnp.promote_types(a.dtype, b.dtype), jnp.float32)
    return jnp.einsum(equation, a, b, preferred_element_type=dtype)


def dot_products(
    queries: Float[Array, "*b q d"], keys: Float[Array, "*b k d"]
) -> Float[Array, "*b q k"]:
    """Compute Q K^T / sqrt(d), at least in float32: exponents need the digits."""
    return summed("...qd,...kd->...qk", queries, keys) * queries.shape[-1] ** -0.5


def softmax_average(
    logits: Float[Array, "*b q k"], values: Float[Array, "*b k d"]
) -> Float[Array, "*b q d"]:
    """Compute softmax(logits) values, in the dtype of `values`."""
    weights = jax.nn.softmax(logits, axis=-1)
    out = summed("...qk,...kd->...qd", weights.astype(values.dtype), values)
    return out.astype(values.dtype)


def check_count(**options: int) -> None:
    """Check options that count something.

    Raises:
        ValueError: one is not a whole number of at least 1.
    """
    for name, value in options.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ValueError(f"{name}={value}: must be a whole number of at least 1")


def check_not_negative(**options: float) -> None:
    """Check options that are added to something.

    Raises:
        ValueError: one is negative or not finite.
    """
    for name, value in options.items():
        if not (math.isfinite(value) and value >= 0):
            raise ValueError(f"{name}={value}: must be a finite number of at least 0")


def count_of_tokens(name: str, value: int, usual: int, max_len: int) -> int:
    """Return an option that counts tokens; the usual value is lowered to `max_len`.

    Raises:
        ValueError: another value is less than 1 or more than `max_len`, so can't be used.
    """
    check_count(**{name: value})
    if value > max_len and value != usual:
        raise ValueError(f"{name}={value}: must be at most {max_len}, the length of the model")
    return min(value, max_len)
