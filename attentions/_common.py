"""What several mechanisms share: head-major layout, masked softmax, kernel attention."""

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
    """Q K^T in float32 or better, whatever the inputs are: exponents need the digits."""
    dtype = jnp.promote_types(queries.dtype, jnp.float32)
    return jnp.einsum("...qd,...kd->...qk", queries, keys, preferred_element_type=dtype)


def softmax_average(
    logits: Float[Array, "*b q k"], values: Float[Array, "*b k d"]
) -> Float[Array, "*b q d"]:
    """softmax(logits) values, in the values' dtype."""
    weights = jax.nn.softmax(logits, axis=-1)
    return weights.astype(values.dtype) @ values


def kernel_attention(
    phi_q: Float[Array, "b h l m"],
    phi_k: Float[Array, "b h l m"],
    v: Float[Array, "b h l d"],
) -> Float[Array, "b h l d"]:
    """D^-1 (Q' ((K')^T V)) with D = diag(Q' ((K')^T 1)), Eq. (4) of the Performer paper.

    Where a query's normaliser is zero (no real key) the output is zero.
    Time O(l m d), memory O(l m + m d).
    """
    dtype = jnp.promote_types(v.dtype, jnp.float32)
    weighted = jnp.einsum("bhlm,bhld->bhmd", phi_k, v, preferred_element_type=dtype)
    totals = jnp.sum(phi_k, axis=2, dtype=dtype)
    numerator = jnp.einsum(
        "bhlm,bhmd->bhld", phi_q, weighted.astype(phi_q.dtype), preferred_element_type=dtype
    )
    denominator = jnp.einsum("bhlm,bhm->bhl", phi_q.astype(dtype), totals)[..., None]
    empty = denominator == 0
    return jnp.where(empty, 0, numerator / jnp.where(empty, 1, denominator)).astype(v.dtype)
