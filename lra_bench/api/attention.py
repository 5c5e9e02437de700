"""One attention mechanism, ready to be called."""

import operator
import os
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, ArrayLike, Bool, Float

from lra_bench.contracts import AttentionTraits, Dims
from lra_bench.errors import UsageError, unknown
from lra_bench.model.mechanism import attended, build_attention
from lra_bench.registry import ATTENTIONS


class Attention(nnx.Module):
    """An attention mechanism for given sizes; its parameters are those of an `nnx.Module`.

    It is the mechanism alone: no projections, no dropout, no residual. It may be used under
    `jax.jit` and `jax.grad`.

    Attributes:
        name: its registered name.
        dims: the sizes that it was built for.
        traits: its promises.
        mechanism: the function of (q, k, v, mask), or of (x, mask) for a mixer.
    """

    def __init__(self, name: str, dims: Dims, options: dict[str, Any], rngs: nnx.Rngs) -> None:
        self.name, self.dims = name, dims
        self.traits: AttentionTraits = ATTENTIONS.get(name).traits
        self.mechanism = build_attention(name, dims, options, rngs)

    def __call__(
        self,
        q: Float[ArrayLike, "b l h d"],
        k: Float[ArrayLike, "b l h d"] | None = None,
        v: Float[ArrayLike, "b l h d"] | None = None,
        mask: Bool[ArrayLike, "b l"] | None = None,
    ) -> Float[Array, "b l h d"]:
        """Return the output for queries, keys and values, which are not scaled before.

        A mixer, such as fnet, is called with (x, mask), where x (b l e) is the input of the block.

        Args:
            q, k, v: queries, keys and values (b l h d). Where queries and keys are shared, as in
                reformer, k is not read.
            mask: which tokens are real; None for all.

        Raises:
            ValueError: an array is not of floats, or has a shape that does not fit the sizes.
        """
        if self.traits.mixer and v is None and mask is None:
            k, mask = None, k
        given = self._arrays(q, k, v)
        places = given[0].shape[:2]
        real = jnp.ones(places, bool) if mask is None else jnp.asarray(mask)
        if real.shape != places:
            raise ValueError(f"{self.name}: mask is {real.shape}, expected (b, l) = {places}")
        return attended(self.name, self.mechanism, *given, real.astype(bool))

    def _arrays(self, q: Any, k: Any, v: Any) -> list[Array]:
        """Return the arrays that the mechanism takes.

        Raises:
            ValueError: they are others, or have another shape or dtype.
        """
        traits, dims = self.traits, self.dims
        given = [q] if traits.mixer else [q, q if traits.shares_query_key else k, v]
        too_many = traits.mixer and (k is not None or v is not None)
        if too_many or any(x is None for x in given):
            raise ValueError(f"{self.name} is called with ({', '.join(traits.arrays)})")
        arrays = [jnp.asarray(x) for x in given]
        sizes = (dims.emb_dim,) if traits.mixer else (dims.num_heads, dims.head_dim)
        for name, x in zip(traits.arrays, arrays, strict=False):
            if x.shape != (*arrays[0].shape[:2], *sizes):
                raise ValueError(
                    f"{self.name}: {name} is {x.shape}, expected (b, l, "
                    f"{', '.join(map(str, sizes))}), with the same b and l for all"
                )
            if not jnp.issubdtype(x.dtype, jnp.floating):
                raise ValueError(f"{self.name}: {name} is {x.dtype}, expected floats, as float32")
        if not 1 <= (length := arrays[0].shape[1]) <= dims.max_len:
            raise ValueError(
                f"{self.name}: {length} tokens are given, expected 1 to max_len={dims.max_len}"
            )
        return arrays


def attention(
    name: str | os.PathLike[str],
    *,
    num_heads: int,
    head_dim: int,
    max_len: int,
    seed: int = 0,
    **options: Any,
) -> Attention:
    """Return an attention mechanism, to be called with (q, k, v, mask=None).

    Args:
        name: its registered name, or a Python file of your own, such as "my.py" or "my.py:name".
        num_heads: heads, `h` in shapes.
        head_dim: features of a head, `d` in shapes.
        max_len: tokens of the longest sequence; calls may be shorter.
        seed: of its initial parameters and random features.
        options: its own options, such as `num_features` of performer-softmax; see
            `lra-bench list attentions` and the page on attentions.

    Raises:
        UsageError: no attention has that name, or it has no such option or value.
    """
    name = ATTENTIONS.named(os.fspath(name))
    known = ATTENTIONS.get(name).options()
    for option in options:
        if option not in known:
            raise unknown(f"option of {name}", option, sorted(known))
    sizes = {"num_heads": num_heads, "head_dim": head_dim, "max_len": max_len}
    dims = Dims(**{size: _size(size, value) for size, value in sizes.items()})
    # NumPy's numbers are as good as Python's.
    options = {key: x.item() if isinstance(x, np.generic) else x for key, x in options.items()}
    return Attention(name, dims, options, nnx.Rngs(seed))


def _size(name: str, value: Any) -> int:
    """Return a size as Python's whole number; True is none.

    Raises:
        UsageError: it is no whole number from 1 on.
    """
    try:
        size = 0 if isinstance(value, bool | np.bool_) else operator.index(value)
    except TypeError:
        size = 0
    if size < 1:
        raise UsageError(f"{name}={value!r}: must be a whole number from 1 on")
    return size
