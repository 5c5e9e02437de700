"""Linformer: attention to keys and values that are projected along the sequence."""

from typing import Annotated, Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Key

from lra_bench.attentions._common import (
    count_of_tokens,
    dot_products,
    head_major,
    softmax_average,
    summed,
    token_major,
    without_padding,
)
from lra_bench.attentions._state import Options, keys_and_values
from lra_bench.contracts import Dims, Range
from lra_bench.registry import register_attention

_PROJECTED = 256
Sharing = Literal[
    "headwise", "key-value", "layerwise", "layerwise-by-head", "key-value-by-head", "none"
]


def _state(dims: Dims, options: Options) -> int:
    """Return the projected keys and values."""
    return keys_and_values(dims, options["num_projected"])


@register_attention("linformer", family="low-rank", state=_state)
class Linformer(nnx.Module):
    """Compute softmax(Q (E K)^T / sqrt(d)) (F V), Eq. (7) of Wang et al.

    E and F project keys and values along the sequence. Both are learned, have the shape
    (num_projected, max_len) and are stored transposed. Padded keys and values are set to zero
    before the projection. A sequence shorter than `max_len` uses only the first columns.
    Time O(l k d), memory O(l (k + d)), with k = `num_projected`.

    Args:
        dims: sizes of the model.
        num_projected: k, the length after the projection, in tokens; at most `max_len`. If
            `max_len` is below the default, then k is `max_len` by default.
        sharing: "headwise": all heads of a layer share E and F; "key-value": they share E, and
            F = E; "layerwise": all layers share E too, and F = E; "none": each head has its own E
            and F, as in Eq. (7). Section 4 of the paper describes the first three; sharing hardly
            changes the perplexity there. "layerwise-by-head", as in Nystromformer's code: each
            head has its own E for all layers, and F = E; "key-value-by-head", as in Skyformer's:
            each head of each layer has its own E, and F = E.
        deviation: standard deviation of the elements of E and F when they are drawn; k^-1/2 if it
            is 0.
        learned: whether E and F are trained. If not, they stay as they were drawn, as in
            Skyformer's code, where E is no parameter of the model, unless `train.resample_every`
            redraws them, as in Fig. 5 of the Performer paper.
        rngs: draws E and F from a normal distribution.

    Raises:
        ValueError: `num_projected` is out of its range; or when called with a sequence longer than
            `max_len`.

    References:
        Wang et al. 2020, "Linformer: Self-Attention with Linear Complexity", arXiv:2006.04768.
    """

    def __init__(
        self,
        dims: Dims,
        *,
        num_projected: int = _PROJECTED,
        sharing: Sharing = "headwise",
        deviation: Annotated[float, Range(1e-6, 100, or_zero=True)] = 0.0,
        learned: bool = True,
        rngs: nnx.Rngs,
    ) -> None:
        self.max_len, self.sharing = dims.max_len, sharing
        length = count_of_tokens("num_projected", num_projected, _PROJECTED, dims.max_len)
        heads = dims.num_heads if sharing == "none" or sharing.endswith("by-head") else 1
        self._init = nnx.initializers.normal(deviation or length**-0.5)
        kind: type[nnx.Variable] = nnx.Param if learned else nnx.Variable

        def drawn() -> nnx.Variable:
            return kind(self._init(rngs.params(), (heads, dims.max_len, length), jnp.float32))

        self.key_projection = drawn()
        self.value_projection = drawn() if sharing in ("headwise", "none") else None

    def share_with(self, first: "Linformer") -> None:
        """Take E from the first layer, if all layers share it."""
        if self.sharing.startswith("layerwise"):
            self.key_projection = first.key_projection

    def resample(self, key: Key[Array, ""]) -> None:
        """Draw new projections, if they are not learned."""
        keys = jax.random.split(key)
        for own, projection in zip(keys, (self.key_projection, self.value_projection), strict=True):
            if projection is not None and not isinstance(projection, nnx.Param):
                projection[...] = self._init(own, projection.shape, jnp.float32)

    def __call__(
        self,
        q: Float[Array, "b l h d"],
        k: Float[Array, "b l h d"],
        v: Float[Array, "b l h d"],
        mask: Bool[Array, "b l"],
    ) -> Float[Array, "b l h d"]:
        """Attend to the projected keys and values."""
        if q.shape[1] > self.max_len:
            raise ValueError(
                f"linformer: got {q.shape[1]} tokens, but was built for {self.max_len} at most"
            )
        value_projection = self.value_projection or self.key_projection
        keys = _shortened(without_padding(k, mask), self.key_projection[...])
        values = _shortened(without_padding(v, mask), value_projection[...])
        logits = dot_products(head_major(q), keys)
        return token_major(softmax_average(logits, values))


def _shortened(
    x: Float[Array, "b l h d"], projection: Float[Array, "h_or_1 max_len k"]
) -> Float[Array, "b h k d"]:
    """Return the sums over tokens, as one product of matrices per projection.

    XLA for CPUs has no product of bfloat16 with sums in float32 for other shapes.
    """
    batch, length, heads, dim = x.shape
    used = projection[:, :length].astype(x.dtype)
    groups = x.reshape(batch, length, len(used), heads // len(used), dim)
    columns = jnp.moveaxis(groups, (2, 1), (0, 1)).reshape(len(used), length, -1)
    sums = summed("hlk,hlx->hkx", used, columns).astype(x.dtype)
    sums = sums.reshape(len(used), -1, batch, heads // len(used), dim)
    return jnp.moveaxis(sums, 2, 0).swapaxes(2, 3).reshape(batch, heads, -1, dim)
