"""Performer with the ReLU kernel (generalized attention)."""

from typing import Annotated, Literal

from flax import nnx

from lra_bench.attentions._favor.generalized import GeneralizedAttention
from lra_bench.attentions._state import random_features
from lra_bench.contracts import Dims, Range
from lra_bench.registry import register_attention


@register_attention("performer-relu", equivariant=True, family="kernel", state=random_features)
class PerformerRelu(GeneralizedAttention):
    """Compute generalized attention, Eq. (4), with the ReLU kernel.

    phi(x) = (relu(W x) + epsilon) / sqrt(m): Eq. (5) with h = 1, f = ReLU and orthogonal Gaussian
    rows in W, plus the paper's kernel epsilon, which is added to ReLU as in the authors' JAX code.
    Time O(l m d), memory O(l d + m d).
    Backward, the causal form also keeps l m d / c numbers, with chunks of c tokens
    (128 on CPUs, more on other devices).

    Args:
        dims: sizes of the model.
        num_features: m, the number of random projections.
        epsilon: kernel epsilon, which keeps every feature positive (1e-3 in the paper).
        projection: as in `performer-softmax`, or none, which uses x in place of W x, and d in
            place of m.
        renormalize: whether to divide by the normaliser.
        causal: whether a token sees only itself and earlier tokens.
        rngs: draws the projections.

    References:
        Choromanski et al. 2021, arXiv:2009.14794, Section 2.2, Appendix A.4 and D.3.
    """

    def __init__(
        self,
        dims: Dims,
        *,
        num_features: int = 256,
        epsilon: Annotated[float, Range(0, 2**20)] = 1e-3,
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
