"""A mechanism under test, and the arrays that it is called with."""

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from lra_bench.contracts import AttentionTraits, Dims
from lra_bench.model.mechanism import build_attention
from lra_bench.registry import ATTENTIONS, Entry

# All sizes differ, so that a swapped axis fails.
BATCH, LENGTH, HEADS, DIM, MAX_LEN = 2, 141, 3, 8, 160
DIMS = Dims(HEADS, DIM, MAX_LEN)
# Of what is summed over: more ones than bfloat16 can count.
LONG = 1_025
DIMS_LONG = Dims(2, DIM, LONG)
REAL = 97  # real tokens of the second example; the first is full
SHORT = (1, 7)  # tokens of sequences that fill no chunk, window or block
DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}


@dataclass(frozen=True)
class Mechanism:
    """A mechanism under test. Arrays go in and come out as numpy's, which compiles nothing.

    Attributes:
        call: a function of (q, k, v, mask); see `of_values` for mixers.
        traits: what it promises.
        is_random: whether it draws random numbers: the same in each call, but for other shapes
            other ones.
    """

    call: Callable[..., Any]
    traits: AttentionTraits
    is_random: bool = False

    def _apply(self, q: Any, k: Any, v: Any, mask: Any) -> Any:
        return self.call(q, q if self.traits.shares_query_key else k, v, mask)

    @functools.cached_property
    def _forward(self) -> Callable[..., Any]:
        return jax.jit(self._apply)

    @functools.cached_property
    def both(self) -> Any:
        """Return the program of the outputs and the gradients."""

        def total(q: Any, k: Any, v: Any, mask: Any, chosen: Any) -> Any:
            out = self._apply(q, k, v, mask)
            bounded = jnp.sin(out.astype(jnp.float32))
            return jnp.sum(jnp.where(chosen[:, :, None, None], bounded, 0)), out

        return jax.jit(jax.grad(total, argnums=(0, 1, 2), has_aux=True))

    def __call__(self, *arrays: Any) -> np.ndarray:
        """Return the output (b l h d) of q, k and v (b l h d) and mask (b l)."""
        return np.asarray(self._forward(*arrays))

    def alone(self, *arrays: Any, fill: Sequence[float] = (3.0, 3.0, 3.0)) -> np.ndarray:
        """Return the outputs of each example by itself, padded with `fill` to `MAX_LEN`.

        One program, without gradients, shows batches, padding and the forward pass.

        Args:
            arrays: q, k, v and mask.
            fill: of q, k and v.
        """
        *qkv, mask = arrays
        length = ((0, 0), (0, MAX_LEN - LENGTH))
        outputs = []
        for row in range(len(mask)):
            padded = [
                np.pad(x[row : row + 1], (*length, (0, 0), (0, 0)), constant_values=value)
                for x, value in zip(qkv, fill, strict=True)
            ]
            outputs.append(self(*padded, np.pad(mask[row : row + 1], length))[:, :LENGTH])
        return np.concatenate(outputs)

    def with_gradients(
        self, *arrays: Any, chosen: Any = None
    ) -> tuple[np.ndarray, list[np.ndarray]]:
        """Return the output, and the gradients by q, k and v of a bounded function of it.

        The function is of the outputs that `chosen` selects: of the real ones if it is None.
        """
        gradients, out = self.both(*arrays, arrays[-1] if chosen is None else chosen)
        return np.asarray(out), [np.asarray(x) for x in gradients]


def registered(name: str, dims: Dims = DIMS, **options: Any) -> Mechanism:
    """Return the registered mechanism of that name, built with seed 0."""
    return _registered(ATTENTIONS.get(name), dims, is_random=False, **options)


def is_random_in_training(name: str) -> bool:
    """Return whether a call of the registered mechanism of that name takes random keys."""
    target = ATTENTIONS.get(name).target
    call = target.__call__ if isinstance(target, type) else target
    return "rngs" in inspect.signature(call).parameters


def registered_in_training(name: str) -> Mechanism:
    """Return the same as training calls it, with random keys, where `is_random_in_training`."""
    return _registered(ATTENTIONS.get(name), DIMS, is_random=True)


@functools.cache
def _registered(
    entry: Entry[AttentionTraits], dims: Dims, *, is_random: bool, **options: Any
) -> Mechanism:
    """Return a mechanism; that of an edited file is another one, though its name is the same."""
    built, traits = build_attention(entry.name, dims, options, nnx.Rngs(0)), entry.traits

    def call(*arrays: Any) -> Any:
        return built(*arrays, rngs=nnx.Rngs(0)) if is_random else built(*arrays)

    return Mechanism(of_values(call) if traits.mixer else call, traits, is_random)


def of_values(mix: Callable[..., Any]) -> Callable[..., Any]:
    """Return a mixer as a function of q, k, v and mask, to which the same checks apply.

    Its input is v, with the heads of a token side by side.
    """

    def call(q: Any, k: Any, v: Any, mask: Any) -> Any:
        del q, k
        return mix(v.reshape(*v.shape[:2], -1), mask).reshape(v.shape)

    return call


def inputs(
    dtype: str = "float32",
    length: int = LENGTH,
    scale: float = 1.0,
    seed: int = 0,
    batch: int = BATCH,
) -> list[np.ndarray]:
    """Return normal q, k and v (b l h d)."""
    return [(scale * x).astype(DTYPES[dtype]) for x in _normal((batch, length, HEADS, DIM), seed)]


@functools.cache
def _normal(shape: tuple[int, ...], seed: int) -> list[np.ndarray]:
    keys = jax.random.split(jax.random.key(seed), 3)
    return [np.asarray(jax.random.normal(key, shape)) for key in keys]


def lengths_mask(*real: int, length: int = LENGTH) -> np.ndarray:
    """Return the mask (b l) of examples that begin with so many real tokens."""
    return np.arange(length) < np.array(real)[:, None]


def long_inputs() -> list[np.ndarray]:
    """Return normal q, k and v (1 l h d) of `LONG` tokens."""
    return _normal((1, LONG, DIMS_LONG.num_heads, DIM), 0)


def unit(x: np.ndarray) -> np.ndarray:
    """Return the vectors divided by their norms."""
    return x / np.linalg.norm(x, axis=-1, keepdims=True)
