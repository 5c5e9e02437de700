"""LION: linear attention to both sides, with weights that decay with the distance."""

from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from lra_bench.attentions._common import check_count, wide, wide_dtype, without_padding
from lra_bench.attentions._favor import kernel_attention
from lra_bench.attentions._favor.features import elu_features
from lra_bench.attentions._gated_sums import gated_sums
from lra_bench.attentions._sequence import both_ways, ordered, real_first, reordered, two_ways
from lra_bench.attentions._state import Options, directions, kernel_sums
from lra_bench.contracts import Dims, Rule
from lra_bench.layers import Dense
from lra_bench.registry import register_attention


def _state(dims: Dims, options: Options) -> int:
    """Return the sums over keys, in each direction unless there is no decay."""
    ways = 1 if options["decay"] == "none" else directions(options)
    return ways * kernel_sums(dims, dims.head_dim)


@register_attention("lion", mixer=True, family="kernel", state=_state)
class Lion(nnx.Module):
    """Compute Y = scale(phi(Q) phi(K)^T * M) V, where scale divides rows by their sums.

    M_ij is the product of the gates of token j and of all tokens between j and i, on either side,
    and M_ii = 1 (Section 3 of the paper). The gates are, by `decay`:
    "selective" (LION-S): sigmoid(w x_j + b), for each token and head;
    "fixed" (LION-D): sigmoid(a), learned for each head;
    "none" (LION-LIT): 1, so that this is the mechanism "linear".
    phi(x) = (SiLU(x) + 1/2) / |SiLU(x) + 1/2|; for "none", elu(x) + 1.

    The matrix is never formed. The same recurrence, S_i = gate_(i-1) S_(i-1) + k_i v_i^T, runs
    from either end, in chunks; each direction has half of the diagonal, as the paper's
    bidirectional recurrence has. Row sums are computed as one more value, equal to 1.

    Padding is moved behind the real tokens and its values are zero, so that it adds nothing before
    the first token of either direction. The official LRA results of LION-S and LION-D are with
    HiPPO, which is not here. Layers have biases.
    Time O(l e (e + c + d)), memory O(l h (c + d + d^2 / c)), with chunks of c = `chunk_size`
    tokens.

    Args:
        dims: sizes of the model.
        decay: "selective", "fixed" or "none", as above.
        chunk_size: c, in tokens. It changes speed and memory, not the result.
        causal: whether a token sees only itself and earlier tokens: M is 0 above its diagonal.
            The paper is about both sides.
        rngs: draws the parameters.

    References:
        Afzal et al. 2025, "Linear Attention for Efficient Bidirectional Sequence Modeling",
        arXiv:2502.16249; phi as in github.com/LIONS-EPFL/LION.
    """

    def __init__(
        self,
        dims: Dims,
        *,
        decay: Literal["selective", "fixed", "none"] = "selective",
        chunk_size: int = 64,
        causal: bool = False,
        rngs: nnx.Rngs,
    ) -> None:
        check_count(chunk_size=chunk_size)
        self.decay, self.chunk_size, self.causal = decay, chunk_size, causal
        self.heads = (dims.num_heads, dims.head_dim)
        inner = dims.num_heads * dims.head_dim
        self.project = Dense(dims.emb_dim, 3 * inner, rngs=rngs)
        self.gate = Dense(dims.emb_dim, dims.num_heads, rngs=rngs) if decay == "selective" else None
        drawn = jax.random.normal(rngs.params(), (dims.num_heads,), jnp.float32)
        self.rate = nnx.Param(drawn, rule=Rule(decay=False)) if decay == "fixed" else None
        self.out = Dense(inner, dims.emb_dim, rngs=rngs)

    def __call__(self, x: Float[Array, "b l e"], mask: Bool[Array, "b l"]) -> Float[Array, "b l e"]:
        """Return the average of the values, projected back."""
        order = real_first(mask)
        tokens, real = ordered(x, order), order.real[:, :, 0]
        projected = self.project(tokens).reshape(*x.shape[:2], 3, *self.heads)
        q, k, v = (projected[:, :, i] for i in range(3))
        if self.decay == "none":
            out = kernel_attention(q, k, v, real, elu_features, causal=self.causal)
        else:
            out = self._average(q, k, v, self._log_gates(tokens), real)
        out = out.astype(x.dtype).reshape(*x.shape[:2], -1)
        return reordered(self.out(out), order)

    def _log_gates(self, x: Float[Array, "b l e"]) -> Float[Array, "b l h"]:
        """Return the logarithms of the gates."""
        if self.gate is not None:
            return jax.nn.log_sigmoid(self.gate(x).astype(wide_dtype(x)))
        assert self.rate is not None
        rates = jax.nn.log_sigmoid(self.rate[...].astype(wide_dtype(x)))
        return jnp.broadcast_to(rates, (*x.shape[:2], len(rates)))

    def _average(
        self, q: Array, k: Array, v: Array, log_gates: Array, real: Bool[Array, "b l"]
    ) -> Float[Array, "b l h d"]:
        """Return the weighted means of the values, in float32 at least."""
        queries, keys = (features(wide(y)) for y in (q, k))
        values = jnp.concatenate([wide(v), jnp.ones_like(keys[..., :1])], axis=-1)
        values = without_padding(values, real)
        if self.causal:
            out = gated_sums(queries, keys, values, _of_previous(log_gates), self.chunk_size)
        else:
            q, k, v, log_gates = (both_ways(y) for y in (queries, keys, values, log_gates))
            sums = gated_sums(q, k, v, _of_previous(log_gates), self.chunk_size, own=0.5)
            forward, backward = two_ways(sums)
            out = forward + backward
        # A real token's own weight is in its total; that of padding may be as good as zero.
        return out[..., :-1] / jnp.where(real[:, :, None, None], out[..., -1:], 1)


def features(x: Float[Array, "*b d"]) -> Float[Array, "*b d"]:
    """Return (SiLU(x) + 1/2) / |SiLU(x) + 1/2|; all features are above 0."""
    shifted = jax.nn.silu(x) + 0.5
    return shifted / jnp.linalg.norm(shifted, axis=-1, keepdims=True)


def _of_previous(log_gates: Float[Array, "b l h"]) -> Float[Array, "b l h"]:
    """Return each token's gate at the next token: what it wrote decays by its own gate first."""
    return jnp.pad(log_gates, ((0, 0), (1, 0), (0, 0)))[:, :-1]
