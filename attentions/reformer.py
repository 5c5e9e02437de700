"""Reformer: attention among tokens that locality-sensitive hashing groups together."""

import math

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, Key

from lra_bench.attentions._common import (
    MASKED,
    check_count,
    count_of_tokens,
    head_major,
    summed,
    token_major,
    without_padding,
)
from lra_bench.attentions._state import Options, keys_and_values
from lra_bench.contracts import Dims
from lra_bench.registry import register_attention

_BUCKET = 64
# The paper subtracts this where i = j, so a token attends to itself only if it sees no other.
_SELF_PENALTY = 1e5
# More buckets than this are hashed in two steps of about the square root each. A single step
# would cost O(l^2).
_LARGEST_SINGLE_HASH = 64


def _state(dims: Dims, options: Options) -> int:
    """Return the keys and values of two chunks for each round of hashing; of one if causal."""
    chunks = 1 if options["causal"] else 2
    return keys_and_values(dims, chunks * options["bucket_size"] * options["num_hashes"])


@register_attention("reformer", shares_query_key=True, family="learned-pattern", state=_state)
class Reformer(nnx.Module):
    """Attend within hash buckets, with shared queries and keys (LSH), Section 2 of Kitaev et al.

    Keys are normalised queries, k_j = q_j / |q_j|. Each round hashes them by random rotations,
    h(x) = argmax([xR; -xR]), and sorts the tokens by (bucket, position). It then cuts the sorted
    sequence into chunks of `bucket_size` tokens. Token i attends to P~_i, the tokens of its own
    chunk and of the chunk before. Logits are q_i k_j - log N_ij, where N_ij is the number of rounds
    in which j is in P~_i. The rounds are combined by their log-sum-exps, so that together they are
    one softmax over the union of the sets. A token attends to itself only if its sets hold no other
    token.

    The paper leaves out the factor 1 / sqrt(d) "for clarity". Its code (trax,
    `research/efficient_attention.py`, `attend`) and Hugging Face's multiply keys of length sqrt(d)
    by it, so that k_j has length 1 and logits the spread of those of softmax attention. Other code
    multiplies k_j of length 1 by it, and then attends almost evenly.

    If `causal`, the set is the last c tokens, up to and including i, of the bucket of i. They lie
    in the same two chunks. Unlike P~_i, this set does not depend on later tokens.

    Padding changes nothing: there are 2 max_len / bucket_size buckets for any length of input,
    padding is sorted to the end, and the first chunk has no chunk before it.
    Time O(r l (log l + c d + r c + d sqrt(l / c))), where the last term is the cost of hashing;
    memory O(r l (c + d)); with r rounds and chunks of c.

    Args:
        dims: sizes of the model.
        bucket_size: c, tokens per chunk. It does not grow with the length, so the cost is not
            quadratic. At most `max_len`, which is the default if it is below 64.
        num_hashes: r, the number of rounds of hashing.
        causal: whether a token sees only itself and earlier tokens.
        fresh_rotations: whether each call in training draws new rotations, as the implementation
            in Hugging Face's Transformers does. Evaluation keeps those that were drawn first.
        rngs: draws the rotations.

    References:
        Kitaev et al. 2020, "Reformer: The Efficient Transformer", arXiv:2001.04451.
    """

    def __init__(
        self,
        dims: Dims,
        *,
        bucket_size: int = _BUCKET,
        num_hashes: int = 2,
        causal: bool = False,
        fresh_rotations: bool = False,
        rngs: nnx.Rngs,
    ) -> None:
        check_count(num_hashes=num_hashes)
        count_of_tokens("bucket_size", bucket_size, _BUCKET, dims.max_len)
        self.bucket_size, self.causal, self.fresh = bucket_size, causal, fresh_rotations
        self.factors = _bucket_factors(2 * -(-dims.max_len // bucket_size))
        shape = (dims.num_heads, num_hashes, sum(self.factors) // 2, dims.head_dim)
        self.rotations = nnx.Variable(jax.random.normal(rngs(), shape, jnp.float32))

    def resample(self, key: Key[Array, ""]) -> None:
        """Draw new rotations."""
        self.rotations[...] = jax.random.normal(key, self.rotations.shape, jnp.float32)

    def __call__(
        self,
        q: Float[Array, "b l h d"],
        k: Float[Array, "b l h d"],
        v: Float[Array, "b l h d"],
        mask: Bool[Array, "b l"],
        rngs: nnx.Rngs | None = None,
    ) -> Float[Array, "b l h d"]:
        """Attend from `q` to the normalised `q`; `k` equals `q` and is not read."""
        del k
        rotations = self.rotations[...]
        if self.fresh and rngs is not None:
            rotations = jax.random.normal(rngs.dropout(), rotations.shape, jnp.float32)
        length = q.shape[1]
        chunk = min(self.bucket_size, length)
        fill = ((0, 0), (0, -length % chunk), (0, 0), (0, 0))
        q, v = (jnp.pad(without_padding(x, mask), fill) for x in (q, v))
        mask = jnp.pad(mask, fill[:2])
        queries, values = head_major(q), head_major(v)
        keys = _unit(queries)
        bucket = self._hash(keys, mask, rotations)
        order = _stable_order(bucket, math.prod(self.factors) + 1)
        # A scatter would be faster on CPUs, but makes TPUs move a sixth more bytes in total.
        rank = _stable_order(order, order.shape[-1])
        sorted_q, sorted_k, sorted_v = (
            _permute(jnp.broadcast_to(x[:, :, None], (*order.shape, x.shape[-1])), order, rank)
            for x in (queries, keys, values)
        )
        # Keys within `span` slots before the query's slot are in its set.
        slot, span = rank // chunk, 2
        if self.causal:
            slot, span = rank + bucket * (rank.shape[-1] + chunk), chunk
        bias = _pair_bias(order, slot, span, mask, chunk)
        outputs, totals = _attend_in_chunks(sorted_q, sorted_k, sorted_v, bias)
        outputs, totals = (_permute(x, rank, order) for x in (outputs, totals))
        out = jnp.sum(jax.nn.softmax(totals, axis=2) * outputs, axis=2)
        return token_major(out.astype(v.dtype))[:, :length]

    def _hash(
        self,
        keys: Float[Array, "b h l d"],
        mask: Bool[Array, "b l"],
        rotations: Float[Array, "h r n d"],
    ) -> Int[Array, "b h r l"]:
        """Return each token's bucket in each round, from 0; padding gets the highest number.

        h(x) = argmax([xR; -xR]) is computed for each factor of the bucket count.
        """
        rotated = summed("bhld,hrnd->bhrln", keys, rotations.astype(keys.dtype))
        bucket, start, count = jnp.zeros(rotated.shape[:-1], jnp.int32), 0, 1
        for factor in self.factors:
            part = rotated[..., start : start + factor // 2]
            hashed = jnp.argmax(jnp.concatenate([part, -part], axis=-1), axis=-1)
            bucket, start = bucket * factor + hashed, start + factor // 2
            count *= factor
        return jnp.where(mask[:, None, None, :], bucket, count)


def _bucket_factors(buckets: int) -> tuple[int, ...]:
    """Return one or two even numbers whose product is at least `buckets`."""
    even = buckets + buckets % 2
    if even <= _LARGEST_SINGLE_HASH:
        return (even,)
    root = 2 * round(even**0.5 / 2)
    return (root, 2 * -(-even // (2 * root)))


def _unit(x: Float[Array, "*b d"]) -> Float[Array, "*b d"]:
    """Return x / |x|, or 0 where x = 0, with finite gradients there too."""
    square = jnp.sum(jnp.square(x.astype(jnp.float32)), axis=-1, keepdims=True)
    tiny = square < 1e-20
    return jnp.where(tiny, 0, x * jax.lax.rsqrt(jnp.where(tiny, 1, square))).astype(x.dtype)


def _rows(x: Float[Array, "b h r l d"], index: Int[Array, "b h r l"]) -> Float[Array, "b h r l d"]:
    return jax.vmap(jax.vmap(jax.vmap(lambda rows, i: rows[i])))(x, index)


def _stable_order(keys: Int[Array, "b h r l"], bound: int) -> Int[Array, "b h r l"]:
    """Return the permutation that sorts keys in [0, bound); equal keys stay in order.

    Key and position are packed into one 32-bit number where they fit, which sorts several times
    faster.
    """
    length = keys.shape[-1]
    if bound * length > 2**32:
        return jnp.argsort(keys, axis=-1, stable=True)
    packed = keys.astype(jnp.uint32) * length + jnp.arange(length, dtype=jnp.uint32)
    return (jnp.sort(packed, axis=-1, stable=False) % length).astype(jnp.int32)


@jax.custom_vjp
def _permute(
    x: Float[Array, "b h r l d"], index: Int[Array, "b h r l"], inverse: Int[Array, "b h r l"]
) -> Float[Array, "b h r l d"]:
    """Permute the rows of x; the gradient is a gather by the inverse, not a scatter."""
    del inverse
    return _rows(x, index)


def _permute_forward(x: Array, index: Array, inverse: Array) -> tuple[Array, Array]:
    return _rows(x, index), inverse


def _permute_backward(inverse: Array, gradient: Array) -> tuple[Array, None, None]:
    return _rows(gradient, inverse), None, None


_permute.defvjp(_permute_forward, _permute_backward)


def _chunked(x: Array, chunk: int) -> Array:
    """Cut axis 3 (tokens) into chunks: (b, h, r, l, ...) -> (b, h, r, n, c, ...)."""
    return x.reshape(*x.shape[:3], -1, chunk, *x.shape[4:])


def _with_previous(x: Array, fill: float | bool) -> Array:
    """Put the previous chunk in front of each chunk; `fill` is in front of the first."""
    before = jnp.concatenate([jnp.full_like(x[:, :, :, :1], fill), x[:, :, :, :-1]], axis=3)
    return jnp.concatenate([before, x], axis=4)


def _pair_bias(
    order: Int[Array, "b h r l"],
    slot: Int[Array, "b h r l"],
    span: int,
    mask: Bool[Array, "b l"],
    chunk: int,
) -> Float[Array, "b h r n c two_c"]:
    """Return the bias of each sorted (query, key) logit: -m_ij of Eq. (3), and -log N_ij.

    In a round, token j is in the set of token i if 0 <= slot_i - slot_j < span. Tokens are
    numbered by position; -1 marks the keys before the first chunk.
    """
    token = _chunked(order, chunk)
    real = jnp.take_along_axis(mask[:, None, None, :], order, axis=3)
    key_token = _with_previous(token, -1)[..., None, :]
    rounds = [slot[:, :, r, None, :] for r in range(order.shape[2])]
    count = sum(_in_set(slots, order, span, chunk).astype(jnp.int32) for slots in rounds)
    bias = -jnp.log(jnp.maximum(count, 1).astype(jnp.float32))
    bias = jnp.where(token[..., :, None] == key_token, bias - _SELF_PENALTY, bias)
    seen = _with_previous(_chunked(real, chunk), False)[..., None, :]
    return jnp.where(seen & _in_set(slot, order, span, chunk), bias, MASKED)


def _in_set(
    slot: Int[Array, "b h r_or_1 l"], order: Int[Array, "b h r l"], span: int, chunk: int
) -> Bool[Array, "b h r n c two_c"]:
    """Return whether each sorted key is in the set of the sorted query, by one round's slots."""
    slot = _chunked(jnp.take_along_axis(slot, order, axis=3), chunk)
    distance = slot[..., :, None] - _with_previous(slot, 0)[..., None, :]
    return (distance >= 0) & (distance < span)


def _attend_in_chunks(
    queries: Float[Array, "b h r l d"],
    keys: Float[Array, "b h r l d"],
    values: Float[Array, "b h r l d"],
    bias: Float[Array, "b h r n c two_c"],
) -> tuple[Float[Array, "b h r l d"], Float[Array, "b h r l 1"]]:
    """Return each round's outputs o_i^(r) and log-sum-exps z(i, P_i^(r)), in sorted order."""
    chunk = bias.shape[-2]
    keys, values = (_with_previous(_chunked(x, chunk), 0) for x in (keys, values))
    logits = summed("...qd,...kd->...qk", _chunked(queries, chunk), keys) + bias
    totals = jax.nn.logsumexp(logits, axis=-1, keepdims=True)
    weights = jnp.exp(logits - totals).astype(values.dtype)
    outputs = summed("bhrnck,bhrnkd->bhrncd", weights, values).astype(values.dtype)
    return outputs.reshape(queries.shape), totals.reshape(*queries.shape[:-1], 1)
