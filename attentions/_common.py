"""Code that several mechanisms share: head-major layout, masked softmax."""

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


def dot_products(
    queries: Float[Array, "*b q d"], keys: Float[Array, "*b k d"]
) -> Float[Array, "*b q k"]:
    """Compute Q K^T / sqrt(d), at least in float32: exponents need the digits."""
    dtype = jnp.promote_types(queries.dtype, jnp.float32)
    products = jnp.einsum("...qd,...kd->...qk", queries, keys, preferred_element_type=dtype)
    return products * queries.shape[-1] ** -0.5


def softmax_average(
    logits: Float[Array, "*b q k"], values: Float[Array, "*b k d"]
) -> Float[Array, "*b q d"]:
    """Compute softmax(logits) values, in the dtype of `values`."""
    weights = jax.nn.softmax(logits, axis=-1)
    return weights.astype(values.dtype) @ values
