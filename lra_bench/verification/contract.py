"""The promises of every attention mechanism, as checks that take any mechanism.

Each check raises `Counterexample` if the mechanism breaks the promise. The tests run them over the
registry, and `lra-bench verify` over one mechanism.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

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

DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}
TOLERANCE = {"float32": 2e-5, "bfloat16": 4e-2}
_GRADIENTS = ("the gradient by q", "the gradient by k", "the gradient by v")


class Counterexample(AssertionError):
    """A promise is broken; the message says at which token, and by how much."""


@dataclass(frozen=True)
class Mechanism:
    """A mechanism under test. Arrays go in and come out as numpy's, which compiles nothing.

    Attributes:
        call: a function of (q, k, v, mask); see `of_values` for mixers.
        traits: what it promises.
    """

    call: Callable[..., Any]
    traits: AttentionTraits

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
    return _registered(ATTENTIONS.get(name), dims, **options)


@functools.cache
def _registered(entry: Entry[AttentionTraits], dims: Dims, **options: Any) -> Mechanism:
    """Return a mechanism; that of an edited file is another one, though its name is the same."""
    call, traits = build_attention(entry.name, dims, options, nnx.Rngs(0)), entry.traits
    return Mechanism(of_values(call) if traits.mixer else lambda *args: call(*args), traits)


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


def unit(x: np.ndarray) -> np.ndarray:
    """Return the vectors divided by their norms."""
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def same(
    expected: Any, found: Any, dtype: str, mask: np.ndarray | None = None, what: str = "the output"
) -> None:
    """Check that arrays (b l ...) agree but for rounding, which grows with the largest number.

    Args:
        expected, found: the arrays.
        dtype: in which they were computed; see `TOLERANCE`.
        mask: (b l), the tokens that count; None for all.
        what: the arrays in words, for the message.

    Raises:
        Counterexample: they differ; the message names the token that differs most.
    """
    expected, found = (np.asarray(x, np.float32) for x in (expected, found))
    largest = np.max(np.abs(expected if mask is None else expected[mask]), initial=0)
    tolerance = TOLERANCE[dtype]
    _agree(expected, found, tolerance, tolerance * max(1.0, float(largest)), mask, what)


def _agree(
    expected: np.ndarray,
    found: np.ndarray,
    relative: float,
    absolute: float,
    mask: np.ndarray | None,
    what: str,
) -> None:
    """Raise Counterexample if arrays differ by more than absolute + relative |found|."""
    wrong = ~np.isclose(expected, found, relative, absolute, equal_nan=True)
    if mask is not None:
        wrong &= mask.reshape(*mask.shape, *(1,) * (wrong.ndim - mask.ndim))
    if not wrong.any():
        return
    with np.errstate(invalid="ignore"):
        off = np.where(wrong, np.nan_to_num(np.abs(expected - found), nan=np.inf), -1)
    at = np.unravel_index(np.argmax(off), off.shape)
    raise Counterexample(
        f"{what} is {found[at]:.6g} instead of {expected[at]:.6g} at {_place(at)}: "
        f"off by {off[at]:.2g}, allowed {absolute:.2g}; wrong at {_tokens(wrong)}"
    )


def _place(at: Sequence[Any]) -> str:
    """Return an index (b, l, h, d) in words."""
    names = ("example", "token", "head", "feature")
    return ", ".join(f"{name} {index}" for name, index in zip(names, at, strict=False))


def _tokens(wrong: np.ndarray) -> str:
    """Return how many tokens are wrong, in words."""
    tokens = wrong.any(axis=tuple(range(2, wrong.ndim)))
    return f"{tokens.sum():,} of {tokens.size:,} tokens"


def _finite(found: np.ndarray, what: str) -> None:
    """Raise Counterexample if a number is not finite."""
    found = found.astype(np.float32)
    if (wrong := ~np.isfinite(found)).any():
        at = np.unravel_index(np.argmax(wrong), wrong.shape)
        raise Counterexample(
            f"{what} is {found[at]} at {_place(at)}; not finite at {_tokens(wrong)}"
        )


def _fail(text: str) -> NoReturn:
    raise Counterexample(text)


def check_shape_and_dtype(mechanism: Mechanism, dtype: str) -> None:
    """Check that the output has the shape and the dtype of v."""
    q, k, v = inputs(dtype)
    mask = lengths_mask(LENGTH, REAL)
    found = [mechanism.with_gradients(q, k, v, mask)[0]]
    if alone_too(dtype):
        found.append(mechanism.alone(q, k, v, mask))
    for out in found:
        if (out.shape, out.dtype) != (v.shape, v.dtype):
            _fail(f"the output is {out.dtype} {out.shape}, expected {v.dtype} {v.shape}, as v is")


def alone_too(dtype: str) -> bool:
    """Return whether a check also takes examples by themselves, which compiles another program.

    The forward pass of bfloat16 has its own checks, of 1,025 tokens.
    """
    return dtype == "float32"


def check_padding_is_never_read(mechanism: Mechanism, dtype: str) -> None:
    """Check that junk at padding, even NaN, changes neither real outputs nor real gradients."""
    mask = lengths_mask(LENGTH, REAL)
    clean = inputs(dtype)
    expected, tidy = mechanism.with_gradients(*clean, mask)
    for junk in (1e4, np.nan):
        # A padded query's own output is nobody's business, so only keys and values are NaN.
        fills = (1e4, junk, junk)
        soiled = [
            np.where(mask[:, :, None, None], x, fill).astype(x.dtype)
            for x, fill in zip(clean, fills, strict=True)
        ]
        after = f" after the padding's k and v became {junk:g}"
        out, dirty = mechanism.with_gradients(*soiled, mask)
        same(expected, out, dtype, mask, f"the output{after}")
        if alone_too(dtype):
            alone = mechanism.alone(*soiled, mask, fill=fills)
            same(expected, alone, dtype, mask, f"the output of one example alone{after}")
        _same_gradients(tidy, dirty, dtype, mask, after)


def _same_gradients(
    expected: Sequence[np.ndarray],
    found: Sequence[np.ndarray],
    dtype: str,
    mask: np.ndarray,
    after: str,
) -> None:
    """Check that gradients agree at real tokens, and are finite everywhere."""
    for name, one, other in zip(_GRADIENTS, expected, found, strict=True):
        same(one, other, dtype, mask, f"{name}{after}")
        _finite(other, f"{name}{after}")


def check_padding_may_be_anywhere(mechanism: Mechanism, dtype: str) -> None:
    """Check padding that comes first, in between or last: black pixels can be padding."""
    mask = np.stack([np.arange(LENGTH) % 3 != 1, np.arange(LENGTH) % 7 < 4])
    mask[0, :20] = mask[1, -20:] = False
    clean = inputs(dtype)
    soiled = [np.where(mask[:, :, None, None], x, np.nan).astype(x.dtype) for x in clean]
    expected, tidy = mechanism.with_gradients(*clean, mask)
    out, dirty = mechanism.with_gradients(clean[0], *soiled[1:], mask)
    after = " after the k and v of padding between the tokens became nan"
    same(expected, out, dtype, mask, f"the output{after}")
    _same_gradients(tidy, dirty, dtype, mask, after)


def check_more_padding_changes_nothing(mechanism: Mechanism, dtype: str) -> None:
    """Check that 19 more tokens of padding at the end leave the outputs as they are."""
    mask = lengths_mask(LENGTH, REAL)
    qkv = inputs(dtype)
    more = f"the output with {MAX_LEN - LENGTH} more tokens of padding"
    same(mechanism.with_gradients(*qkv, mask)[0], mechanism.alone(*qkv, mask), dtype, mask, more)


def check_examples_do_not_mix(mechanism: Mechanism, dtype: str) -> None:
    """Check that an example has the same output alone and beside one of large queries."""
    mask = lengths_mask(LENGTH, REAL)
    qkv = inputs(dtype)
    qkv[0] = np.concatenate([5 * qkv[0][:1], qkv[0][1:]])
    together, alone = mechanism.with_gradients(*qkv, mask)[0], mechanism.alone(*qkv, mask)
    chosen = mask & (np.arange(BATCH) > 0)[:, None]
    padding = f"with {MAX_LEN - LENGTH} more tokens of padding"
    what = f"the output in a batch, against that of the example alone {padding},"
    same(alone, together, dtype, chosen, what)


def check_permuting_tokens_permutes_output(mechanism: Mechanism, dtype: str) -> None:
    """Check that the outputs of tokens in another order are the outputs in that order."""
    mask = lengths_mask(LENGTH, REAL)
    qkv = inputs(dtype)
    order = np.random.default_rng(0).permutation(LENGTH)
    out = mechanism.alone(*(x[:, order] for x in qkv), mask[:, order])
    expected = mechanism.alone(*qkv, mask)[:, order]
    same(expected, out, dtype, mask[:, order], "the output of the tokens in another order")


def check_never_looks_ahead(mechanism: Mechanism, dtype: str) -> None:
    """Check that what comes after a token changes neither its output nor the output's gradients."""
    mask = lengths_mask(LENGTH, REAL)
    qkv = inputs(dtype)
    before = lengths_mask(70, 70)
    out, gradients = mechanism.with_gradients(*qkv, mask, chosen=before)
    # A Fourier transform is of all tokens: what does not count leaves rounding errors.
    rounding = 1e-6 if mechanism.traits.mixer else 0
    for name, x in zip(_GRADIENTS, gradients, strict=True):
        ahead = np.abs(x.astype(np.float32))
        ahead[:, :70] = 0
        at = np.unravel_index(np.argmax(ahead), ahead.shape)
        if not ahead[at] <= rounding * np.abs(x).max():
            _fail(f"outputs of tokens 0 to 69 depend on {_place(at)}: {name} is {x[at]:.2g}")
    for cut in (1, 70):
        other = [
            np.where((np.arange(LENGTH) < cut)[:, None, None], x, y)
            for x, y in zip(qkv, inputs(dtype, seed=1, scale=2.0), strict=True)
        ]
        earlier = lengths_mask(cut, cut)
        changed = f"the output after tokens from {cut} on changed"
        same(out, mechanism.with_gradients(*other, mask)[0], dtype, earlier, changed)
        same(out, mechanism.alone(*other, mask), dtype, earlier, changed)


