"""Synthesizer: attention whose logits are no products of queries and keys."""

import functools
import math
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from lra_bench.attentions._common import (
    MASKED,
    check_count,
    dot_products,
    head_major,
    softmax_average,
    summed,
    token_major,
    without_padding,
)
from lra_bench.attentions._state import Options
from lra_bench.contracts import Dims
from lra_bench.layers import Dense
from lra_bench.registry import register_attention

_INIT = nnx.initializers.lecun_normal(batch_axis=0)  # one matrix a head


def _state(dims: Dims, options: Options) -> int:
    """Return the values of all tokens and, if queries are compared with keys, the keys."""
    both = "vanilla" in options["kind"]
    return (1 + both) * dims.inner * dims.max_len


@register_attention("synthesizer", mixer=True, state=_state)
class Synthesizer(nnx.Module):
    """Compute softmax(S(x)) G(x) for each head, with logits S that compare no two tokens.

    G are values, as in softmax attention. Section 3 of Tay et al. names these logits, (l, l):
    "dense": S_i = W_2 relu(W_1 x_i + b_1) + b_2, with d hidden features; "random": S is learned
    and the same for every input; "factorized-dense": S_ij is the product of the elements j mod a
    and j div a of two such layers, with a outputs and max_len / a outputs and a = sqrt(max_len);
    "factorized-random": S = R_1 R_2^T, with R (l, k); "vanilla": S = Q K^T / sqrt(d). A mixture
    such as "random+dense" is a sum of them with learned weights that add up to one. With the
    default, what a token reads does not depend on any token, only on its position. The runs of the
    Long Range Arena are "random+vanilla".

    Logits belong to positions in the sequence, `max_len` of them; a shorter sequence uses the
    first ones. Padded keys get no weight; the code of the Long Range Arena gives them some, unless
    dot products are added. Each head of each layer has max_len^2 parameters with "random",
    2 k max_len with "factorized-random" and d max_len with "dense", besides the projections.
    Time O(l^2 d), memory O(l^2 + l d).

    Args:
        dims: sizes of the model.
        kind: the logits.
        rank: k, of "factorized-random". The code of the Long Range Arena has 32, the paper 8.
        causal: whether a token sees only itself and earlier tokens.
        rngs: initialises all matrices from N(0, 1 / their inputs). The elements of S of the random
            kinds have the variance 1 / max_len.

    Raises:
        ValueError: when called with a sequence longer than `max_len`.

    References:
        Tay et al. 2021, "Synthesizer: Rethinking Self-Attention in Transformer Models",
        arXiv:2005.00743; Tay et al. 2021, arXiv:2011.04006.
    """

    def __init__(
        self,
        dims: Dims,
        *,
        kind: Literal[
            "factorized-random",
            "random",
            "dense",
            "factorized-dense",
            "random+dense",
            "factorized-random+dense",
            "random+vanilla",
            "dense+vanilla",
        ] = "factorized-random",
        rank: int = 32,
        causal: bool = False,
        rngs: nnx.Rngs,
    ) -> None:
        check_count(rank=rank)
        self.dims, self.causal, inner = dims, causal, dims.num_heads * dims.head_dim
        self.parts = nnx.List(_PARTS[name](dims, rank, rngs) for name in kind.split("+"))
        self.weights = nnx.Param(jnp.zeros(len(self.parts))) if len(self.parts) > 1 else None
        self.value = Dense(dims.emb_dim, inner, rngs=rngs)
        self.out = Dense(inner, dims.emb_dim, rngs=rngs)

    def __call__(self, x: Float[Array, "b l e"], mask: Bool[Array, "b l"]) -> Float[Array, "b l e"]:
        """Return the averages of values with synthesized weights."""
        length = x.shape[1]
        if length > self.dims.max_len:
            raise ValueError(
                f"synthesizer: got {length} tokens, but was built for {self.dims.max_len} at most"
            )
        x = jnp.where(mask[:, :, None], x, 0)
        seen = mask[:, None, None, :]
        if self.causal:
            seen = seen & jnp.tri(length, dtype=bool)
        logits = jnp.where(seen, self._logits(x), MASKED)
        values = without_padding(_heads(self.value(x), self.dims), mask)
        average = token_major(softmax_average(logits, head_major(values)))
        return self.out(average.reshape(*x.shape[:2], -1))

    def _logits(self, x: Float[Array, "b l e"]) -> Float[Array, "b_or_1 h l l"]:
        logits = [part(x) for part in self.parts]
        if self.weights is None:
            return logits[0]
        weights = jax.nn.softmax(self.weights[...])
        terms = [weight * part for weight, part in zip(weights, logits, strict=True)]
        return functools.reduce(jnp.add, terms)


def _heads(x: Float[Array, "b l hd"], dims: Dims) -> Float[Array, "b l h d"]:
    return x.reshape(*x.shape[:2], dims.num_heads, dims.head_dim)


