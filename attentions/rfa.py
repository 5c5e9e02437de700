"""Random feature attention: a Gaussian kernel of queries and keys of length 1."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Key

from lra_bench.attentions._common import check_count, without_padding
from lra_bench.attentions._favor import Features, kernel_attention
from lra_bench.attentions._favor.projections import PROJECTIONS
from lra_bench.contracts import Dims, Rule
from lra_bench.registry import register_attention

# The mean of the estimated kernel over the keys of a query is at least this.
_LEAST = 1e-2


@register_attention("rfa", equivariant=True, family="kernel")
class RandomFeatureAttention(nnx.Module):
    """Compute phi(q)^T sum_j phi(k_j) v_j^T / (phi(q)^T sum_j phi(k_j)), random feature attention.

    phi(x) = D^(-1/2) (sin w_1^T y, .., sin w_D^T y, cos w_1^T y, .., cos w_D^T y) with
    y = s * x / |x|, where * is by element, w_i ~ N(0, I_d), and s is learned for each head. The
    features estimate the Gaussian kernel exp(-|y_q - y_k|^2 / 2) without bias. As |x| is divided
    out, and while all elements of s are equal, this kernel is that of softmax with logits
    s^2 q^T k / (|q| |k|), Section 3 of the paper.

    Only real keys are summed. If `causal`, a token sees itself and earlier tokens only, as in the
    paper's recurrent form without its gate: a gate depends on the block's input, which a function
    of q, k and v doesn't see.

    Estimates of a kernel by sines and cosines may be negative, and so may their sum. The normaliser
    is therefore at least 0.01 for each key that is summed; the paper has no such limit. w_i are the
    same for all heads; in the authors' code each head has its own.
    Time O(l D d), memory O(l d + D d).

    Args:
        dims: sizes of the model.
        num_features: D, the number of random projections, of two features each; 64 in the authors'
            code.
        causal: whether a token sees only itself and earlier tokens.
        rngs: draws the projections; s starts as 1.

    References:
        Peng et al. 2021, arXiv:2103.02143.
    """

    def __init__(
        self, dims: Dims, *, num_features: int = 64, causal: bool = False, rngs: nnx.Rngs
    ) -> None:
        check_count(num_features=num_features)
        self.causal, self.shape = causal, (num_features, dims.head_dim)
        ones = jnp.ones((dims.num_heads, dims.head_dim), jnp.float32)
        self.scale = nnx.Param(ones, rule=Rule(decay=False))
        self.projection = nnx.Variable(self._draw(rngs()))

    def resample(self, key: Key[Array, ""]) -> None:
        """Draw new projections."""
        self.projection[...] = self._draw(key)

    def __call__(
        self,
        q: Float[Array, "b l h d"],
        k: Float[Array, "b l h d"],
        v: Float[Array, "b l h d"],
        mask: Bool[Array, "b l"],
    ) -> Float[Array, "b l h d"]:
        """Average the real `v`, weighted by the estimated kernel of `q` and `k`."""
        # A value of 1 gives the normaliser. Values are as wide as keys, so these get a 0.
        ones = jnp.ones_like(v[..., :1])
        zeros = ((0, 0), (0, 0), (0, 0), (0, 1))
        q, k = (jnp.pad(self.scale[...] * _unit(x), zeros) for x in (q, without_padding(k, mask)))
        sums = kernel_attention(
            q,
            k,
            jnp.concatenate([v, ones], axis=-1),
            mask,
            _waves,
            self.projection[...],
            causal=self.causal,
            renormalize=False,
        )
        keys = jnp.cumsum(mask, axis=1) if self.causal else jnp.sum(mask, axis=1, keepdims=True)
        least = _LEAST * jnp.maximum(keys, 1)[:, :, None, None]
        return sums[..., :-1] / jnp.maximum(sums[..., -1:], least.astype(v.dtype))

    def _draw(self, key: Key[Array, ""]) -> Float[Array, "D d"]:
        return PROJECTIONS["iid"].draw(key, *self.shape)


def _unit(x: Float[Array, "*b d"]) -> Float[Array, "*b d"]:
    """Return x / |x| in float32 or wider, or 0 where x = 0, with finite gradients there too."""
    x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    square = jnp.sum(jnp.square(x), axis=-1, keepdims=True)
    tiny = square < 1e-20
    return jnp.where(tiny, 0, x * jax.lax.rsqrt(jnp.where(tiny, 1, square)))


def _waves(x: Float[Array, "*b d_and_1"], drawn: Float[Array, "D d"]) -> Features:
    """Return D^(-1/2) (sin w^T x, cos w^T x) of all but the last element of x."""
    projected = PROJECTIONS["iid"].apply(x[..., :-1], drawn)
    waves = jnp.concatenate([jnp.sin(projected), jnp.cos(projected)], axis=-1)
    return Features(None, waves * len(drawn) ** -0.5)
