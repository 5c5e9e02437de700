"""Gated DeltaNet: a memory that forgets by a gate and overwrites what a key returns."""

import functools
import math
from typing import Annotated

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from lra_bench.attentions._common import check_count, summed, wide
from lra_bench.attentions._gated_sums import in_chunks, out_of_chunks, ratios
from lra_bench.attentions._sequence import both_ways, ordered, real_first, reordered, two_ways
from lra_bench.attentions._state import Options, directions
from lra_bench.contracts import Dims, Range, Rule
from lra_bench.layers import Dense
from lra_bench.registry import register_attention

_CHUNK = 64
_STEP_MIN, _STEP_MAX = 1e-3, 1e-1  # bounds of the initial time steps
_LARGEST_RATE = 16.0  # of the initial gates
_UNIT_EPSILON, _NORM_EPSILON = 1e-6, 1e-5
_NO_DECAY = Rule(decay=False)


def _state(dims: Dims, options: Options) -> int:
    """Return the states S, and the tokens that the short convolutions read."""
    convolved = 3 * dims.inner * max(options["conv_size"] - 1, 0)
    return directions(options) * (dims.inner * dims.head_dim + convolved)


@register_attention("gated-deltanet", mixer=True, family="recurrent", state=_state)
class GatedDeltaNet(nnx.Module):
    """Compute o_t = S_t q_t with S_t = S_(t-1) a_t (I - b_t k_t k_t^T) + b_t v_t k_t^T, Eq. (10).

    The state S maps keys to values. The gate a_t = exp(-exp(A) softplus(w x_t + c)) lets it
    forget, and the delta rule replaces a share b_t = sigmoid(w' x_t + c') of what it returns for
    k_t by v_t. Queries, keys and values are linear in x, then pass through a short convolution
    over the last `conv_size` tokens and SiLU; queries and keys are divided by their norms. The
    output is W (RMSNorm(o) * SiLU(G x)).

    Tokens of a chunk are computed together by the extended WY representation (Appendix A): a
    triangular system gives what each token writes, and a scan carries S from chunk to chunk. All
    of it is in float32 at least.

    The paper is causal. Here the same layer also reads the sequence from its end, with the same
    parameters, and o is the sum of both directions; each includes the token itself. Heads have
    the sizes of the model, where the official code has keys of 0.75 and values of 1.5 times the
    features.
    Layers have biases. The five projections have 5 e^2 parameters; softmax attention has 4 e^2.
    On a CPU it takes about six times as long as performer-softmax, since it has two directions
    and solves a triangular system in each chunk.
    Padding is moved behind the real tokens, and its keys and values are zero, so that it writes
    nothing before the first token of either direction.
    Time O(l e (e + c + d) + l h c^2 log(c)), memory O(l h (c + d + d^2 / c)), with chunks of c =
    `chunk_size` tokens.

    Args:
        dims: sizes of the model.
        conv_size: tokens of the short convolutions: the token itself and those before it (after
            it, in the direction from the end). 0: no convolutions.
        chunk_size: c, in tokens. It changes speed and memory, not the result.
        causal: whether a token sees only itself and earlier tokens, as in the paper.
        rngs: draws the parameters.

    References:
        Yang, Kautz and Hatamizadeh 2024, "Gated Delta Networks: Improving Mamba2 with Delta Rule",
        arXiv:2412.06464; Eq. (10) has the number 8 in some versions; gates and initial values as in
        github.com/NVlabs/GatedDeltaNet.
    """

    def __init__(
        self,
        dims: Dims,
        *,
        conv_size: Annotated[int, Range(1, 16, or_zero=True)] = 4,
        chunk_size: int = _CHUNK,
        causal: bool = False,
        rngs: nnx.Rngs,
    ) -> None:
        check_count(chunk_size=chunk_size)
        self.chunk_size, self.causal = chunk_size, causal
        self.heads = (dims.num_heads, dims.head_dim)
        inner = dims.num_heads * dims.head_dim
        self.project = Dense(dims.emb_dim, 3 * inner, rngs=rngs)
        self.output_gate = Dense(dims.emb_dim, inner, rngs=rngs)
        lecun = nnx.initializers.lecun_normal()
        self.forget = nnx.Param(lecun(rngs.params(), (dims.emb_dim, dims.num_heads), jnp.float32))
        self.share = Dense(dims.emb_dim, dims.num_heads, rngs=rngs)
        draw = functools.partial(jax.random.uniform, shape=(dims.num_heads,), dtype=jnp.float32)
        log_rate = jnp.log(_LARGEST_RATE * (1 - draw(rngs.params())))  # of numbers above 0
        self.log_rate = nnx.Param(log_rate, rule=_NO_DECAY)
        bounds = math.log(_STEP_MIN), math.log(_STEP_MAX)
        step = jnp.exp(draw(rngs.params(), minval=bounds[0], maxval=bounds[1]))
        self.step_bias = nnx.Param(step + jnp.log(-jnp.expm1(-step)), rule=_NO_DECAY)
        bound = max(conv_size, 1) ** -0.5
        shape = conv_size, 3 * inner
        kernel = jax.random.uniform(rngs.params(), shape, jnp.float32, -bound, bound)
        self.kernel = nnx.Param(kernel) if conv_size else None
        self.scale = nnx.Param(jnp.ones(dims.head_dim, jnp.float32))
        self.out = Dense(inner, dims.emb_dim, rngs=rngs)

    def __call__(self, x: Float[Array, "b l e"], mask: Bool[Array, "b l"]) -> Float[Array, "b l e"]:
        """Return what the memory returns, gated and projected back."""
        order = real_first(mask)
        tokens = ordered(x, order)
        # Normalising magnifies the rounding of small queries, keys and reads.
        projected = jnp.where(order.real, self.project(wide(tokens)), 0)
        log_gates, shares = self._rates(tokens)
        if self.causal:
            out = self._read(projected, log_gates, shares)
        else:
            arrays = (both_ways(y) for y in (projected, log_gates, shares))
            forward, backward = two_ways(self._read(*arrays))
            out = forward + backward
        out = self._normalised(out).reshape(*x.shape[:2], -1)
        # Rounded once to the type of x, after the product.
        gate = jax.nn.silu(self.output_gate(tokens).astype(out.dtype))
        return reordered(self.out((out * gate).astype(x.dtype)), order)

    def _rates(self, x: Float[Array, "b l e"]) -> tuple[Float[Array, "b l h"], Array]:
        """Return log a_t and b_t, each (b, l, h)."""
        steps = summed("ble,eh->blh", x, self.forget[...].astype(x.dtype)) + self.step_bias[...]
        log_gates = -jnp.exp(self.log_rate[...]) * jax.nn.softplus(steps)
        return log_gates, jax.nn.sigmoid(self.share(x).astype(steps.dtype))

    def _read(
        self, projected: Float[Array, "b l f"], log_gates: Array, shares: Array
    ) -> Float[Array, "b l h d"]:
        """Return o_t of one direction."""
        if self.kernel is not None:
            projected = convolved(projected, self.kernel[...])
        heads = jax.nn.silu(projected).reshape(*projected.shape[:2], 3, *self.heads)
        q, k = _unit(heads[:, :, 0]), _unit(heads[:, :, 1])
        return delta_reads(q, k, heads[:, :, 2], log_gates, shares, self.chunk_size)

    def _normalised(self, x: Float[Array, "b l h d"]) -> Float[Array, "b l h d"]:
        """Return x / sqrt(mean(x^2) + epsilon), scaled: RMSNorm of each head."""
        square = jnp.mean(jnp.square(x), axis=-1, keepdims=True)
        return x * jax.lax.rsqrt(square + _NORM_EPSILON) * self.scale[...]


