"""Long convolutions: each feature is convolved with a learned kernel as long as the sequence."""

import math
from typing import Annotated, Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from lra_bench.attentions._common import check_count, check_not_negative
from lra_bench.attentions._convolution import convolution
from lra_bench.attentions._sequence import ordered, real_first, reordered
from lra_bench.attentions._state import Options
from lra_bench.contracts import Dims, Range, Rule
from lra_bench.layers import Dense, gelu
from lra_bench.registry import register_attention

_SQUASH, _WINDOW, _DROPOUT, _SCALE = 0.003, 7, 0.2, 64
_RATE = 0.1  # of the learning rate: 0.001 beside 0.01 for Text and Image in the papers


def _state(dims: Dims, options: Options) -> int:
    """Return all tokens: the kernel is as long as the sequence."""
    del options
    return dims.max_len * dims.emb_dim


@register_attention("long-conv", mixer=True, family="convolution", state=_state)
class LongConv(nnx.Module):
    """Compute GLU(W GELU(K * x + D x)), a convolution over all tokens with learned kernels K.

    With "squash", K = sign(k) max(|k| - lambda, 0) of learned k; with "smooth", K is the mean of
    `smooth_window` neighbours in k; "smooth-squash" does both, in that order (Section 3 of Fu et
    al.). With "sgconv", K = [K_0, K_1, ...] / Z, where K_i are 2^-i times `scale_size` learned
    numbers, stretched linearly by 2^max(i - 1, 0), so that the kernel decays with the distance and
    has O(log(l)) parameters (Section 3 of Li et al.). Z makes the norm of K one when training
    starts, and is kept.

    Each feature has a kernel for the token itself and earlier ones, and another for later ones,
    unless `causal`. Both papers run some tasks of the Long Range Arena with one direction only.
    Padding is moved behind the real tokens and set to zero before the convolution: nothing is read
    from it, and distances count real tokens only. Defaults are those of Fu et al. for Text and
    Image of the Long Range Arena; for other tasks they have `squash` from 0.001 to 0.004 and
    `kernel_dropout` from 0.1 to 0.3. With 0.003, 87 % of k are squashed to 0 when training starts;
    they have no gradient and stay so. Kernels learn at a tenth of the learning rate, as there too;
    their other tasks have from 1/100 to 1. Learned k are without weight decay. GELU is the
    approximation by tanh, as in the rest of the model. Fu et al. also drop single outputs of GELU;
    here, dropout is outside. Learned k are 2 `channels` e `max_len` parameters, half as many if
    `causal`. If `causal`, other tokens leave rounding errors of the Fourier transform.
    Time O(l e (log(l) + e)), memory O(l e).

    Args:
        dims: sizes of the model.
        kernel: how K is made of what is learned.
        channels: kernels of each feature; their outputs are inputs of W.
        squash: lambda, with "squash" and "smooth-squash".
        smooth_window: neighbours that are averaged, with "smooth" and "smooth-squash"; odd.
        scale_size: learned numbers of each scale, with "sgconv".
        kernel_dropout: the fraction of K that is dropped in training; not with "sgconv".
        causal: whether a token sees only itself and earlier tokens.
        rngs: initialises k from N(0, 0.002^2), the numbers of "sgconv" and D from N(0, 1).

    Raises:
        ValueError: an option is out of its range, or `smooth_window` is even; or when called with
            a sequence longer than `max_len`.

    References:
        Fu et al. 2023, "Simple Hardware-Efficient Long Convolutions for Sequence Modeling",
        arXiv:2302.06646; Li et al. 2022, "What Makes Convolutional Models Great on Long Sequence
        Modeling?", arXiv:2210.09298.
    """

    def __init__(
        self,
        dims: Dims,
        *,
        kernel: Literal["squash", "smooth", "smooth-squash", "sgconv"] = "squash",
        channels: int = 2,
        squash: Annotated[float, Range(0, 1)] = _SQUASH,
        smooth_window: int = _WINDOW,
        scale_size: int = _SCALE,
        kernel_dropout: Annotated[float, Range(0, 0.99)] = _DROPOUT,
        causal: bool = False,
        rngs: nnx.Rngs,
    ) -> None:
        check_count(channels=channels, smooth_window=smooth_window, scale_size=scale_size)
        check_not_negative(squash=squash, kernel_dropout=kernel_dropout)
        if kernel_dropout >= 1:
            raise ValueError(f"kernel_dropout={kernel_dropout}: must be less than 1")
        if smooth_window % 2 == 0:
            raise ValueError(f"smooth_window={smooth_window}: must be odd")
        self.causal, self.max_len, size = causal, dims.max_len, dims.emb_dim
        shape = (1 if causal else 2, channels, size)
        self.kernel = (
            ScaledKernel(shape, dims.max_len, scale_size, rngs)
            if kernel == "sgconv"
            else LearnedKernel(
                shape,
                dims.max_len,
                squash if "squash" in kernel else 0.0,
                smooth_window if "smooth" in kernel else 1,
                kernel_dropout,
                rngs,
            )
        )
        self.skip = nnx.Param(jax.random.normal(rngs.params(), (channels, size)))
        self.out = Dense(channels * size, 2 * size, rngs=rngs)

    def __call__(
        self,
        x: Float[Array, "b l e"],
        mask: Bool[Array, "b l"],
        rngs: nnx.Rngs | None = None,
    ) -> Float[Array, "b l e"]:
        """Return the gated convolution of the real tokens."""
        if x.shape[1] > self.max_len:
            raise ValueError(
                f"long-conv: got {x.shape[1]} tokens, but was built for {self.max_len} at most"
            )
        order = real_first(mask)
        x = ordered(x, order)
        past, future = self._kernels(x.shape[1], rngs)
        y = gelu(convolution(x, past, future) + x * self.skip[...][:, None, None]).astype(x.dtype)
        y = jnp.moveaxis(y, 0, 2).reshape(*x.shape[:2], -1)
        return reordered(jax.nn.glu(self.out(y)), order)

    def _kernels(
        self, length: int, rngs: nnx.Rngs | None
    ) -> tuple[Float[Array, "c e l"], Float[Array, "c e l"] | None]:
        kernels = self.kernel(length, rngs)
        return (kernels[0], None) if self.causal else (kernels[0], kernels[1])


