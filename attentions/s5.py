"""S5: one state space for all features, diagonal, computed by a parallel scan."""

import math
from typing import Annotated, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Complex, Float

from lra_bench.attentions._common import check_count, summed, wide_dtype
from lra_bench.attentions._sequence import both_ways, ordered, real_first, reordered, two_ways
from lra_bench.attentions._state import Options, directions
from lra_bench.contracts import Dims, Range, Rule
from lra_bench.layers import Dense
from lra_bench.registry import register_attention

_BLOCKS = 8
_STEP_MIN, _STEP_MAX = 1e-3, 1e-1  # bounds of the initial time steps
_LEAST_DECAY = 1e-4  # of the state; a growing state would overflow
# The official runs train these at 1/5 to 1/2 of the learning rate of the other parameters.
_STATE_RULE = Rule(rate=1 / 3, decay=False)


def _state(dims: Dims, options: Options) -> int:
    """Return the states: n / 2 complex numbers in each direction."""
    usual = dims.emb_dim + dims.emb_dim % 2
    return directions(options) * (options["state_dim"] or usual)


@register_attention("s5", mixer=True, family="recurrent", state=_state)
class S5(nnx.Module):
    """Compute x_k = Lambda' x_(k-1) + B' u_k and y_k = 2 Re(C x_k) + D u_k, a diagonal system.

    One state space has all features u_k of a token as its inputs. Its state matrix is diagonal,
    with complex eigenvalues Lambda in conjugate pairs, of which one each is stored. A zero-order
    hold with learned time steps Delta makes it discrete: Lambda' = exp(Lambda Delta) and
    B' = Lambda^-1 (Lambda' - I) B. A second scan runs from the last token to the first, with the
    same Lambda' and B' and with a C of its own; both include the token itself. The output is
    GELU(y) * sigmoid(W GELU(y) + b), the gate of most of the official LRA configurations. The
    state is computed by an associative scan, in float32 at least.

    Padding is moved behind the real tokens before the scans, so the state stays as it is there.
    The real parts of Lambda are kept at or below -0.0001 (`clip_eigs` of the official code, on in
    one of its six LRA configurations), so that the state cannot overflow. The official layers
    have batch normalisation, dropout inside the gate, and no feed-forward network; those are the
    model's here.
    Time O(l e (e + n)), memory O(l (e + n)), with n = `state_dim`.

    Args:
        dims: sizes of the model.
        state_dim: n, the size of the state, in real numbers; even. 0: as many as the features e
            of a token, which makes 4 e^2 parameters, like softmax attention. The official LRA
            configurations have 16 to 384 states for 128 to 512 features.
        num_blocks: the number of equal HiPPO-N matrices on the diagonal of the initial state
            matrix. It must divide `state_dim` / 2; if 8 does not, the default is the largest
            divisor that it shares with 8.
        activation: "half_glu1": the gate above; "half_glu2": y * sigmoid(W GELU(y) + b), as in
            the official ListOps and text configurations; "gelu": GELU(y).
        causal: whether a token sees only itself and earlier tokens; there is one scan then.
        rngs: draws B, C, D, Delta and W.

    Raises:
        ValueError: `state_dim` is odd, or `num_blocks` does not divide half of it.

    References:
        Smith, Warrington and Linderman 2023, "Simplified State Space Layers for Sequence Modeling",
        arXiv:2208.04933; defaults not in the paper as in github.com/lindermanlab/S5.
    """

    def __init__(
        self,
        dims: Dims,
        *,
        state_dim: Annotated[int, Range(2, 65_536, or_zero=True)] = 0,
        num_blocks: int = _BLOCKS,
        activation: Literal["half_glu1", "half_glu2", "gelu"] = "half_glu1",
        causal: bool = False,
        rngs: nnx.Rngs,
    ) -> None:
        features = dims.emb_dim
        state_dim = state_dim or features + features % 2
        blocks = _blocks(state_dim, num_blocks)
        pairs, scans = state_dim // 2, 1 if causal else 2
        self.causal, self.activation = causal, activation
        frequencies, vectors = hippo_normal(state_dim // blocks)
        vectors = jnp.asarray(np.kron(np.eye(blocks), vectors))
        lecun = nnx.initializers.lecun_normal()
        drawn = lecun(rngs.params(), (state_dim, features))
        self.inputs = nnx.Param(_parts(vectors.conj().T @ drawn), rule=_STATE_RULE)
        drawn = lecun(rngs.params(), (state_dim, 2 * scans * features))
        drawn = drawn.reshape(state_dim, 2, scans, features)
        outputs = jnp.einsum("nsf,np->sfp", jax.lax.complex(drawn[:, 0], drawn[:, 1]), vectors)
        self.outputs = nnx.Param(_parts(outputs))
        self.decay = nnx.Param(jnp.full(pairs, 0.5, jnp.float32), rule=_STATE_RULE)
        frequencies = jnp.asarray(np.tile(frequencies, blocks), jnp.float32)
        self.frequency = nnx.Param(frequencies, rule=_STATE_RULE)
        steps = jax.random.uniform(rngs.params(), (pairs,), jnp.float32, *_log_bounds())
        self.log_step = nnx.Param(steps, rule=_STATE_RULE)
        self.feedthrough = nnx.Param(jax.random.normal(rngs.params(), (features,), jnp.float32))
        self.gate = None if activation == "gelu" else Dense(features, features, rngs=rngs)

    def __call__(self, x: Float[Array, "b l e"], mask: Bool[Array, "b l"]) -> Float[Array, "b l e"]:
        """Return the gated outputs of the state space."""
        order = real_first(mask)
        y = self._state_space(ordered(x, order))
        return reordered(self._gated(y), order)

    def _state_space(self, u: Float[Array, "b l e"]) -> Float[Array, "b l e"]:
        """Return 2 Re(C x) + D u for each token, in the dtype of `u`."""
        dtype = wide_dtype(u)
        transition, inputs = self._discrete(dtype)
        weights = jnp.concatenate([inputs.real, inputs.imag]).astype(u.dtype)
        driven = summed("ble,ne->bln", u, weights)
        states = scanned(transition, jax.lax.complex(*jnp.split(driven, 2, axis=-1)), self.causal)
        real, imaginary = 2 * self.outputs[...]
        weights = jnp.concatenate([*real, *-imaginary], axis=-1).astype(u.dtype)
        y = summed("bln,en->ble", states.astype(u.dtype), weights)
        return (y + self.feedthrough[...] * u).astype(u.dtype)

    def _discrete(self, dtype: jnp.dtype) -> tuple[Complex[Array, " p"], Complex[Array, "p e"]]:
        """Return Lambda' and B', the zero-order hold of Lambda and B with time steps Delta."""
        decay = jnp.maximum(self.decay[...].astype(dtype), _LEAST_DECAY)
        eigenvalues = jax.lax.complex(-decay, self.frequency[...].astype(dtype))
        exponents = eigenvalues * jnp.exp(self.log_step[...].astype(dtype))
        inputs = jax.lax.complex(*self.inputs[...].astype(dtype))
        return jnp.exp(exponents), (jnp.expm1(exponents) / eigenvalues)[:, None] * inputs

    def _gated(self, y: Float[Array, "b l e"]) -> Float[Array, "b l e"]:
        smooth = jax.nn.gelu(y)
        if self.gate is None:
            return smooth
        gate = jax.nn.sigmoid(self.gate(smooth))
        return (smooth if self.activation == "half_glu1" else y) * gate


def scanned(
    transition: Complex[Array, " p"], driven: Complex[Array, "b l p"], causal: bool
) -> Float[Array, "b l n"]:
    """Return the states x_k = transition x_(k-1) + driven_k, x_(-1) = 0, as real numbers.

    They are the real parts of all scans, then the imaginary parts. The second scan, if not
    `causal`, is from the end to the start.
    """
    driven = driven if causal else both_ways(driven)
    transitions = jnp.broadcast_to(transition, (1, driven.shape[1], len(transition)))

    def combined(first: tuple[Array, Array], then: tuple[Array, Array]) -> tuple[Array, Array]:
        return then[0] * first[0], then[0] * first[1] + then[1]

    _, states = jax.lax.associative_scan(combined, (transitions, driven), axis=1)
    scans = (states,) if causal else two_ways(states)
    return jnp.concatenate([*(x.real for x in scans), *(x.imag for x in scans)], axis=-1)


def hippo_normal(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the imaginary parts of eigenvalues of HiPPO-N, one of each pair, and eigenvectors.

    HiPPO-N is the normal part of the HiPPO-LegS matrix A: A + p p^T with p_n = sqrt(n + 1/2),
    which is -I / 2 plus a skew-symmetric matrix. So all real parts are -1/2.

    Args:
        size: rows of the matrix; even.
    """
    p = np.sqrt(np.arange(size) + 0.5)
    skew = np.triu(np.outer(p, p), 1) - np.tril(np.outer(p, p), -1)
    frequencies, vectors = np.linalg.eigh(-1j * skew)
    half = size // 2
    return frequencies[:half], vectors[:, :half]


def _blocks(state_dim: int, num_blocks: int) -> int:
    """Return the number of blocks; the default is lowered until it divides the pairs of states."""
    check_count(num_blocks=num_blocks)
    if state_dim % 2:
        raise ValueError(f"state_dim={state_dim}: must be even")
    pairs = state_dim // 2
    if num_blocks == _BLOCKS:
        return math.gcd(_BLOCKS, pairs)
    if pairs % num_blocks:
        raise ValueError(f"num_blocks={num_blocks}: must divide state_dim / 2 = {pairs}")
    return num_blocks


def _log_bounds() -> tuple[float, float]:
    return math.log(_STEP_MIN), math.log(_STEP_MAX)


def _parts(values: Array) -> Float[Array, "2 ..."]:
    """Return real and imaginary parts as one real array: parameters are never complex."""
    return jnp.stack([values.real, values.imag]).astype(jnp.float32)