def convolved(x: Float[Array, "b l f"], kernel: Float[Array, "s f"]) -> Float[Array, "b l f"]:
    """Return the sum over i of kernel_(s-1-i) x_(t-i), for each feature; 0 before the start."""
    size, length = len(kernel), x.shape[1]
    x = jnp.pad(x, ((0, 0), (size - 1, 0), (0, 0)))
    return functools.reduce(jnp.add, (kernel[i] * x[:, i : i + length] for i in range(size)))


def _unit(x: Float[Array, "*b d"]) -> Float[Array, "*b d"]:
    """Return x / sqrt(|x|^2 + epsilon)."""
    return x * jax.lax.rsqrt(jnp.sum(jnp.square(x), axis=-1, keepdims=True) + _UNIT_EPSILON)


def delta_reads(
    q: Float[Array, "b l h d"],
    k: Float[Array, "b l h d"],
    v: Float[Array, "b l h d"],
    log_gates: Float[Array, "b l h"],
    shares: Float[Array, "b l h"],
    chunk: int,
) -> Float[Array, "b l h d"]:
    """Return o_t = S_t q_t of the gated delta rule, Eq. (10), in chunks.

    With c_t the product of the gates of the chunk up to t, token t writes
    u_t = b_t (v_t - c_t S k_t - sum over i < t of (c_t / c_i) (k_i^T k_t) u_i), where S is the
    state before the chunk. The triangular system is solved for v and for c k, since u is linear
    in S.

    Args:
        q, k, v: queries, keys and values; keys have norms of at most 1, and are 0 at padding.
        log_gates, shares: log a_t and b_t.
        chunk: tokens of a chunk; at most the length is used.
    """
    length, dim = v.shape[1], v.shape[3]
    arrays = (in_chunks(x, min(chunk, length)) for x in (q, k, v, log_gates, shares[..., None]))
    queries, keys, values, gates, share = arrays
    totals = jnp.cumsum(gates, axis=-1)
    decay, kept = ratios(totals), jnp.exp(totals)[..., None]
    left = share * summed("bhnid,bhnjd->bhnij", keys, keys) * decay
    right = share * jnp.concatenate([values, kept * keys], axis=-1)
    solved = summed("bhnij,bhnje->bhnie", inverse(left), right)
    weights = summed("bhnid,bhnjd->bhnij", queries, keys) * decay
    last = jnp.exp(totals[..., -1:] - totals)[..., None]
    parts = (kept * queries, weights, *jnp.split(solved, [dim], -1), last * keys, kept[..., -1:, :])
    return out_of_chunks(_carried(*(jnp.moveaxis(x, 2, 0) for x in parts)), length)


