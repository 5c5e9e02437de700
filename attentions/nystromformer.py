"""Nystromformer: softmax attention by way of a few landmarks."""

from typing import Annotated

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Key

from lra_bench.attentions._common import (
    MASKED,
    check_count,
    head_major,
    summed,
    token_major,
    wide,
    without_padding,
)
from lra_bench.attentions._nystrom import (
    Iterations,
    check_iterations,
    product,
    pseudo_inverse,
)
from lra_bench.attentions._sequence import rank_among_real
from lra_bench.attentions._state import Options, keys_and_values
from lra_bench.contracts import Dims, Range
from lra_bench.registry import register_attention

# The tokens of a block of the convolution, which reads the blocks before and after it too.
_BLOCK = 64


def _state(dims: Dims, options: Options) -> int:
    """Return K~ and A^+ (B V), and the values that the convolution reads."""
    convolved = dims.inner * min(options["conv_kernel"], dims.max_len)
    return keys_and_values(dims, options["num_landmarks"]) + convolved


@register_attention("nystromformer", family="low-rank", state=_state)
class Nystromformer(nnx.Module):
    """Approximate softmax attention by F A^+ (B V), the Nystrom method with landmarks.

    F = softmax(Q K~^T / sqrt(d)), A = softmax(Q~ K~^T / sqrt(d)), B = softmax(Q~ K^T / sqrt(d)).
    The landmarks Q~ and K~ are means over m segments of the queries and of the keys. A^+ is
    approximated by an iteration; see `pseudo_inverse`. If `conv_kernel` is not 0, a depthwise
    convolution of the values is added, with one kernel for each head.

    Padding is never read, and more of it changes nothing. The segments are of the n real tokens of
    each example, so segment i has the real tokens i n / m to (i + 1) n / m; the paper cuts the
    padded sequence. If n < m, each real token is a landmark of its own, and the others are not
    used. The bound from which the iteration starts is that of each head of each example; the
    authors' code takes the largest in the batch. The convolution reads zeros at padding.

    All of it but the convolution is computed in float32, because A^+ enlarges rounding errors. On
    a CPU it takes 1.1 to 1.5 times the time of `performer-softmax` from 4,096 tokens on, and more
    below.
    Time O(l m d + m^3), memory O(l (m + d) + m^2).

    Args:
        dims: sizes of the model.
        num_landmarks: m, of queries and of keys. The authors' LRA configuration has 32 to 256.
        iterations: of the pseudo-inverse; 6 in the paper;
            at most 20, because rounding errors grow in each step and overflow after about 30.
        conv_kernel: tokens of the convolution, an odd number, or 0 for none. The authors' LRA
            configuration has 35.
        rngs: initialises the convolution; each weight is drawn from U(-s, s), where s is
            `conv_kernel`^(-1/2).

    Raises:
        ValueError: an option is out of its range, or `conv_kernel` is even.

    References:
        Xiong et al. 2021, "Nystromformer: A Nystrom-Based Algorithm for Approximating
        Self-Attention", arXiv:2102.03902.
    """

    def __init__(
        self,
        dims: Dims,
        *,
        num_landmarks: int = 128,
        iterations: Iterations = 6,
        conv_kernel: Annotated[int, Range(1, 2**20, or_zero=True)] = 35,
        rngs: nnx.Rngs,
    ) -> None:
        check_count(num_landmarks=num_landmarks)
        check_iterations(iterations)
        if conv_kernel and (conv_kernel < 0 or conv_kernel % 2 == 0):
            raise ValueError(f"conv_kernel={conv_kernel}: must be an odd number of tokens, or 0")
        self.num_landmarks, self.iterations = num_landmarks, iterations
        self.kernel = (
            nnx.Param(_uniform(rngs.params(), (dims.num_heads, conv_kernel)))
            if conv_kernel
            else None
        )

    def __call__(
        self,
        q: Float[Array, "b l h d"],
        k: Float[Array, "b l h d"],
        v: Float[Array, "b l h d"],
        mask: Bool[Array, "b l"],
    ) -> Float[Array, "b l h d"]:
        """Attend from `q` to the landmarks, and from these to the real `k` and `v`."""
        q, k, v = (without_padding(x, mask) for x in (q, k, v))
        queries, keys, values = (wide(head_major(x)) for x in (q, k, v))
        segments, used = _segments(mask, min(self.num_landmarks, q.shape[1]))
        few_queries, few_keys = (_means(segments, x) for x in (q, k))
        to_landmarks = _weights(queries, few_keys, used)
        between = jnp.where(used[:, None, :, None], _weights(few_queries, few_keys, used), 0)
        from_landmarks = _weights(few_queries, keys, mask)
        gathered = product("bhml,bhld->bhmd", from_landmarks, values)
        gathered = product("bhmn,bhnd->bhmd", pseudo_inverse(between, self.iterations), gathered)
        out = token_major(product("bhlm,bhmd->bhld", to_landmarks, gathered)).astype(v.dtype)
        return out if self.kernel is None else out + _convolved(v, self.kernel[...])


