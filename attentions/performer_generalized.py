"""Performer with any of the paper's kernels (generalized attention)."""

from typing import Annotated, Literal

from flax import nnx

from lra_bench.attentions._favor.generalized import GeneralizedAttention
from lra_bench.attentions._state import random_features
from lra_bench.contracts import Dims, Range
from lra_bench.registry import register_attention

Kernel = Literal[
    "relu", "exp", "sigmoid", "abs", "gelu", "cos", "tanh", "identity", "square-relu", "elu+1"
]


@register_attention(
    "performer-generalized", equivariant=True, family="kernel", state=random_features
)
class PerformerGeneralized(GeneralizedAttention):
    """Compute generalized attention, Eq. (4), with a kernel of Appendix D.3, ReLU^2 or ELU + 1.

    phi(x) = (f(W x) + epsilon) / sqrt(m): Eq. (5) with h = 1, plus the kernel epsilon, which is
    added to f as in the authors' JAX code. For f = exp there is no epsilon.
    Kernels with negative values (gelu, cos, tanh, identity) can have normalisers near zero.
    Time O(l m d), memory O(l d + m d).
    Backward, the causal form also keeps l m d / c numbers, with chunks of c tokens
    (128 on CPUs, more on other devices).

    Args:
        dims: sizes of the model.
        kernel: the function f.
        num_features: m, the number of random projections.
        epsilon: kernel epsilon (1e-3 in the paper); not used by `exp`.
        projection: as in `performer-softmax`, or none, which uses x in place of W x, and d in
            place of m.
        renormalize: whether to divide by the normaliser; if not, exponents above 60 count
            as 60, so that all is finite.
        causal: whether a token sees only itself and earlier tokens.
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
        epsilon: Annotated[float, Range(0, 2**20)] = 1e-3,
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
