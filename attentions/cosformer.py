"""cosFormer: linear attention with ReLU features, reweighted by the cosine of distances."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from lra_bench.attentions._common import wide
from lra_bench.attentions._favor import Features, kernel_attention
from lra_bench.attentions._state import Options, kernel_sums
from lra_bench.contracts import Dims
from lra_bench.registry import register_attention


def _state(dims: Dims, options: Options) -> int:
    """Return the sums over keys, of 2 d features."""
    del options
    return kernel_sums(dims, 2 * dims.head_dim)


@register_attention("cosformer", family="kernel", state=_state)
class Cosformer(nnx.Module):
    """Compute attention with weights relu(q_i)^T relu(k_j) cos(pi (i - j) / (2 M)), normalised.

    Section 3.2 of the paper. Since cos(a - b) = cos(a) cos(b) + sin(a) sin(b), this is kernel
    attention with the features (relu(q_i) cos(pi i / (2 M)), relu(q_i) sin(pi i / (2 M))). i and j
    count real tokens. M is the number of real tokens of the example, so padding changes nothing;
    the authors' code has the length with padding there. If `causal`, the number of real tokens
    would look ahead, so M is the length of the model. The output is 0 where all weights are 0; the
    authors' code divides by at least 1e-6 instead. So gradients of a query whose features are all
    close to 0 grow with their inverse here.
    Time O(l d^2), memory O(l d + d^2).
    Backward, the causal form also keeps l d^2 / c numbers, with chunks of c tokens
    (128 on CPUs, more on other devices).

    Args:
        dims: sizes of the model.
        causal: whether a token sees only itself and earlier tokens.
        rngs: not used; nothing is drawn.

    Raises:
        ValueError: `causal`, and called with a sequence longer than `max_len`.

    References:
        Qin et al. 2022, "cosFormer: Rethinking Softmax in Attention", arXiv:2202.08791.
    """

    def __init__(self, dims: Dims, *, causal: bool = False, rngs: nnx.Rngs) -> None:
        del rngs
        self.max_len, self.causal = dims.max_len, causal

    def __call__(
        self,
        q: Float[Array, "b l h d"],
        k: Float[Array, "b l h d"],
        v: Float[Array, "b l h d"],
        mask: Bool[Array, "b l"],
    ) -> Float[Array, "b l h d"]:
        """Attend to the real `k` and `v`, more to near ones than to far ones."""
        angles = self._angles(mask)
        q, k = (_reweighted(x, angles) for x in (q, k))
        return kernel_attention(q, k, v, mask, _as_they_are, causal=self.causal)

    def _angles(self, mask: Bool[Array, "b l"]) -> Float[Array, "b l"]:
        """Return pi i / (2 M), from 0 for the first real token to nearly pi / 2 for the last."""
        if self.causal and mask.shape[1] > self.max_len:
            raise ValueError(
                f"cosformer: got {mask.shape[1]} tokens, but was built for {self.max_len} at most"
            )
        count = jnp.cumsum(mask, axis=1)
        number = jnp.full_like(count[:, -1:], self.max_len) if self.causal else count[:, -1:]
        rank = jnp.maximum(count - 1, 0).astype(jnp.float32)
        return jnp.pi / 2 * rank / jnp.maximum(number, 1)


def _reweighted(x: Float[Array, "b l h d"], angles: Float[Array, "b l"]) -> Array:
    """Return (relu(x) cos(angle), relu(x) sin(angle)), of shape (b, l, h, 2 d)."""
    positive, angles = wide(jax.nn.relu(x)), angles[:, :, None, None]
    waves = [positive * jnp.cos(angles), positive * jnp.sin(angles)]
    return jnp.concatenate(waves, axis=-1).astype(x.dtype)


def _as_they_are(x: Float[Array, "*b m"], drawn: None) -> Features:
    """Return the features that queries and keys already are."""
    del drawn
    return Features(None, x)
