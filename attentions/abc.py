"""Attention with bounded-memory control: learned vectors write all tokens into a few slots."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from lra_bench.attentions._common import (
    MASKED,
    check_count,
    dot_products,
    head_major,
    softmax_average,
    summed,
    token_major,
    without_padding,
)
from lra_bench.attentions._state import Options
from lra_bench.contracts import Dims
from lra_bench.registry import register_attention

# Tokens of a causal step. Products within a chunk are of all pairs.
_CHUNK = 128


def _state(dims: Dims, options: Options) -> int:
    """Return the slots of keys and of values, which may be more than tokens, and causal totals."""
    totals = dims.num_heads if options["causal"] else 0
    return (2 * dims.inner + totals) * options["num_slots"]


@register_attention("abc", equivariant=True, family="low-rank", state=_state)
class Abc(nnx.Module):
    """Compute softmax(Q K~^T / sqrt(d)) V~ with a memory of n slots, ABC_MLP of Peng et al.

    Each token has a control vector phi_i of n weights. The memory is K~ = sum_i phi_i k_i^T and
    V~ = sum_i phi_i v_i^T, both of shape (n, d). In ABC_MLP the control vectors are
    phi_i = exp(W x_i) / sum_j exp(W x_j), slot by slot, with W learned. A function of queries, keys
    and values knows no x, so here phi_i is made of k_i, by one W per head.

    If `causal`, the memory of token i is the sum up to i, and so is the sum below phi_i. The slots
    are then no averages, because phi_j does not change when later tokens come.

    Padding has phi_i = 0. Time O(l n d), memory O(l (n + d) + n d).
    Causal time O(l (n d + c d + n c)), memory O(l (n + c + d) + l n d / c), in chunks of c = 128
    tokens.

    Args:
        dims: sizes of the model.
        num_slots: n, the number of slots.
        causal: whether a token sees only itself and earlier tokens.
        rngs: initialises W; each element is drawn from N(0, 1/d).

    References:
        Peng et al. 2022, "ABC: Attention with Bounded-memory Control", arXiv:2110.02488.
    """

    def __init__(
        self, dims: Dims, *, num_slots: int = 64, causal: bool = False, rngs: nnx.Rngs
    ) -> None:
        check_count(num_slots=num_slots)
        init = nnx.initializers.normal(dims.head_dim**-0.5)
        shape = (dims.num_heads, dims.head_dim, num_slots)
        self.control = nnx.Param(init(rngs.params(), shape, jnp.float32))
        self.causal = causal

    def __call__(
        self,
        q: Float[Array, "b l h d"],
        k: Float[Array, "b l h d"],
        v: Float[Array, "b l h d"],
        mask: Bool[Array, "b l"],
    ) -> Float[Array, "b l h d"]:
        """Write keys and values into the memory, and read it with the queries."""
        queries, keys, values = (head_major(without_padding(x, mask)) for x in (q, k, v))
        scores = summed("hdn,bhld->bhnl", self.control[...], keys)
        scores = jnp.where(mask[:, None, None, :], scores, MASKED)
        attend = _causal if self.causal else _bidirectional
        return token_major(attend(queries, keys, values, scores))


def _bidirectional(
    queries: Float[Array, "b h l d"],
    keys: Float[Array, "b h l d"],
    values: Float[Array, "b h l d"],
    scores: Float[Array, "b h n l"],
) -> Float[Array, "b h l d"]:
    """Read slots that are averages of all tokens."""
    weights = jax.nn.softmax(scores, axis=-1)
    # Slot keys go into exponents, which need the digits.
    slot_keys, slot_values = (
        summed("bhnl,bhld->bhnd", weights.astype(x.dtype), x) for x in (keys, values)
    )
    return softmax_average(dot_products(queries, slot_keys), slot_values.astype(values.dtype))


def _causal(
    queries: Float[Array, "b h l d"],
    keys: Float[Array, "b h l d"],
    values: Float[Array, "b h l d"],
    scores: Float[Array, "b h n l"],
) -> Float[Array, "b h l d"]:
    """Read, at each token, the sums up to it; those before a chunk go from chunk to chunk."""
    length, chunk = queries.shape[2], min(_CHUNK, queries.shape[2])
    scores = _cut(jnp.swapaxes(scores, 2, 3), chunk, MASKED)
    chunks = (*(_cut(x, chunk) for x in (queries, keys, values)), scores, _totals(scores))
    slots = jnp.zeros((*scores.shape[1:3], scores.shape[-1], queries.shape[-1]), scores.dtype)
    start = (slots, slots, jnp.full_like(scores[0, :, :, :1], MASKED))
    _, out = jax.lax.scan(_read_and_write, start, chunks)
    out = jnp.moveaxis(out, 0, 2)
    return out.reshape(*queries.shape[:2], -1, queries.shape[-1])[:, :, :length]


def _totals(scores: Float[Array, "m b h c n"]) -> Float[Array, "m b h c n"]:
    """Return the logarithms of the sums of exponentials from the start of each chunk.

    All chunks take a step together, which is much faster to compile than a parallel sum.
    """

    def step(total: Array, x: Array) -> tuple[Array, Array]:
        total = jnp.logaddexp(total, x)
        return total, total

    tokens = jnp.moveaxis(scores, 3, 0)
    return jnp.moveaxis(jax.lax.scan(step, jnp.full_like(tokens[0], MASKED), tokens)[1], 0, 3)


def _read_and_write(
    memory: tuple[Array, Array, Array], x: tuple[Array, ...]
) -> tuple[tuple[Array, Array, Array], Array]:
    """Return the memory after a chunk, and the chunk's outputs.

    Args:
        memory: K~, V~ and the logarithms of the sums of exponentials, of all earlier chunks.
        x: queries, keys, values, scores and their totals within the chunk.
    """
    slot_keys, slot_values, before = memory
    q, k, v, scores, totals = x
    totals = jnp.logaddexp(before, totals)
    control = jnp.where(scores > MASKED, jnp.exp(scores - totals), 0)
    seen = jnp.tri(q.shape[2], dtype=bool)
    near = jnp.where(seen, summed("bhid,bhjd->bhij", q, k), 0)
    logits = summed("bhid,bhnd->bhin", q, slot_keys) + summed("bhij,bhjn->bhin", near, control)
    read = jax.nn.softmax(logits * q.shape[-1] ** -0.5, axis=-1)
    near = jnp.where(seen, summed("bhin,bhjn->bhij", read, control), 0)
    out = summed("bhin,bhnd->bhid", read, slot_values) + summed("bhij,bhjd->bhid", near, v)
    slot_keys += summed("bhjn,bhjd->bhnd", control, k)
    slot_values += summed("bhjn,bhjd->bhnd", control, v)
    return (slot_keys, slot_values, totals[:, :, -1:]), out.astype(v.dtype)


def _cut(x: Float[Array, "b h l d"], chunk: int, fill: float = 0) -> Float[Array, "m b h c d"]:
    """Cut tokens into chunks; `fill` stands after the last token."""
    padding = ((0, 0), (0, 0), (0, -x.shape[2] % chunk), (0, 0))
    x = jnp.pad(x, padding, constant_values=fill)
    return jnp.moveaxis(x.reshape(*x.shape[:2], -1, chunk, x.shape[-1]), 2, 0)
