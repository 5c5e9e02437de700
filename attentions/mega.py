"""MEGA: single-head gated attention on top of an exponential moving average."""

import functools
import math
from typing import Annotated, Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from lra_bench.attentions._common import (
    MASKED,
    check_count,
    dot_products,
    softmax_average,
    summed,
    wide,
)
from lra_bench.attentions._convolution import convolution
from lra_bench.attentions._sequence import ordered, real_first, reordered
from lra_bench.attentions._state import Options, directions
from lra_bench.contracts import Dims, Range
from lra_bench.layers import Dense
from lra_bench.registry import register_attention

_STD = 0.02  # of projections, scales and biases
_LEAST = 1e-7  # of the decay of a moving average: its logarithm must be finite
_MEAN, _DEVIATION = math.sqrt(0.5), math.sqrt(0.25 / math.pi)


def _state(dims: Dims, options: Options) -> int:
    """Return the keys and values of a query's chunk, and the moving averages."""
    tokens = min(options["chunk_size"] or dims.max_len, dims.max_len)
    attended = tokens * (options["key_dim"] + options["value_expansion"] * dims.emb_dim)
    return attended + directions(options) * options["ema_dim"] * dims.emb_dim


@register_attention("mega", mixer=True, family="recurrent", state=_state)
class Mega(nnx.Module):
    """Compute u (h - x), where h = silu(W_h m + U_h (r O)) and O is attention of moving averages.

    Section 3 of Ma et al. The moving average m = silu(EMA(x) + omega x) gives the update gate
    u = sigmoid(W_u m), the reset gate r = silu(W_r m) and z = silu(W_z m), from which come queries
    and keys, z scaled and shifted by features. Values are silu(W_v x). Then O = f(Q K^T / s + B) V
    with one head and a bias B learned for each distance. With "softmax", f is the softmax and
    s = sqrt(`key_dim`); with "laplace", f is the distribution function of N(1/2^0.5, 1/(4 pi)), not
    normalised, and s is the number of real keys that the query sees.

    The EMA is damped and of several dimensions: h_t = alpha beta x_t + (1 - alpha delta) h_{t-1}
    and y_t = eta h_t, each feature with `ema_dim` of them. It is computed as a convolution, with
    another EMA in the other direction that is added unless `causal`. The code of the paper cuts
    its kernels after 1,024 or 4,096 tokens; here they are as long as the sequence.

    The paper's output is u h + (1 - u) x, in which x is the input of the block before it is
    normalised, the `stream`. Here the block adds that input, so this layer returns u (h - x) with
    the same x. Where it is called without a block, x is the layer's input.

    Padding is moved behind the real tokens and set to zero: moving averages and distances pass over
    it, it is no key, and chunks start at the first real token. Defaults are those of the paper for
    most of the Long Range Arena; for its images the paper uses "laplace". The paper's dropout
    within the layer is left out. The block's dropout (`model.dropout`) is that of u (h - x); in the
    authors' code it is that of h.
    Time O(l^2 e), memory O(l^2 + l e). In chunks of c = `chunk_size` tokens: time
    O(l e (c + e + log(l))), memory O(l (c + e)).

    Args:
        dims: sizes of the model.
        chunk_size: c, the tokens that attend to each other; 0: all. The moving average is always
            over all tokens. The paper's MEGA-chunk has 128, and 4,096 for Path-X.
        attention: f.
        ema_dim: moving averages of each feature and direction.
        key_dim: features of queries and keys.
        value_expansion: features of values, in multiples of e.
        causal: whether a token sees only itself and earlier tokens.
        rngs: initialises as the code of the paper does: projections, scales and B from
            N(0, 0.02^2); alpha and delta are sigmoids of N(0, 0.2^2), beta is 1 and -1 by turns
            plus N(0, 0.02^2), eta from N(0, 1 / `ema_dim`), omega from N(0, 1).

    Raises:
        ValueError: an option is out of its range; or when called with a sequence longer than
            `max_len`.

    References:
        Ma et al. 2023, "Mega: Moving Average Equipped Gated Attention", arXiv:2209.10655.
    """

    def __init__(
        self,
        dims: Dims,
        *,
        chunk_size: Annotated[int, Range(1, 2**20, or_zero=True)] = 0,
        attention: Literal["softmax", "laplace"] = "softmax",
        ema_dim: int = 16,
        key_dim: int = 64,
        value_expansion: int = 2,
        causal: bool = False,
        rngs: nnx.Rngs,
    ) -> None:
        check_count(ema_dim=ema_dim, key_dim=key_dim, value_expansion=value_expansion)
        if chunk_size != 0:
            check_count(chunk_size=chunk_size)
        self.max_len, self.causal, self.attention = dims.max_len, causal, attention
        self.chunk_size = min(chunk_size or dims.max_len, dims.max_len)
        size, values = dims.emb_dim, value_expansion * dims.emb_dim
        self.sizes = (size, key_dim, values, size)
        self.average = MovingAverage(size, ema_dim, causal, rngs)
        self.value = _projection(size, values, rngs)
        self.gates = _projection(size, sum(self.sizes), rngs)
        self.out = _projection(values, size, rngs)
        self.scale = nnx.Param(_normal(rngs, 2, key_dim))
        self.shift = nnx.Param(jnp.zeros((2, key_dim)))
        self.bias = nnx.Param(_normal(rngs, 2 * self.chunk_size - 1))

    def __call__(
        self,
        x: Float[Array, "b l e"],
        mask: Bool[Array, "b l"],
        stream: Float[Array, "b l e"] | None = None,
    ) -> Float[Array, "b l e"]:
        """Return the gated attention of the real tokens, less the gated `stream`, by default x."""
        if x.shape[1] > self.max_len:
            raise ValueError(
                f"mega: got {x.shape[1]} tokens, but was built for {self.max_len} at most"
            )
        order = real_first(mask)
        x, stream = ordered(x, order), ordered(x if stream is None else stream, order)
        update, shared, reset, candidate = self._gates(self.average(x))
        # In float32, so that the gradients of both are summed over all tokens in it.
        scales = zip(self.scale[...], self.shift[...], strict=True)
        q, k = ((wide(shared) * a + b).astype(x.dtype) for a, b in scales)
        values = jnp.where(order.real, jax.nn.silu(self.value(x)), 0)
        attended = self._attended(q, k, values, order.real[..., 0])
        candidate = jax.nn.silu(candidate + self.out(jax.nn.silu(reset) * attended))
        return reordered(jax.nn.sigmoid(update) * (candidate - stream), order)

    def _gates(self, average: Float[Array, "b l e"]) -> tuple[Array, Array, Array, Array]:
        """Return the arguments of u, z, r and h; that of z is already activated."""
        cuts = [sum(self.sizes[:i]) for i in range(1, len(self.sizes))]
        update, shared, reset, candidate = jnp.split(self.gates(average), cuts, axis=-1)
        return update, jax.nn.silu(shared), reset, candidate

    def _attended(
        self,
        q: Float[Array, "b l z"],
        k: Float[Array, "b l z"],
        values: Float[Array, "b l v"],
        real: Bool[Array, "b l"],
    ) -> Float[Array, "b l v"]:
        """Return the attention within each chunk; the last one is filled with padding."""
        length = q.shape[1]
        chunk = min(self.chunk_size, length)
        q, k, values, real = (_chunks(array, chunk) for array in (q, k, values, real))
        seen = real[:, :, None]
        if self.causal:
            seen = seen & jnp.tri(chunk, dtype=bool)
        middle = self.chunk_size - 1  # of the bias: distance 0
        bias = _by_distance(self.bias[...][middle - chunk + 1 : middle + chunk])
        attend = _softmax if self.attention == "softmax" else _laplace
        out = attend(q, k, values, seen, bias)
        return out.reshape(len(out), -1, out.shape[-1])[:, :length]