@jax.custom_vjp
def inverse(x: Float[Array, "... c c"]) -> Float[Array, "... c c"]:
    """Return the inverse of I plus the part of x below the diagonal.

    Diagonal blocks are inverted in pairs of twice the size at each step: the inverse of
    [[A, 0], [C, B]] is [[A^-1, 0], [-B^-1 C A^-1, B^-1]]. That has the accuracy of substitution,
    and takes 2 log2(c) products of matrices; XLA's triangular solve takes 15 times as long on CPUs.
    """
    size, place = 1, jnp.arange(x.shape[-1])
    found = jnp.broadcast_to(jnp.eye(len(place), dtype=x.dtype), x.shape)
    while size < len(place):
        row, column = place[:, None] // size, place // size
        between = jnp.where((row % 2 == 1) & (column == row - 1), x, 0)
        found -= _product(found, _product(between, found))
        size *= 2
    return found


def _inverse_forward(x: Array) -> tuple[Array, Array]:
    found = inverse(x)
    return found, found


def _inverse_backward(found: Array, gradient: Array) -> tuple[Array]:
    """Return the gradient of x, -F^T G F^T below the diagonal, with the inverse F."""
    turned = jnp.swapaxes(found, -1, -2)
    return (jnp.tril(-_product(turned, _product(gradient, turned)), -1),)


inverse.defvjp(_inverse_forward, _inverse_backward)


def _product(a: Float[Array, "... i j"], b: Float[Array, "... j k"]) -> Float[Array, "... i k"]:
    return summed("...ij,...jk->...ik", a, b)


def _carried(queries: Array, *others: Array) -> Float[Array, "b h n c d"]:
    """Return the reads of all chunks; the state is carried from each to the next."""

    def step(state: Array, chunk: tuple[Array, ...]) -> tuple[Array, Array]:
        queries, weights, written, erased, keys, kept = chunk
        new = written - summed("bhid,bhde->bhie", erased, state)
        out = summed("bhid,bhde->bhie", queries, state)
        out += summed("bhij,bhje->bhie", weights, new)
        return kept * state + summed("bhjd,bhje->bhde", keys, new), out

    state = jnp.zeros((*queries.shape[1:3], queries.shape[-1], others[1].shape[-1]), queries.dtype)
    return jnp.moveaxis(jax.lax.scan(step, state, (queries, *others))[1], 0, 2)
