"""The random projections of FAVOR+."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key


def orthogonal_gaussian(key: Key[Array, ""], num_features: int, dim: int) -> Float[Array, "m d"]:
    """Rows that are marginally N(0, I_d) and orthogonal within each block of d rows.

    Each block is a Haar-distributed orthogonal matrix (the Q of a Gaussian matrix's QR with
    R's diagonal made positive) whose rows get the norms of independent Gaussian vectors:
    "R-ORF" of Section 2.4 and Appendix B.2 of the Performer paper. Unbiased as iid rows are,
    with less variance (Theorem 2).
    """
    blocks = -(-num_features // dim)
    direction_key, norm_key = jax.random.split(key)
    q, r = jnp.linalg.qr(jax.random.normal(direction_key, (blocks, dim, dim)))
    signs = jnp.sign(jnp.diagonal(r, axis1=1, axis2=2))
    directions = (q * signs[:, None, :]).swapaxes(1, 2).reshape(blocks * dim, dim)
    norms = jnp.linalg.norm(jax.random.normal(norm_key, (num_features, dim)), axis=1)
    return directions[:num_features] * norms[:, None]