def _projection(inputs: int, outputs: int, rngs: nnx.Rngs) -> Dense:
    layer = Dense(inputs, outputs, rngs=rngs)
    layer.kernel = nnx.Param(_normal(rngs, inputs, outputs))
    return layer


def _normal(rngs: nnx.Rngs, *shape: int, std: float = _STD) -> Array:
    return std * jax.random.normal(rngs.params(), shape)


def _chunks(x: Array, chunk: int) -> Array:
    """Cut (b, l, ...) into chunks, (b, n, c, ...), after zeros were added at the end."""
    count = -(-x.shape[1] // chunk)
    fill = [(0, 0), (0, count * chunk - x.shape[1]), *((0, 0) for _ in x.shape[2:])]
    return jnp.pad(x, fill).reshape(len(x), count, chunk, *x.shape[2:])


def _by_distance(bias: Float[Array, " 2c-1"]) -> Float[Array, "c c"]:
    """Return the matrix with elements bias[c - 1 + j - i], without a gather.

    A row of 2 c numbers, repeated and cut into rows of 2 c - 1, moves one to the right each row.
    """
    chunk = (len(bias) + 1) // 2
    rows = jnp.tile(jnp.pad(bias, (0, 1)), chunk)[: chunk * (2 * chunk - 1)]
    return rows.reshape(chunk, -1)[:, chunk - 1 :]


def _softmax(q: Array, k: Array, values: Array, seen: Array, bias: Array) -> Array:
    return softmax_average(jnp.where(seen, dot_products(q, k) + bias, MASKED), values)


def _laplace(q: Array, k: Array, values: Array, seen: Array, bias: Array) -> Array:
    count = jnp.maximum(jnp.sum(seen, axis=-1, keepdims=True), 1)
    logits = summed("...qd,...kd->...qk", q, k) / count + bias
    weights = jax.scipy.stats.norm.cdf(logits, _MEAN, _DEVIATION)
    weights = jnp.where(seen, weights, 0).astype(values.dtype)
    return summed("...qk,...kd->...qd", weights, values).astype(values.dtype)


class MovingAverage(nnx.Module):
    """Compute silu(EMA(x) + omega x) with a damped EMA, in both directions unless `causal`."""

    def __init__(self, size: int, dim: int, causal: bool, rngs: nnx.Rngs) -> None:
        self.causal = causal
        draw = functools.partial(_normal, rngs, 1 if causal else 2, size, dim)
        self.alpha, self.delta = (nnx.Param(draw(std=0.2)) for _ in range(2))
        self.beta = nnx.Param(draw() + (-1.0) ** jnp.arange(dim))
        self.eta = nnx.Param(draw(std=1.0))
        self.omega = nnx.Param(_normal(rngs, size, std=1.0))

    def __call__(self, x: Float[Array, "b l e"]) -> Float[Array, "b l e"]:
        """Return the moving average of each feature; padding must be zero."""
        kernels = self._kernels(x.shape[1])
        past, future = kernels[0], None
        if not self.causal:  # the token itself is in both averages
            past, future = past.at[:, 0].add(kernels[1, :, 0]), kernels[1, :, 1:]
        average = convolution(x, past, future) + x * self.omega[...]
        return jax.nn.silu(average).astype(x.dtype)

    def _kernels(self, length: int) -> Float[Array, "s e l"]:
        """Return sum_n eta_n alpha_n beta_n (1 - alpha_n delta_n)^t for t below `length`.

        Powers t = i c + j, with c near the root of the length, are products of two powers, so that
        the sum is a product of small matrices. It is of few terms and must have all digits.
        """
        alpha, delta = (jax.nn.sigmoid(p[...]) for p in (self.alpha, self.delta))
        logs = jnp.log(jnp.maximum(1 - alpha * delta, _LEAST))[..., None]
        heights = self.eta[...] * alpha.shape[-1] ** -0.5 * alpha * self.beta[...]
        block = math.isqrt(length - 1) + 1
        steps = jnp.arange(block, dtype=logs.dtype)
        starts, within = heights[..., None] * jnp.exp(logs * block * steps), jnp.exp(logs * steps)
        kernels = jnp.einsum("send,senj->sedj", starts, within, precision="highest")
        return kernels.reshape(*kernels.shape[:2], -1)[..., :length]
