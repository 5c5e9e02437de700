"""Luna: attention that packs the sequence into a few tokens and unpacks it again."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from lra_bench.attentions._common import (
    MASKED,
    check_count,
    dot_products,
    head_major,
    summed,
    token_major,
    without_padding,
)
from lra_bench.attentions._state import Options
from lra_bench.contracts import Dims
from lra_bench.registry import register_attention


def _state(dims: Dims, options: Options) -> int:
    """Return the packed keys and values; there may be more of them than tokens."""
    return 2 * dims.inner * options["num_packed"]


@register_attention("luna", equivariant=True, family="low-rank", state=_state)
class Luna(nnx.Module):
    """Compute softmax(Q (A K)^T / sqrt(d)) (A V) with A = softmax(P K^T / sqrt(d)).

    The pack attention A goes from p learned queries P to the real tokens, and the unpack attention
    from Q to the p packed tokens. Both are softmaxes, each head by itself. Padding has weight 0 in
    A, so it is never read.

    The paper packs the block's input X with projections of its own, and projects the packed tokens
    to keys and values. Here the keys and values of the tokens are packed. That is the same up to
    the order of linear maps, with three differences: pack and unpack attention share the projection
    of the keys; a head packs for itself alone; and P is not projected. P is learned in each layer:
    in the paper only the first P is learned, and the packed tokens of a layer, with residuals and
    layer normalisation, are the P of the next. What a layer packs here therefore depends on the
    packed tokens of earlier layers only by way of the sequence itself.
    The paper's causal variant is left out: it replaces the softmax of A.

    On a CPU it takes about 1.6 times the time of `performer-softmax` with as many features as
    packed tokens, because it keeps the weights of both attentions.
    Time O(l p d), memory O(l (p + d) + p d).

    Args:
        dims: sizes of the model.
        num_packed: p, the length of the packed sequence, in tokens; 256 in the largest model of the
            paper's LRA table.
        rngs: initialises P; each element is drawn from N(0, 1).

    References:
        Ma et al. 2021, "Luna: Linear Unified Nested Attention", arXiv:2106.01540.
    """

    def __init__(self, dims: Dims, *, num_packed: int = 256, rngs: nnx.Rngs) -> None:
        check_count(num_packed=num_packed)
        shape = (dims.num_heads, num_packed, dims.head_dim)
        self.packers = nnx.Param(jax.random.normal(rngs.params(), shape, jnp.float32))

    def __call__(
        self,
        q: Float[Array, "b l h d"],
        k: Float[Array, "b l h d"],
        v: Float[Array, "b l h d"],
        mask: Bool[Array, "b l"],
    ) -> Float[Array, "b l h d"]:
        """Pack the real `k` and `v`, then attend to them from `q`."""
        keys, values = (head_major(without_padding(x, mask)) for x in (k, v))
        logits = dot_products(self.packers[...].astype(k.dtype), keys)
        logits = jnp.where(mask[:, None, None, :], logits, MASKED)
        packed = _average(logits, jnp.concatenate([keys, values], axis=-1))
        # Packed keys stay in float32: exponents need the digits.
        packed_keys, packed_values = jnp.split(packed, 2, axis=-1)
        logits = dot_products(head_major(q), packed_keys)
        return token_major(_average(logits, packed_values.astype(v.dtype))).astype(v.dtype)


def _average(
    logits: Float[Array, "b h q k"], values: Float[Array, "b h k d"]
) -> Float[Array, "b h q d"]:
    """Return softmax(logits) values, in float32 or wider.

    The sums are divided, not the weights, of which there are more. It takes two thirds of the time.
    """
    largest = jax.lax.stop_gradient(jnp.max(logits, axis=-1, keepdims=True))
    weights = jnp.exp(logits - largest).astype(values.dtype)
    ones = jnp.ones_like(values[..., :1])
    sums = summed("bhqk,bhkd->bhqd", weights, jnp.concatenate([values, ones], axis=-1))
    return sums[..., :-1] / sums[..., -1:]
