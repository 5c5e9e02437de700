"""Performer with the ReLU kernel: generalized attention."""

from typing import Literal

from flax import nnx

from lra_bench.attentions._favor.generalized import GeneralizedAttention
from lra_bench.contracts import Dims
from lra_bench.registry import register_attention


@register_attention("performer-relu", equivariant=True)
class PerformerRelu(GeneralizedAttention):
    """Generalized attention with the ReLU kernel, in Eq. (4).

    phi(x) = relu(W x) / sqrt(m) + epsilon: Eq. (5) with h = 1, f = ReLU and W of orthogonal
    Gaussian rows, plus the paper's kernel epsilon.
    Time O(l m d), memory O(l d + m d).

    Args:
        dims: sizes.
        num_features: m, the number of random projections.
        epsilon: kernel epsilon, keeps every feature positive (1e-3 in the paper).
        projection: as in `performer-softmax`, or none: then the features are relu(x) + epsilon.
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
        num_features: int = 256,
        epsilon: float = 1e-3,
        projection: Literal["orthogonal", "hadamard", "givens", "iid", "none"] = "orthogonal",
        renormalize: bool = True,
        causal: bool = False,
        rngs: nnx.Rngs,
    ) -> None:
        super().__init__(
            dims,
            "relu",
            num_features=num_features,
            epsilon=epsilon,
            projection=projection,
            renormalize=renormalize,
            causal=causal,
            rngs=rngs,
        )
