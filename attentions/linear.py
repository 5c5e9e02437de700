"""Linear attention with the feature map elu(x) + 1."""

from jaxtyping import Array, Bool, Float

from lra_bench.attentions._favor import kernel_attention
from lra_bench.attentions._favor.features import elu_features
from lra_bench.attentions._state import Options, kernel_sums
from lra_bench.contracts import Dims
from lra_bench.registry import register_attention


def _state(dims: Dims, options: Options) -> int:
    """Return the sums over keys, of d features."""
    del options
    return kernel_sums(dims, dims.head_dim)


@register_attention("linear", equivariant=True, family="kernel", state=_state)
def linear(
    q: Float[Array, "b l h d"],
    k: Float[Array, "b l h d"],
    v: Float[Array, "b l h d"],
    mask: Bool[Array, "b l"],
    *,
    causal: bool = False,
) -> Float[Array, "b l h d"]:
    """Compute kernel attention with phi(x) = elu(x) + 1, Eqs. (4) to (7) of Katharopoulos et al.

    If `causal`, a token sees only itself and earlier tokens: Eqs. (8) to (12).
    Time O(l d^2), memory O(l d + d^2).
    Backward, the causal form also keeps l d^2 / c numbers, with chunks of c tokens
    (128 on CPUs, more on other devices).

    Args:
        causal: whether a token sees only itself and earlier tokens.

    References:
        Katharopoulos et al. 2020, "Transformers are RNNs: Fast Autoregressive Transformers with
        Linear Attention", arXiv:2006.16236.
    """
    return kernel_attention(q, k, v, mask, elu_features, causal=causal)