class Random(nnx.Module):
    """Return logits that are learned, whatever the input."""

    def __init__(self, dims: Dims, rank: int, rngs: nnx.Rngs) -> None:
        del rank
        shape = (dims.num_heads, dims.max_len, dims.max_len)
        self.logits = nnx.Param(_INIT(rngs.params(), shape, jnp.float32))

    def __call__(self, x: Float[Array, "b l e"]) -> Float[Array, "1 h l l"]:
        """Return the logits of the first l positions."""
        length = x.shape[1]
        return self.logits[...][None, :, :length, :length]


class FactorizedRandom(nnx.Module):
    """Return logits that are the product of two learned matrices, whatever the input."""

    def __init__(self, dims: Dims, rank: int, rngs: nnx.Rngs) -> None:
        heads, length = dims.num_heads, dims.max_len
        self.rows = nnx.Param(_INIT(rngs.params(), (heads, length, rank), jnp.float32))
        self.columns = nnx.Param(_INIT(rngs.params(), (heads, rank, length), jnp.float32))

    def __call__(self, x: Float[Array, "b l e"]) -> Float[Array, "1 h l l"]:
        """Return the logits of the first l positions."""
        length = x.shape[1]
        # In a program of given matrices, XLA would compute the product slowly when it compiles.
        rows, columns = jax.lax.optimization_barrier((self.rows[...], self.columns[...]))
        rows, columns = rows[:, :length], columns[..., :length]
        return summed("hlk,hkm->hlm", rows, columns)[None]


class Perceptron(nnx.Module):
    """Return W_2 relu(W_1 x + b_1) + b_2 for each head, with d hidden features."""

    def __init__(self, dims: Dims, outputs: int, rngs: nnx.Rngs) -> None:
        self.dims = dims
        self.hidden = Dense(dims.emb_dim, dims.num_heads * dims.head_dim, rngs=rngs)
        shape = (dims.num_heads, dims.head_dim, outputs)
        self.kernel = nnx.Param(_INIT(rngs.params(), shape, jnp.float32))
        self.bias = nnx.Param(jnp.zeros((dims.num_heads, 1, outputs)))

    def __call__(self, x: Float[Array, "b l e"], outputs: int) -> Float[Array, "b h l m"]:
        """Return the first `outputs`, in float32: exponents need the digits."""
        hidden = head_major(_heads(jax.nn.relu(self.hidden(x)), self.dims))
        kernel = self.kernel[...][..., :outputs].astype(x.dtype)
        return summed("bhld,hdm->bhlm", hidden, kernel) + self.bias[...][..., :outputs]


class DenseLogits(nnx.Module):
    """Return logits that a perceptron makes of the query's token alone."""

    def __init__(self, dims: Dims, rank: int, rngs: nnx.Rngs) -> None:
        del rank
        self.perceptron = Perceptron(dims, dims.max_len, rngs)

    def __call__(self, x: Float[Array, "b l e"]) -> Float[Array, "b h l l"]:
        """Return the logits for the first l positions."""
        return self.perceptron(x, x.shape[1])


class FactorizedDense(nnx.Module):
    """Return logits that are products of the outputs of two small perceptrons."""

    def __init__(self, dims: Dims, rank: int, rngs: nnx.Rngs) -> None:
        del rank
        self.block = math.isqrt(dims.max_len - 1) + 1
        self.within = Perceptron(dims, self.block, rngs)
        self.blocks = Perceptron(dims, -(-dims.max_len // self.block), rngs)

    def __call__(self, x: Float[Array, "b l e"]) -> Float[Array, "b h l l"]:
        """Return the logits for the first l positions."""
        length = x.shape[1]
        blocks = self.blocks(x, -(-length // self.block))
        products = blocks[..., None] * self.within(x, self.block)[..., None, :]
        return products.reshape(*products.shape[:3], -1)[..., :length]


class Vanilla(nnx.Module):
    """Return the logits of softmax attention."""

    def __init__(self, dims: Dims, rank: int, rngs: nnx.Rngs) -> None:
        del rank
        self.dims, inner = dims, dims.num_heads * dims.head_dim
        self.query = Dense(dims.emb_dim, inner, rngs=rngs)
        self.key = Dense(dims.emb_dim, inner, rngs=rngs)

    def __call__(self, x: Float[Array, "b l e"]) -> Float[Array, "b h l l"]:
        """Return Q K^T / sqrt(d)."""
        return dot_products(
            *(head_major(_heads(of(x), self.dims)) for of in (self.query, self.key))
        )


_PARTS: dict[str, Callable[[Dims, int, nnx.Rngs], Any]] = {
    "dense": DenseLogits,
    "random": Random,
    "factorized-dense": FactorizedDense,
    "factorized-random": FactorizedRandom,
    "vanilla": Vanilla,
}