class LearnedKernel(nnx.Module):
    """Return a kernel that is learned number by number, then smoothed and squashed."""

    def __init__(
        self,
        shape: tuple[int, ...],
        max_len: int,
        squash: float,
        window: int,
        dropout: float,
        rngs: nnx.Rngs,
    ) -> None:
        self.squash, self.window, self.dropout = squash, window, dropout
        init = 0.002 * jax.random.normal(rngs.params(), (*shape, max_len))
        self.weights = nnx.Param(init, rule=Rule(rate=_RATE, decay=False))

    def __call__(self, length: int, rngs: nnx.Rngs | None) -> Float[Array, "s c e l"]:
        """Return the first `length` weights of each kernel."""
        kernel = _smooth(self.weights[...], self.window)[..., :length]
        kernel = jnp.sign(kernel) * jnp.maximum(jnp.abs(kernel) - self.squash, 0)
        if rngs is None or not self.dropout:
            return kernel
        kept = jax.random.bernoulli(rngs.dropout(), 1 - self.dropout, kernel.shape)
        return jnp.where(kept, kernel / (1 - self.dropout), 0)


def _smooth(kernel: Float[Array, "s c e l"], window: int) -> Float[Array, "s c e l"]:
    """Return the mean of each number and its neighbours; outside of the kernel, these are zero."""
    side = window // 2
    padded = jnp.pad(kernel, ((0, 0),) * 3 + ((side, side),))
    shifted = (padded[..., i : i + kernel.shape[-1]] for i in range(window))
    return sum(shifted, jnp.zeros_like(kernel)) / window


class ScaledKernel(nnx.Module):
    """Return a kernel of several scales: each is half as high and twice as coarse as the last."""

    def __init__(self, shape: tuple[int, ...], max_len: int, size: int, rngs: nnx.Rngs) -> None:
        scales = 1 + max(0, math.ceil(math.log2(max_len / size)))
        init = jax.random.normal(rngs.params(), (scales, *shape, size))
        self.weights = nnx.Param(init, rule=Rule(rate=_RATE))
        self.norm = nnx.Variable(jnp.linalg.norm(_stretched(init), axis=-1, keepdims=True))

    def __call__(self, length: int, rngs: nnx.Rngs | None) -> Float[Array, "s c e l"]:
        """Return the first `length` weights of each kernel."""
        del rngs
        return (_stretched(self.weights[...]) / self.norm[...])[..., :length]


def _stretched(weights: Float[Array, "n s c e k"]) -> Float[Array, "s c e l"]:
    """Return the scales one after the other; only the ratio of their heights matters."""
    *shape, size = weights.shape[1:]
    scales = []
    for number, scale in enumerate(weights):
        length = size * 2 ** max(number - 1, 0)
        scales.append(jax.image.resize(scale, (*shape, length), "linear") * 0.5**number)
    return jnp.concatenate(scales, axis=-1)