def check_finite_at_extremes(mechanism: Mechanism, dtype: str) -> None:
    """Check outputs and gradients at norms 0 to 100, and all, some, one or no real tokens."""
    for norm in (0.0, 1e-3, 1.0, 10.0, 100.0):
        q, k, v = inputs(dtype)
        q, k = ((norm * unit(x.astype(np.float32))).astype(x.dtype) for x in (q, k))
        if mechanism.traits.mixer:  # of all heads together, since that is a token of its input
            v = (norm * unit(v.astype(np.float32)) / HEADS**0.5).astype(v.dtype)
        if alone_too(dtype):
            alone = mechanism.alone(q, k, v, lengths_mask(LENGTH, 1))
            _finite(alone, f"at norm {norm:g} the output")
        for mask in (lengths_mask(LENGTH, 1), lengths_mask(REAL, 0)):
            out, gradients = mechanism.with_gradients(q, k, v, mask)
            for name, x in zip(("the output", *_GRADIENTS), (out, *gradients), strict=True):
                _finite(x, f"at norm {norm:g} {name}")


def check_all_masked_gives_nothing(mechanism: Mechanism, dtype: str) -> None:
    """Check that the output is not of the input where no token is real: nothing can be read."""
    q, k, v = inputs(dtype)
    mask = lengths_mask(0, 0)
    what = "where no token is real, the output after v was doubled"
    one, other = (mechanism.with_gradients(q, k, x, mask)[0] for x in (v, 2 * v))
    same(one, other, dtype, what=what)
    if alone_too(dtype):
        one, other = (mechanism.alone(q, k, x, mask) for x in (v, 2 * v))
        same(one, other, dtype, what=what)


