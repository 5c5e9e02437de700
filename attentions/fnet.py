"""FNet: tokens are mixed by a Fourier transform, without parameters."""

from typing import Any

import jax.numpy as jnp
from flax import nnx
from jax import lax
from jaxtyping import Array, Bool, Complex, Float, Int

from lra_bench.attentions._common import wide
from lra_bench.attentions._convolution import points_of
from lra_bench.attentions._sequence import Order, ordered, real_first, reordered
from lra_bench.attentions._state import Options
from lra_bench.contracts import Dims
from lra_bench.registry import register_attention

_HALF = 1_024  # a factor of products that would not fit 32 bits at once
_LONGEST = _HALF**2


def _state(dims: Dims, options: Options) -> int:
    """Return all tokens: each output is a sum over them."""
    del options
    return dims.max_len * dims.emb_dim


@register_attention("fnet", mixer=True, family="convolution", state=_state)
class FNet(nnx.Module):
    """Compute the real part of the discrete Fourier transform over tokens and features.

    Section 3.2 of Lee-Thorp et al.: y = Re(F_tokens(F_features(x))) / sqrt(n e), with n real
    tokens. Nothing is learned. The paper does not divide, but normalises the sum x + y. The blocks
    here normalise x before, so a y that is sqrt(n e) times as large as x would drown all that the
    feed-forward networks add.

    The n real tokens of an example are transformed by a transform of length n, which is exact for
    each n: padding changes nothing, and the outputs of padded tokens are zero. If padding stands
    between real tokens, these are moved together before, and back afterwards. The length differs
    among the examples of a batch, so Bluestein's algorithm makes each transform a convolution with
    a chirp: with w = exp(-i pi / n), y_k = w^(k^2) sum_t (x_t w^(t^2)) w^(-(k - t)^2).
    Time O(l e log(l e)), memory O(l e), in float32.

    Args:
        dims: sizes of the model.
        rngs: not used.

    Raises:
        ValueError: when called with more than 1,048,576 tokens.

    References:
        Lee-Thorp et al. 2022, "FNet: Mixing Tokens with Fourier Transforms", arXiv:2105.03824;
        Bluestein 1970, "A linear filtering approach to the computation of discrete Fourier
        transform".
    """

    def __init__(self, dims: Dims, *, rngs: nnx.Rngs) -> None:
        del dims, rngs

    def __call__(self, x: Float[Array, "b l e"], mask: Bool[Array, "b l"]) -> Float[Array, "b l e"]:
        """Return the transform of the real tokens; zero at padding."""
        if x.shape[1] > _LONGEST:
            raise ValueError(f"fnet: got {x.shape[1]} tokens, but at most {_LONGEST} are possible")
        order, count = real_first(mask), jnp.sum(mask, axis=1)
        tokens = wide(ordered(x, order))
        spectrum = _token_transform(jnp.fft.rfft(tokens), count)
        scale = (jnp.maximum(count, 1) * x.shape[2]).astype(tokens.dtype)[:, None, None] ** -0.5
        y = scale * _both_halves(jnp.real(spectrum), x.shape[2], count)
        return reordered(jnp.where(order.real, y, 0), order).astype(x.dtype)


def _token_transform(
    x: Complex[Array, "b l f"], count: Int[Array, " b"]
) -> Complex[Array, "b l f"]:
    """Return the transform over the first `count` tokens of each example; the others are zero.

    What comes out after the first `count` frequencies means nothing.
    """
    length = x.shape[1]
    points = points_of(length)
    chirp = _chirp(length, count, jnp.real(x).dtype)
    zeros = jnp.zeros((len(x), points - 2 * length + 1), x.dtype)
    wave = jnp.conj(jnp.concatenate([chirp, zeros, jnp.flip(chirp[:, 1:], axis=1)], axis=1))
    tokens = jnp.fft.fft(jnp.swapaxes(x, 1, 2) * chirp[:, None], n=points)
    y = jnp.fft.ifft(tokens * jnp.fft.fft(wave)[:, None])[..., :length]
    return jnp.swapaxes(y * chirp[:, None], 1, 2)


def _chirp(length: int, count: Int[Array, " b"], dtype: Any) -> Complex[Array, "b l"]:
    """Return w^(t^2) = exp(-i pi t^2 / n).

    The square is reduced modulo 2 n, in parts that fit 32 bits: a phase of many turns would leave
    no digits for the last one.
    """
    t = jnp.arange(length, dtype=jnp.uint32)
    n = jnp.maximum(count, 1).astype(jnp.uint32)[:, None]
    high, low = t * (t // _HALF) % (2 * n) * _HALF, t * (t % _HALF)
    turn = (high % (2 * n) + low) % (2 * n)
    angle = -jnp.pi * (turn.astype(dtype) / n.astype(dtype))
    return lax.complex(jnp.cos(angle), jnp.sin(angle))


def _both_halves(
    y: Float[Array, "b l f"], features: int, count: Int[Array, " b"]
) -> Float[Array, "b l e"]:
    """Return all features of the real part, of which the transform of real numbers has half.

    The others are those of the opposite frequencies: Re Y[k, f] = Re Y[-k, -f].
    """
    k, n = jnp.arange(y.shape[1]), count[:, None]
    opposite = jnp.where(k < n, (n - k) % jnp.maximum(n, 1), k)
    order = Order(opposite, opposite, (k < n)[:, :, None])  # its own inverse
    other = reordered(y[..., 1 : (features + 1) // 2], order)
    return jnp.concatenate([y, jnp.flip(other, axis=-1)], axis=-1)