def _uniform(key: Key[Array, ""], shape: tuple[int, int]) -> Float[Array, "h w"]:
    """Draw kernels as PyTorch does, from U(-s, s) with s = w^(-1/2)."""
    size = shape[1] ** -0.5
    return jax.random.uniform(key, shape, jnp.float32, -size, size)


def _segments(
    mask: Bool[Array, "b l"], count: int
) -> tuple[Bool[Array, "b l m"], Bool[Array, "b m"]]:
    """Return which segment each real token is in, and which segments have a token.

    Real token r of n is in segment r m / n, rounded down; in segment r if n < m.
    """
    total = jnp.sum(mask, axis=1, keepdims=True, dtype=jnp.int32)
    used = jnp.minimum(total, count)
    segment = rank_among_real(mask) * used // jnp.maximum(total, 1)
    index = jnp.arange(count)
    return mask[:, :, None] & (segment[:, :, None] == index), index < used


def _means(segments: Bool[Array, "b l m"], x: Float[Array, "b l h d"]) -> Float[Array, "b h m d"]:
    """Return the mean of each segment; 0 for an empty one."""
    count = jnp.maximum(jnp.sum(segments, axis=1), 1)
    sums = summed("blm,blhd->bhmd", segments.astype(x.dtype), x)
    return sums / count[:, None, :, None].astype(sums.dtype)


def _weights(
    queries: Float[Array, "b h q d"], keys: Float[Array, "b h k d"], seen: Bool[Array, "b k"]
) -> Float[Array, "b h q k"]:
    """Return softmax(Q K^T / sqrt(d)) over the keys that are seen."""
    logits = product("bhqd,bhkd->bhqk", queries * queries.shape[-1] ** -0.5, keys)
    return jax.nn.softmax(jnp.where(seen[:, None, None, :], logits, MASKED), axis=-1)


def _convolved(v: Float[Array, "b l h d"], kernel: Float[Array, "h w"]) -> Float[Array, "b l h d"]:
    """Return the values convolved along the sequence, by products with banded matrices.

    The sequence is cut into blocks. XLA for CPUs has no fast convolution of separate channels.
    """
    length, half = v.shape[1], kernel.shape[1] // 2
    block = max(_BLOCK, half)
    blocks = -(-length // block)
    x = jnp.pad(v, ((0, 0), (block, (blocks + 1) * block - length), (0, 0), (0, 0)))
    x = x.reshape(v.shape[0], blocks + 2, block, *v.shape[2:])
    window = jnp.concatenate([x[:, :-2], x[:, 1:-1], x[:, 2:]], axis=2)
    offset = jnp.arange(3 * block) - block - jnp.arange(block)[:, None] + half
    inside = (offset >= 0) & (offset < kernel.shape[1])
    band = jnp.where(inside, kernel[:, jnp.where(inside, offset, 0)], 0).astype(v.dtype)
    out = summed("hij,bnjhd->bnihd", band, window).astype(v.dtype)
    return out.reshape(v.shape[0], -1, *v.shape[2:])[:, :length]