def check_equals_softmax(mechanism: Mechanism, dtype: str, *, causal: bool = False) -> None:
    """Check that the output is that of softmax attention in float64."""
    mask = lengths_mask(LENGTH, REAL)
    out = mechanism.with_gradients(*inputs(dtype), mask)[0]
    close_to_softmax(out, dtype, mask, causal=causal)
    check_alone_equals_softmax(mechanism, dtype, causal=causal)


def check_alone_equals_softmax(mechanism: Mechanism, dtype: str, *, causal: bool = False) -> None:
    """Check the same of the forward pass, where no other check computes gradients."""
    mask = lengths_mask(LENGTH, REAL)
    close_to_softmax(mechanism.alone(*inputs(dtype), mask), dtype, mask, causal=causal)


def close_to_softmax(out: np.ndarray, dtype: str, mask: np.ndarray, *, causal: bool) -> None:
    """Check that an output (b l h d) of `inputs` is that of softmax attention in float64."""
    expected, found = softmax_float64(*inputs(dtype), mask, causal=causal), out.astype(np.float64)
    tolerance = TOLERANCE[dtype]
    _agree(expected, found, tolerance, tolerance, mask, "the output")


def check_sums_have_digits_enough(mechanism: Mechanism) -> None:
    """Check a sum over equal keys: a running bfloat16 sum of as many ones would stay at 256."""
    q, k, v = long_inputs()
    q, k = (np.broadcast_to(x[:, :1] / 4, x.shape) for x in (q, k))
    agrees_with_float64(mechanism, q, k, 1 + v / 8)


