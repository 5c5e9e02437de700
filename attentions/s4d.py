"""S4D: a diagonal state space for each feature, computed as a convolution."""

import math
from typing import Annotated, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Complex, Float

from lra_bench.attentions._common import wide
from lra_bench.attentions._convolution import convolution
from lra_bench.attentions._sequence import ordered, real_first, reordered
from lra_bench.attentions._state import Options, directions
from lra_bench.contracts import Dims, Range, Rule
from lra_bench.layers import Dense
from lra_bench.registry import register_attention

_STEP_MIN, _STEP_MAX = 1e-3, 1e-1  # bounds of the initial time steps
# The authors' own file of this layer trains A and the time step at 0.001 at most. Of the six
# official LRA configurations, which are of S4, four train A at 1/10 of the rate, one of them the
# step too.
_STATE_RULE = Rule(rate=0.1, decay=False)


def _state(dims: Dims, options: Options) -> int:
    """Return the states of all features: n / 2 complex numbers each."""
    return directions(options) * options["state_dim"] * dims.emb_dim


@register_attention("s4d", mixer=True, family="recurrent", state=_state)
class S4D(nnx.Module):
    """Compute y = K * u + D u with K_t = 2 Re(sum_n C_n A_n^-1 (exp(A_n d) - 1) exp(A_n d t)).

    Each feature of a token has a state space of its own, with a diagonal state matrix A, a time
    step d and B = 1, which C can stand for; a zero-order hold makes it discrete.
    Eigenvalues are in conjugate pairs, of which one each is stored. The kernel K is the
    product of C with a Vandermonde matrix, whose powers are products of those of sqrt(l) short
    and sqrt(l) long steps, so that the matrix is never stored. K is convolved with the tokens by
    a fast Fourier transform. It has two sides: one kernel looks at the token and back, a second
    one, with a C of its own, ahead from the next token on, as in the official bidirectional
    layers. GELU, a linear layer to 2 e features and a gated linear unit mix the features. All
    but the linear layer is computed in float32 at least.

    Padding is moved behind the real tokens and is zero, so distances count real tokens only.
    Normalisation, dropout and the feed-forward network are the model's; the official LRA models
    have batch normalisation in some tasks and no feed-forward network.
    Time O(l e (e + n + log l)), memory O(l e + sqrt(l) e n), with n = `state_dim`.

    Args:
        dims: sizes of the model.
        state_dim: n, the eigenvalues of a feature, two for each stored pair; even. 64 as in the
            official code.
        init: the initial eigenvalues, for k from 0: "lin": -1/2 + i pi k (S4D-Lin); "inv":
            -1/2 + i (n / pi) (n / (2 k + 1) - 1) (S4D-Inv).
        causal: whether a token sees only itself and earlier tokens: there is one kernel then. Other
            tokens leave rounding errors of the Fourier transform.
        rngs: draws C, D, the time steps and the linear layer.

    Raises:
        ValueError: `state_dim` is odd.

    References:
        Gu, Gupta, Goel and Re 2022, "On the Parameterization and Initialization of Diagonal State
        Space Models", arXiv:2206.11893; defaults not in the paper, and the two-sided kernel, as in
        github.com/state-spaces/s4.
    """

    def __init__(
        self,
        dims: Dims,
        *,
        state_dim: Annotated[int, Range(2, 4_096)] = 64,
        init: Literal["lin", "inv"] = "lin",
        causal: bool = False,
        rngs: nnx.Rngs,
    ) -> None:
        if state_dim % 2:
            raise ValueError(f"state_dim={state_dim}: must be even")
        features, pairs = dims.emb_dim, state_dim // 2
        log_decay = jnp.full((features, pairs), math.log(0.5), jnp.float32)
        self.log_decay = nnx.Param(log_decay, rule=_STATE_RULE)
        frequency = np.broadcast_to(_frequencies(state_dim, init), (features, pairs))
        self.frequency = nnx.Param(jnp.asarray(frequency, jnp.float32), rule=_STATE_RULE)
        bounds = math.log(_STEP_MIN), math.log(_STEP_MAX)
        steps = jax.random.uniform(rngs.params(), (features,), jnp.float32, *bounds)
        self.log_step = nnx.Param(steps, rule=_STATE_RULE)
        # Real and imaginary parts, for the kernel that looks back and the one that looks ahead.
        shape = (2, 1 if causal else 2, features, pairs)
        outputs = jax.random.normal(rngs.params(), shape, jnp.float32)
        self.outputs = nnx.Param(outputs * 0.5**0.5)
        self.feedthrough = nnx.Param(jax.random.normal(rngs.params(), (features,), jnp.float32))
        self.mix = Dense(features, 2 * features, rngs=rngs)

    def __call__(self, x: Float[Array, "b l e"], mask: Bool[Array, "b l"]) -> Float[Array, "b l e"]:
        """Return the convolved and mixed tokens."""
        order = real_first(mask)
        u = wide(ordered(x, order))
        y = convolution(u, *self._kernels(u.shape[1], u.dtype)) + self.feedthrough[...] * u
        mixed = self.mix(jax.nn.gelu(y).astype(x.dtype))
        return reordered(jax.nn.glu(mixed), order)

    def _kernels(self, length: int, dtype: jnp.dtype) -> Float[Array, "k e l"]:
        """Return the kernel that looks back and, unless causal, the one that looks ahead."""
        decay, frequency = jnp.exp(self.log_decay[...].astype(dtype)), self.frequency[...]
        eigenvalues = jax.lax.complex(-decay, frequency.astype(dtype))
        exponents = eigenvalues * jnp.exp(self.log_step[...].astype(dtype))[:, None]
        outputs = jax.lax.complex(*self.outputs[...].astype(dtype))
        return vandermonde(2 * outputs * jnp.expm1(exponents) / eigenvalues, exponents, length)


def _frequencies(state_dim: int, init: str) -> Float[np.ndarray, " p"]:
    """Return the imaginary parts of the initial eigenvalues."""
    k, n = np.arange(state_dim // 2), state_dim
    return np.pi * k if init == "lin" else n / np.pi * (n / (2 * k + 1) - 1)


def vandermonde(
    weights: Complex[Array, "k e p"], exponents: Complex[Array, "e p"], length: int
) -> Float[Array, "k e l"]:
    """Return Re(sum over p of weights exp(exponents t)) for t from 0 to `length` - 1.

    With t = c i + j, the powers are products of those of c i and of j, and the sum is a product
    of two matrices of about sqrt(l) rows.
    """
    short = math.isqrt(length - 1) + 1
    long = -(-length // short)
    steps = jnp.arange(max(short, long), dtype=exponents.real.dtype)[:, None]
    far = weights[:, :, None] * jnp.exp(exponents[:, None] * (short * steps[:long]))
    near = jnp.exp(exponents[:, None] * steps[:short])
    far = jnp.concatenate([far.real, -far.imag], axis=-1)
    near = jnp.concatenate([near.real, near.imag], axis=-1)
    # All digits on any device: where GPUs and TPUs round the factors, a kernel is off by 1e-3.
    kernels = jnp.einsum("keip,ejp->keij", far, near, precision="highest")
    return kernels.reshape(*kernels.shape[:2], -1)[..., :length]
