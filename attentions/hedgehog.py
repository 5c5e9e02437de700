"""Hedgehog: linear attention whose learned features imitate those of softmax."""

from typing import Annotated

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jaxtyping import Array, Bool, Float

from lra_bench.attentions._common import (
    MASKED,
    dot_products,
    head_major,
    summed,
    wide,
    without_padding,
)
from lra_bench.attentions._favor import Features, kernel_attention
from lra_bench.attentions._state import Options, kernel_sums
from lra_bench.contracts import Dims, Range
from lra_bench.registry import register_attention

# Smaller attention weights count as this one in the loss, whose logarithm is finite.
_LEAST = 1e-12
_CHUNK = 128


def _state(dims: Dims, options: Options) -> int:
    """Return the sums over keys, of 2 d features."""
    del options
    return kernel_sums(dims, 2 * dims.head_dim)


@register_attention("hedgehog", equivariant=True, family="kernel", state=_state)
class Hedgehog(nnx.Module):
    """Compute kernel attention with phi(x) = (softmax(W x), softmax(-W x)).

    Softmaxes are over the d features of W x, as in the authors' later code (LoLCATs,
    `src/model/feature_map.py`); the paper's Section 4 has exponentials of W x + b and -(W x + b),
    which are not divided by their sums, so that a key with a large norm outweighs others. Each head
    has a W for queries and another for keys, of shape (d, d), which start as I: 2 h d^2 learned
    numbers in a layer. To replace softmax in a trained model, as the paper does, start from a run
    with softmax and set `distil_steps`: `lra-bench run --attention hedgehog --init-from RUN --set
    attention.distil_steps=1000`. W alone is then trained first, by `distillation_loss`, on the
    queries and keys of the model with softmax.
    Time O(l d^2), memory O(l d + d^2).
    Backward, the causal form also keeps l d^2 / c numbers, with chunks of c tokens
    (128 on CPUs, more on other devices).

    Args:
        dims: sizes of the model.
        distil_steps: updates of W by `distillation_loss` before a run that starts from another
            run; its own steps follow.
        causal: whether a token sees only itself and earlier tokens.
        rngs: not used; W starts as I.

    References:
        Zhang et al. 2024, "The Hedgehog & the Porcupine: Expressive Linear Attentions with Softmax
        Mimicry", arXiv:2402.04347.
    """

    def __init__(
        self,
        dims: Dims,
        *,
        distil_steps: Annotated[int, Range(0, 2**31 - 1)] = 0,
        causal: bool = False,
        rngs: nnx.Rngs,
    ) -> None:
        del rngs
        start = jnp.broadcast_to(
            jnp.eye(dims.head_dim, dtype=jnp.float32),
            (dims.num_heads, dims.head_dim, dims.head_dim),
        )
        self.query_map, self.key_map = nnx.Param(start), nnx.Param(start)
        self.distil_steps, self.causal = distil_steps, causal

    def __call__(
        self,
        q: Float[Array, "b l h d"],
        k: Float[Array, "b l h d"],
        v: Float[Array, "b l h d"],
        mask: Bool[Array, "b l"],
    ) -> Float[Array, "b l h d"]:
        """Attend to the real `k` and `v`."""
        q, k = self.mapped(q, k, mask)
        return kernel_attention(q, k, v, mask, hedgehog_features, causal=self.causal)

    def distillation_loss(
        self, q: Float[Array, "b l h d"], k: Float[Array, "b l h d"], mask: Bool[Array, "b l"]
    ) -> Float[Array, ""]:
        """Return the loss by which W learns to imitate softmax; see the function."""
        return distillation_loss(self, q, k, mask)

    def mapped(
        self, q: Float[Array, "b l h d"], k: Float[Array, "b l h d"], mask: Bool[Array, "b l"]
    ) -> tuple[Float[Array, "b l h d"], Float[Array, "b l h d"]]:
        """Return W q and W k, in float32 or wider: exponents need the digits.

        Both are 0 at padding, where even a NaN reaches no gradient of W.
        """
        q, k = (wide(without_padding(x, mask)) for x in (q, k))
        return _times(q, self.query_map[...]), _times(k, self.key_map[...])


def _times(x: Float[Array, "b l h d"], w: Float[Array, "h d d"]) -> Float[Array, "b l h d"]:
    return jnp.einsum("blhd,hed->blhe", x, w.astype(x.dtype), precision=lax.Precision.HIGHEST)


def hedgehog_features(x: Float[Array, "*b d"], drawn: None) -> Features:
    """Return (softmax(x), softmax(-x)), of 2 d values."""
    del drawn
    return Features(jnp.concatenate([jax.nn.log_softmax(x), jax.nn.log_softmax(-x)], axis=-1), None)


def distillation_loss(
    module: Hedgehog,
    q: Float[Array, "b l h d"],
    k: Float[Array, "b l h d"],
    mask: Bool[Array, "b l"],
) -> Float[Array, ""]:
    """Return the cross-entropy of a module's attention weights under those of softmax.

    -sum_j a_ij log(b_ij), where a_i are the weights of softmax(q_i^T k / sqrt(d)) and b_i those of
    phi(q_i)^T phi(k) / sum_j phi(q_i)^T phi(k_j), averaged over real queries and heads. It is least
    where they are equal, and then is the entropy of a. Weights b below 1e-12 count as 1e-12. Only
    real keys count and, if the module is causal, only those up to the query.
    Time O(l^2 d), memory O(l c) with chunks of c = 128 queries, also backward.

    References:
        Zhang et al. 2024, "The Hedgehog & the Porcupine: Expressive Linear Attentions with Softmax
        Mimicry", arXiv:2402.04347.
    """
    length, chunk = q.shape[1], min(_CHUNK, q.shape[1])
    keys = head_major(without_padding(k, mask))
    mapped = module.mapped(q, k, mask)
    phi_q, phi_k = (hedgehog_features(head_major(x), None).value() for x in mapped)
    fill = -length % chunk

    def chunks(x: Array) -> Array:
        x = jnp.pad(x, [(0, 0), (0, 0), (0, fill), (0, 0)])
        return jnp.moveaxis(x.reshape(*x.shape[:2], -1, chunk, x.shape[-1]), 2, 0)

    @jax.checkpoint
    def add(total: Array, part: tuple[Array, ...]) -> tuple[Array, None]:
        first, q, phi_q, real = part
        seen = mask[:, None, None]
        if module.causal:
            seen = seen & (first + jnp.arange(chunk)[:, None] >= jnp.arange(length))
        exact = jax.nn.softmax(jnp.where(seen, dot_products(q, keys), MASKED))
        pairs = jnp.where(seen, summed("bhcm,bhlm->bhcl", phi_q, phi_k), 0)
        weights = pairs / jnp.maximum(jnp.sum(pairs, axis=-1, keepdims=True), _LEAST)
        losses = -jnp.sum(exact * jnp.log(jnp.maximum(weights, _LEAST)), axis=-1)
        return total + jnp.sum(jnp.where(real[..., 0], losses, 0)), None

    queries = head_major(without_padding(q, mask))
    real = jnp.broadcast_to(head_major(mask[:, :, None, None]), (*queries.shape[:3], 1))
    parts = (jnp.arange(0, length + fill, chunk), *(chunks(x) for x in (queries, phi_q, real)))
    total, _ = lax.scan(add, jnp.zeros((), jnp.float32), parts)
    return total / (jnp.maximum(jnp.sum(mask), 1) * q.shape[2])