def check_exponents_have_digits_enough(mechanism: Mechanism) -> None:
    """Check logits up to 23: in bfloat16 they and their exponentials would be off by up to 1/16."""
    q, k, v = long_inputs()
    agrees_with_float64(mechanism, 8 * unit(q), 8 * unit(k), v)


def long_inputs() -> list[np.ndarray]:
    """Return normal q, k and v (1 l h d) of `LONG` tokens."""
    return _normal((1, LONG, DIMS_LONG.num_heads, DIM), 0)


def agrees_with_float64(mechanism: Mechanism, *arrays: np.ndarray) -> None:
    """Check the output of inputs rounded to bfloat16 against float64.

    It may differ by what a few roundings to the digits of bfloat16 make.
    """
    qkv = [x.astype(jnp.bfloat16) for x in arrays]
    mask = np.ones((1, LONG), bool)
    found = mechanism(*qkv, mask)
    if found.dtype != jnp.bfloat16:
        _fail(f"the output is {found.dtype}, expected bfloat16, as v is")
    with jax.enable_x64(True):
        expected = mechanism(*(x.astype(np.float64) for x in qkv), mask)
    what = f"the bfloat16 output of {LONG:,} tokens, against float64,"
    allowed = 2**-6 * float(np.abs(expected).max())
    _agree(expected, found.astype(np.float64), 0, allowed, None, what)


def softmax_float64(*arrays: Any, causal: bool = False) -> np.ndarray:
    """Compute Eq. (1) of the Performer paper or, if causal, Eq. (2), in float64.

    Args:
        arrays: q, k and v (b l h d), and mask (b l).
        causal: whether a token sees no later one.
    """
    q, k, v = (np.asarray(x, np.float64) for x in arrays[:3])
    mask = np.asarray(arrays[3])
    logits = np.einsum("bqhd,bkhd->bhqk", q, k) / np.sqrt(q.shape[-1])
    weights = np.exp(logits - logits.max(-1, keepdims=True)) * mask[:, None, None, :]
    if causal:
        weights = np.tril(weights)
    return np.einsum("bhqk,bkhd->bqhd", weights / weights.sum(-1, keepdims=True), v)


def approximation_error(make: Callable[[int], Callable], features: int, draws: int = 10) -> float:
    """Return the mean squared error against float64 softmax, over draws of features and inputs."""
    mask = lengths_mask(LENGTH, REAL)
    qkv = [inputs(seed=draw, scale=0.5) for draw in range(draws)]
    call = jax.jit(jax.vmap(make(features), in_axes=(0, 0, 0, 0, None)))
    keys = jax.random.split(jax.random.key(0), draws)
    found = np.asarray(call(keys, *map(np.stack, zip(*qkv, strict=True)), mask), np.float64)
    exact = np.stack([softmax_float64(*x, mask) for x in qkv])
    return float(np.mean(np.square(found - exact)[:, mask]))


def check_converges_to_softmax(make: Callable[[int], Callable]) -> None:
    """Check that sixteen times the features cut the mean squared error at least fourfold.

    Args:
        make: of a number of features, the function of a key that draws them, q, k, v and mask.
    """
    few, many = (approximation_error(make, features) for features in (64, 1024))
    if not (many < few / 4 and many < 2e-2):
        _fail(f"the mean squared error is {few:.2g} with 64 features and {many:.2g} with 1,024")


ALWAYS = (
    check_shape_and_dtype,
    check_padding_is_never_read,
    check_padding_may_be_anywhere,
    check_more_padding_changes_nothing,
    check_examples_do_not_mix,
    check_finite_at_extremes,
    check_all_masked_gives_nothing,
)
