"""What is shared by tests against dense references: the mask, float64, how closely they agree."""

import jax
import jax.numpy as jnp
import numpy as np

from lra_bench.verification.subject import LENGTH, REAL, lengths_mask

MASK = lengths_mask(LENGTH, REAL)


def float64(*arrays):
    return [np.asarray(x, np.float64) for x in arrays]


def agree(found, expected, tolerance=2e-5):
    np.testing.assert_allclose(
        np.asarray(found)[MASK], expected[MASK], rtol=tolerance, atol=tolerance
    )


def kernel_attention_by_logarithms(features, drawn, q, k, v, mask, *, causal):
    """Renormalised kernel attention as an L x L matrix; no exponent is too large or too small.

    Run it in float64, under `jax.enable_x64(True)`, on features that have exponents.
    """
    phi_q, phi_k = (features(jnp.swapaxes(x, 1, 2), drawn) for x in (q, k))
    seen = mask[:, None, None, :] & (jnp.tri(q.shape[1], dtype=bool) if causal else True)
    exponents = phi_q.exponent[:, :, :, None] + phi_k.exponent[:, :, None]
    exponents = jnp.where(seen[..., None], exponents, -jnp.inf)
    largest = jnp.max(exponents, axis=(3, 4), keepdims=True)
    terms = jnp.exp(exponents - jax.lax.stop_gradient(largest))
    if phi_q.factor is not None:
        terms *= phi_q.factor[:, :, :, None] * phi_k.factor[:, :, None]
    pairs = jnp.sum(terms, axis=-1)
    weights = pairs / jnp.sum(pairs, axis=-1, keepdims=True)
    return jnp.einsum("bhqk,bkhd->bqhd", weights, v)
