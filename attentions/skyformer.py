"""Skyformer: attention with a Gaussian kernel, by the Nystrom method."""

from typing import Annotated

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Key

from lra_bench.attentions._common import check_count, head_major, token_major, wide, without_padding
from lra_bench.attentions._nystrom import (
    Iterations,
    check_iterations,
    product,
    pseudo_inverse,
)
from lra_bench.attentions._sequence import position_of_real
from lra_bench.attentions._state import Options
from lra_bench.contracts import Dims, Range
from lra_bench.registry import register_attention


def _state(dims: Dims, options: Options) -> int:
    """Return the landmarks and what they gather, which may be more than all tokens."""
    return 2 * dims.inner * options["num_landmarks"]


@register_attention("skyformer", family="low-rank", state=_state)
class Skyformer(nnx.Module):
    """Approximate C V with the Gaussian kernel C_ij = exp(-|q_i - k_j|^2 / (2 sqrt(d))).

    C V is the paper's Kernelized Attention. The sum is not normalised, so it grows with the number
    of real keys. C is a block of the kernel matrix of the stacked queries and keys, which is
    positive semi-definite. The Nystrom method takes m of the 2 l rows of that matrix as landmarks
    S: C V is about C_qS (C_SS + r I)^-1 C_Sk V. With M = C_SS + r I and D = diag(M 1), the inverse
    is D^(-1/2) (D^(-1/2) M D^(-1/2))^-1 D^(-1/2); the inner inverse is approximated by an
    iteration, see `pseudo_inverse`.

    As in the authors' code, half of the landmarks are queries and half are keys, drawn uniformly
    with replacement, equally for all heads. Only real tokens are drawn: state is a number u in
    [0, 1) for each landmark, which is token u n of the n real ones of an example. The authors' code
    draws again in each call, also when it is evaluated; here `resample` does, so that the same
    input gives the same output. Their code starts the iteration of all examples from A^T / |A|_1
    with the largest bound in the batch; here each head of each example has its own bound, and the
    start is the smaller one of `pseudo_inverse`.

    All of it is computed in float32, because an inverse enlarges rounding errors.
    Time O(l m d + m^3), memory O(l (m + d) + m^2).

    Args:
        dims: sizes of the model.
        num_landmarks: m; 128 in the authors' LRA configuration.
        ridge: r, which keeps the inverse bounded; 0.1 in the authors' code.
        iterations: of the inverse; 6 in the authors' code;
            at most 20, because rounding errors grow in each step and overflow after about 30.
        rngs: draws the landmarks.

    References:
        Chen et al. 2021, "Skyformer: Remodel Self-Attention with Gaussian Kernel and Nystrom
        Method", arXiv:2111.00035.
    """

    def __init__(
        self,
        dims: Dims,
        *,
        num_landmarks: int = 128,
        ridge: Annotated[float, Range(1e-6, 10)] = 0.1,
        iterations: Iterations = 6,
        rngs: nnx.Rngs,
    ) -> None:
        del dims
        check_count(num_landmarks=num_landmarks)
        check_iterations(iterations)
        self.ridge, self.iterations = ridge, iterations
        self.drawn = nnx.Variable(jax.random.uniform(rngs(), (num_landmarks,), jnp.float32))

    def resample(self, key: Key[Array, ""]) -> None:
        """Draw new landmarks."""
        self.drawn[...] = jax.random.uniform(key, self.drawn.shape, jnp.float32)

    def __call__(
        self,
        q: Float[Array, "b l h d"],
        k: Float[Array, "b l h d"],
        v: Float[Array, "b l h d"],
        mask: Bool[Array, "b l"],
    ) -> Float[Array, "b l h d"]:
        """Sum up the real `v`, weighted by the approximate kernel of `q` and `k`."""
        queries, keys, values = (wide(head_major(without_padding(x, mask))) for x in (q, k, v))
        few = self._landmarks(queries, keys, mask)
        gram = _kernel(few, few) + self.ridge * jnp.eye(few.shape[2], dtype=few.dtype)
        root = jnp.sum(gram, axis=-1, keepdims=True) ** -0.5
        inverse = pseudo_inverse(gram * root * jnp.swapaxes(root, 2, 3), self.iterations)
        sums = root * product("bhml,bhld->bhmd", _kernel(few, keys), values)
        sums = root * product("bhmn,bhnd->bhmd", inverse, sums)
        return token_major(product("bhlm,bhmd->bhld", _kernel(queries, few), sums)).astype(v.dtype)

    def _landmarks(
        self,
        queries: Float[Array, "b h l d"],
        keys: Float[Array, "b h l d"],
        mask: Bool[Array, "b l"],
    ) -> Float[Array, "b h m d"]:
        """Return the drawn queries, then the drawn keys; 0 where no token is real."""
        total = jnp.sum(mask, axis=1, keepdims=True, dtype=jnp.int32)
        rank = jnp.minimum((self.drawn[...] * total).astype(jnp.int32), jnp.maximum(total - 1, 0))
        position = position_of_real(mask, rank)[:, None, :, None]
        half = self.drawn.shape[0] // 2
        parts = ((queries, position[:, :, :half]), (keys, position[:, :, half:]))
        drawn = [jnp.take_along_axis(x, index, axis=2, mode="clip") for x, index in parts]
        return jnp.concatenate(drawn, axis=2)


def _kernel(x: Float[Array, "b h x d"], y: Float[Array, "b h y d"]) -> Float[Array, "b h x y"]:
    """Return exp(-|x_i - y_j|^2 / (2 sqrt(d)))."""
    halves = [jnp.sum(jnp.square(z), axis=-1, keepdims=True) / 2 for z in (x, y)]
    logits = product("bhxd,bhyd->bhxy", x, y) - halves[0] - jnp.swapaxes(halves[1], 2, 3)
    return jnp.exp(logits * x.shape[-1] ** -0.5)
