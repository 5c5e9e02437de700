"""Random feature attention: a Gaussian kernel of queries and keys of length 1."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Key

from lra_bench.attentions._common import (
    MASKED,
    check_count,
    head_major,
    summed,
    wide,
    wide_dtype,
    without_padding,
)
from lra_bench.attentions._favor import Features, kernel_attention
from lra_bench.attentions._favor.projections import PROJECTIONS
from lra_bench.attentions._state import Options, kernel_sums
from lra_bench.contracts import Dims, Rule
from lra_bench.registry import register_attention

# The mean of the estimated kernel over the keys of a query is at least this.
_LEAST = 1e-2
# Sums of weights below this are 0; the square of its inverse is still finite.
_EMPTY = 1e-15
# Tokens of a chunk of the gated sums.
_CHUNK = 64


def _state(dims: Dims, options: Options) -> int:
    """Return the sums over keys, of two features a projection."""
    return kernel_sums(dims, 2 * options["num_features"])


@register_attention("rfa", equivariant=True, family="kernel", state=_state)
class RandomFeatureAttention(nnx.Module):
    """Compute phi(q)^T sum_j phi(k_j) v_j^T / (phi(q)^T sum_j phi(k_j)), random feature attention.

    phi(x) = D^(-1/2) (sin w_1^T y, .., sin w_D^T y, cos w_1^T y, .., cos w_D^T y) with
    y = s * x / |x|, where * is by element, w_i ~ N(0, I_d), and s is learned for each head. The
    features estimate the Gaussian kernel exp(-|y_q - y_k|^2 / 2) without bias. As |x| is divided
    out, and while all elements of s are equal, this kernel is that of softmax with logits
    s^2 q^T k / (|q| |k|).

    Only real keys are summed. If `causal`, a token sees itself and earlier tokens only: the sums
    are then the paper's recurrent states S_t = S_(t-1) + phi(k_t) v_t^T. If `gated` too, these are
    S_t = g_t S_(t-1) + (1 - g_t) phi(k_t) v_t^T with a gate g_t = sigmoid(a^T k_t + b) for each
    head, where a and b are learned; padding leaves them as they are. In the paper the gate reads
    the block's input x_t, of which a function of q, k and v sees only k_t.

    Estimates of a kernel by sines and cosines may be negative, and so may their sum. The normaliser
    is therefore at least 0.01 times the sum of the weights of the keys, which are 1 each without a
    gate. The paper's equation has no such limit; in the authors' code it is that of 1.56 keys, at D
    = 64. The w_i are the same for all heads, and are drawn anew only by `resample`; in the authors'
    code each head has its own, and each step of training takes another set of a pool. On a CPU it
    takes about 1.5 times the time of `performer-softmax` with 256 features, because sines and
    cosines are slow.
    Time O(l D d), memory O(l d + D d); with a gate, in chunks of c tokens, time O(l D (d + c)) and
    memory O(l D (d / c + 1)).

    Args:
        dims: sizes of the model.
        num_features: D, the number of random projections, of two features each; 64 in the authors'
            code.
        causal: whether a token sees only itself and earlier tokens.
        gated: whether earlier tokens fade; only with `causal`.
        rngs: draws the projections, and a from N(0, I_d / d); s starts as 1, and b as 0.

    Raises:
        ValueError: an option is out of its range, or it is `gated` and not `causal`.

    References:
        Peng et al. 2021, "Random Feature Attention", arXiv:2103.02143.
    """

    def __init__(
        self,
        dims: Dims,
        *,
        num_features: int = 64,
        causal: bool = False,
        gated: bool = False,
        rngs: nnx.Rngs,
    ) -> None:
        check_count(num_features=num_features)
        if gated and not causal:
            raise ValueError("gated=True: only with causal=True")
        self.causal, self.shape = causal, (num_features, dims.head_dim)
        shape = (dims.num_heads, dims.head_dim)
        self.scale = nnx.Param(jnp.ones(shape, jnp.float32), rule=Rule(decay=False))
        self.projection = nnx.Variable(self._draw(rngs()))
        self.gate = _Gate(shape, rngs) if gated else None

    def resample(self, key: Key[Array, ""]) -> None:
        """Draw new projections."""
        self.projection[...] = self._draw(key)

    def __call__(
        self,
        q: Float[Array, "b l h d"],
        k: Float[Array, "b l h d"],
        v: Float[Array, "b l h d"],
        mask: Bool[Array, "b l"],
    ) -> Float[Array, "b l h d"]:
        """Average the real `v`, weighted by the estimated kernel of `q` and `k`."""
        k = without_padding(k, mask)
        queries, keys = (self.scale[...] * _unit(x) for x in (q, k))
        # A value of 1 gives the normaliser.
        values = jnp.concatenate([v, jnp.ones_like(v[..., :1])], axis=-1)
        if self.gate is None:
            sums = self._sums(queries, keys, values, mask)
            count = jnp.cumsum(mask, axis=1) if self.causal else jnp.sum(mask, axis=1)[:, None]
            total = jnp.maximum(count, 1)[:, :, None]
        else:
            logits = jnp.where(mask[:, :, None], self.gate(k), -MASKED)
            phi_q, phi_k = (_waves(head_major(x), self.projection[...]) for x in (queries, keys))
            values = head_major(without_padding(values, mask))
            sums, total = _gated_sums(phi_q, phi_k, values, logits)
        least = jnp.maximum(_LEAST * total[..., None], _EMPTY).astype(v.dtype)
        return sums[..., :-1] / jnp.maximum(sums[..., -1:], least)

    def _sums(self, q: Array, k: Array, v: Array, mask: Array) -> Float[Array, "b l h d_and_1"]:
        """Return phi(q)^T sum_j phi(k_j) v_j^T. Keys must be as wide as values, so they get a 0."""
        q, k = (jnp.pad(x, ((0, 0), (0, 0), (0, 0), (0, 1))) for x in (q, k))
        options = {"causal": self.causal, "renormalize": False}
        return kernel_attention(q, k, v, mask, _features, self.projection[...], **options)

    def _draw(self, key: Key[Array, ""]) -> Float[Array, "D d"]:
        return PROJECTIONS["iid"].draw(key, *self.shape)


def _unit(x: Float[Array, "*b d"]) -> Float[Array, "*b d"]:
    """Return x / |x| in float32 or wider, or 0 where x = 0, with finite gradients there too."""
    x = wide(x)
    square = jnp.sum(jnp.square(x), axis=-1, keepdims=True)
    tiny = square < 1e-20
    return jnp.where(tiny, 0, x * jax.lax.rsqrt(jnp.where(tiny, 1, square)))


def _waves(x: Float[Array, "*b d"], drawn: Float[Array, "D d"]) -> Float[Array, "*b two_D"]:
    """Return phi(x) = D^(-1/2) (sin w^T x, cos w^T x)."""
    projected = PROJECTIONS["iid"].apply(x, drawn)
    waves = jnp.concatenate([jnp.sin(projected), jnp.cos(projected)], axis=-1)
    return waves * len(drawn) ** -0.5


def _features(x: Float[Array, "*b d_and_1"], drawn: Float[Array, "D d"]) -> Features:
    """Return phi of all but the last element of x."""
    return Features(None, _waves(x[..., :-1], drawn))


class _Gate(nnx.Module):
    """Compute a^T k + b for each head: the logit of a gate."""

    def __init__(self, shape: tuple[int, int], rngs: nnx.Rngs) -> None:
        weight = jax.random.normal(rngs.params(), shape, jnp.float32) * shape[1] ** -0.5
        self.weight = nnx.Param(weight)
        self.bias = nnx.Param(jnp.zeros(shape[:1], jnp.float32))

    def __call__(self, k: Float[Array, "b l h d"]) -> Float[Array, "b l h"]:
        """Return the logits, in float32 or wider."""
        return jnp.sum(k * self.weight[...], axis=-1) + self.bias[...]


def _gated_sums(
    queries: Float[Array, "b h l m"],
    keys: Float[Array, "b h l m"],
    values: Float[Array, "b h l e"],
    logits: Float[Array, "b l h"],
) -> tuple[Float[Array, "b l h e"], Float[Array, "b l h"]]:
    """Return queries^T S_t, and the sum of the weights in S_t, which is 1 - g_1 .. g_t.

    A scan over chunks of tokens carries S_t. Within a chunk the weight of key j for query t is
    (1 - g_j) g_(j+1) .. g_t. The backward pass computes a chunk again from the state before it.
    """
    length = queries.shape[2]
    chunk = min(_CHUNK, length)
    fill = (0, -length % chunk)
    tokens = [jnp.pad(x, ((0, 0), (0, 0), fill, (0, 0))) for x in (queries, keys, values)]
    logits = jnp.pad(head_major(logits[..., None]), ((0, 0), (0, 0), fill, (0, 0)))[..., 0]
    kept, added = jax.nn.log_sigmoid(logits), jax.nn.sigmoid(-logits)
    seen = jnp.tri(chunk, dtype=bool)

    @jax.checkpoint
    def step(state: Array, x: tuple[Array, ...]) -> tuple[Array, Array]:
        queries, keys, values, kept, added = x
        until = jnp.cumsum(kept, axis=-1)
        fading = jnp.where(seen, until[..., :, None] - until[..., None, :], MASKED)
        pairs = summed("bhtm,bhsm->bhts", queries, keys) * jnp.exp(fading) * added[..., None, :]
        out = summed("bhts,bhse->bhte", pairs.astype(values.dtype), values)
        out += jnp.exp(until)[..., None] * summed("bhtm,bhme->bhte", queries, state)
        weights = jnp.exp(until[..., -1:] - until) * added
        new = summed("bhsm,bhse->bhme", keys * weights[..., None], values)
        return jnp.exp(until[..., -1])[..., None, None] * state + new, out

    def cut(x: Array) -> Array:
        return jnp.moveaxis(x.reshape(*x.shape[:2], -1, chunk, *x.shape[3:]), 2, 0)

    shape = (*keys.shape[:2], keys.shape[3], values.shape[3])
    start = jnp.zeros(shape, wide_dtype(values))
    _, out = jax.lax.scan(step, start, tuple(map(cut, (*tokens, kept, added))))
    out = jnp.moveaxis(out, (0, 3), (1, 2)).reshape(shape[0], -1, shape[1], shape[3])[:, :length]
    total = -jnp.expm1(jnp.cumsum(kept, axis=-1))[..., :length]
    return out.astype(values.dtype), jnp.moveaxis(total, 1, 2)
