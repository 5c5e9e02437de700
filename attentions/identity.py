"""Identity: the values unmixed, the lower bound on the cost of any mechanism."""

from jaxtyping import Array, Bool, Float

from lra_bench.attentions._common import without_padding
from lra_bench.attentions._state import nothing
from lra_bench.registry import register_attention


@register_attention("identity", equivariant=True, state=nothing)
def identity(
    q: Float[Array, "b l h d"],
    k: Float[Array, "b l h d"],
    v: Float[Array, "b l h d"],
    mask: Bool[Array, "b l"],
) -> Float[Array, "b l h d"]:
    """Return V: the line "X (OPT)" of Fig. 3, a lower bound on the cost of any attention.

    Time O(l d), memory O(l d).

    References:
        Choromanski et al. 2021, arXiv:2009.14794, Section 4.1.
    """
    del q, k
    return without_padding(v, mask)
