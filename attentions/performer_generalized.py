"""Performer with any of the paper's kernels: generalized attention."""

from typing import Literal

from flax import nnx

from lra_bench.attentions._favor.generalized import GeneralizedAttention
from lra_bench.contracts import Dims
from lra_bench.registry import register_attention

Kernel = Literal[
    "relu", "exp", "sigmoid", "abs", "gelu", "cos", "tanh", "identity", "square-relu", "elu+1"
]


@register_attention("performer-generalized", equivariant=True)
class PerformerGeneralized(GeneralizedAttention):
    """Generalized attention with the kernels of Appendix D.3, in Eq. (4).

    phi(x) = f(W x) / sqrt(m) + epsilon: Eq. (5) with h = 1, and exp(W x) for f = exp. The
    kernels that have negative values (gelu, cos, tanh, identity) have normalisers that may come
    near zero.
    Time O(l m d), memory O(l d + m d).

    Args:
        dims: sizes.
        kernel: f.
        num_features: m, the number of random projections.
        epsilon: kernel epsilon (1e-3 in the paper); exp needs none.
        projection: as in `performer-softmax`, or none: then the features are f(x) + epsilon.
        renormalize: whether to divide by the normaliser.
        causal: whether a token sees itself and those before it only.
        rngs: draws the projections.

    References:
        Choromanski et al. 2021, arXiv:2009.14794, Section 2.2, Appendix A.4 and D.3.
    """

    def __init__(
        self,
        dims: Dims,
        *,
        kernel: Kernel = "exp",
        num_features: int = 256,
        epsilon: float = 1e-3,
        projection: Literal["orthogonal", "hadamard", "givens", "iid", "none"] = "orthogonal",
        renormalize: bool = True,
        causal: bool = False,
        rngs: nnx.Rngs,
    ) -> None:
        super().__init__(
            dims,
            kernel,
            num_features=num_features,
            epsilon=epsilon,
            projection=projection,
            renormalize=renormalize,
            causal=causal,
            rngs=rngs,
        )
