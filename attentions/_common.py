"""What several mechanisms share: head-major layout, masked softmax."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

# Below every logit that real tokens can have, and finite, so that no inf - inf arises.
MASKED = -1e30


def head_major(x: Float[Array, "b l h d"]) -> Float[Array, "b h l d"]:
    """Put heads before tokens, so that what follows are plain batched matrix products."""
    return jnp.swapaxes(x, 1, 2)


def token_major(x: Float[Array, "b h l d"]) -> Float[Array, "b l h d"]:
    """Undo `head_major`."""
    return jnp.swapaxes(x, 1, 2)


def without_padding(
    x: Float[Array, "b l h d"], mask: Bool[Array, "b l"]
) -> Float[Array, "b l h d"]:
    """Zero the padded tokens, so that not even a NaN there can reach the output or a gradient."""
    return jnp.where(mask[:, :, None, None], x, 0)


def dot_products(
    queries: Float[Array, "*b q d"], keys: Float[Array, "*b k d"]
) -> Float[Array, "*b q k"]:
    """Q K^T / sqrt(d) in float32 or better, whatever the inputs are: exponents need the digits."""
    dtype = jnp.promote_types(queries.dtype, jnp.float32)
    products = jnp.einsum("...qd,...kd->...qk", queries, keys, preferred_element_type=dtype)
    return products * queries.shape[-1] ** -0.5


def softmax_average(
    logits: Float[Array, "*b q k"], values: Float[Array, "*b k d"]
) -> Float[Array, "*b q d"]:
    """softmax(logits) values, in the values' dtype."""
    weights = jax.nn.softmax(logits, axis=-1)
    return weights.astype(values.dtype) @ values
