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
    softmax_average,
    summed,
    token_major,
    without_padding,
)
from lra_bench.contracts import Dims
from lra_bench.registry import register_attention


@register_attention("luna", equivariant=True)
class Luna(nnx.Module):
    """Compute softmax(Q (A K)^T / sqrt(d)) (A V) with A = softmax(P K^T / sqrt(d)), Section 3.1.

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
    The causal variant of Section 3.3 is left out: it replaces the softmax of A.
    Time O(l p d), memory O(l (p + d) + p d).

    Args:
        dims: sizes of the model.
        num_packed: p, the length of the packed sequence, in tokens; 256 in the largest model of the
            paper's LRA table.
        rngs: initialises P; each element is drawn from N(0, 1).

    References:
        Ma et al. 2021, arXiv:2106.01540.
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
        packing = jax.nn.softmax(jnp.where(mask[:, None, None, :], logits, MASKED), axis=-1)
        packing = packing.astype(k.dtype)
        # Packed keys stay in float32: exponents need the digits.
        packed_keys = summed("bhpl,bhld->bhpd", packing, keys)
        packed_values = summed("bhpl,bhld->bhpd", packing, values).astype(v.dtype)
        return token_major(softmax_average(dot_products(head_major(q), packed_keys), packed_values))
