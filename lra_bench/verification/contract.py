"""The promises of every attention mechanism, as checks that take any mechanism.

Each check raises `Counterexample` if the mechanism breaks the promise. The tests run them over the
registry, and `lra-bench verify` over one mechanism.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from lra_bench.verification.agreement import TOLERANCE, agree, fail, finite, place, same
from lra_bench.verification.exact import softmax_float64
from lra_bench.verification.subject import (
    BATCH,
    HEADS,
    LENGTH,
    LONG,
    MAX_LEN,
    REAL,
    SHORT,
    Mechanism,
    inputs,
    lengths_mask,
    long_inputs,
    unit,
)

# Tokens after which all others are changed: chunks of tokens often end at a power of two.
CUTS = (1, 16, 32, 64, 70, 128)
_GRADIENTS = ("the gradient by q", "the gradient by k", "the gradient by v")


def check_shape_and_dtype(mechanism: Mechanism, dtype: str) -> None:
    """Check that the output has the shape and the dtype of v."""
    q, k, v = inputs(dtype)
    mask = lengths_mask(LENGTH, REAL)
    found = [mechanism.with_gradients(q, k, v, mask)[0]]
    if alone_too(mechanism, dtype):
        found.append(mechanism.alone(q, k, v, mask))
    for out in found:
        if (out.shape, out.dtype) != (v.shape, v.dtype):
            fail(f"the output is {out.dtype} {out.shape}, expected {v.dtype} {v.shape}, as v is")


def alone_too(mechanism: Mechanism, dtype: str) -> bool:
    """Return whether a check also takes examples by themselves, which compiles another program.

    The forward pass of bfloat16 has its own checks, of 1,025 tokens. Where numbers are random, an
    example by itself would get other ones.
    """
    return dtype == "float32" and not mechanism.is_random


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
        if alone_too(mechanism, dtype):
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
        finite(other, f"{name}{after}")


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


def check_short_sequences(mechanism: Mechanism, dtype: str) -> None:
    """Check that 1 and 7 tokens have the outputs that they have with padding after them."""
    qkv = inputs(dtype)
    padded = mechanism.with_gradients(*qkv, lengths_mask(*SHORT))[0]
    for row, length in enumerate(SHORT):
        first = [x[row : row + 1, :length] for x in qkv]
        found = mechanism(*first, np.ones((1, length), bool))
        what = f"the output of a sequence of {length} tokens, against that with padding after it,"
        same(padded[row : row + 1, :length], found, dtype, what=what)


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
            fail(f"outputs of tokens 0 to 69 depend on {place(at)}: {name} is {x[at]:.2g}")
    for cut in CUTS:
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
        if alone_too(mechanism, dtype):
            alone = mechanism.alone(q, k, v, lengths_mask(LENGTH, 1))
            finite(alone, f"at norm {norm:g} the output")
        for mask in (lengths_mask(LENGTH, 1), lengths_mask(REAL, 0)):
            out, gradients = mechanism.with_gradients(q, k, v, mask)
            for name, x in zip(("the output", *_GRADIENTS), (out, *gradients), strict=True):
                finite(x, f"at norm {norm:g} {name}")


def check_all_masked_gives_nothing(mechanism: Mechanism, dtype: str) -> None:
    """Check that the output is not of the input where no token is real: nothing can be read."""
    q, k, v = inputs(dtype)
    mask = lengths_mask(0, 0)
    what = "where no token is real, the output after k and v were doubled"
    both = ((q, k, v), (q, 2 * k, 2 * v))
    one, other = (mechanism.with_gradients(*qkv, mask)[0] for qkv in both)
    same(one, other, dtype, what=what)
    if alone_too(mechanism, dtype):
        one, other = (mechanism.alone(*qkv, mask) for qkv in both)
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
    agree(expected, found, tolerance, tolerance, mask, "the output")


def check_sums_have_digits_enough(mechanism: Mechanism) -> None:
    """Check a sum over equal keys: a running bfloat16 sum of as many ones would stay at 256."""
    q, k, v = long_inputs()
    q, k = (np.broadcast_to(x[:, :1] / 4, x.shape) for x in (q, k))
    agrees_with_float32(mechanism, q, k, 1 + v / 8)


def check_exponents_have_digits_enough(mechanism: Mechanism) -> None:
    """Check logits up to 23: in bfloat16 they and their exponentials would be off by up to 1/16."""
    q, k, v = long_inputs()
    agrees_with_float32(mechanism, 8 * unit(q), 8 * unit(k), v)


def agrees_with_float32(mechanism: Mechanism, *arrays: np.ndarray) -> None:
    """Check the output of inputs rounded to bfloat16 against that of the same in float32.

    It may differ by what a few roundings to the digits of bfloat16 make. Float64 would tell no
    more, and is no dtype of the contract: a loop that sums in float32 refuses it.
    """
    qkv = [x.astype(jnp.bfloat16) for x in arrays]
    mask = np.ones((1, LONG), bool)
    found = mechanism(*qkv, mask)
    if found.dtype != jnp.bfloat16:
        fail(f"the output is {found.dtype}, expected bfloat16, as v is")
    expected = mechanism(*(x.astype(np.float32) for x in qkv), mask)
    what = f"the bfloat16 output of {LONG:,} tokens, against float32,"
    allowed = 2**-6 * float(np.abs(expected).max())
    agree(expected, found.astype(np.float32), 0, allowed, None, what)


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
        fail(f"the mean squared error is {few:.2g} with 64 features and {many:.2g} with 1,024")


ALWAYS = (
    check_shape_and_dtype,
    check_padding_is_never_read,
    check_padding_may_be_anywhere,
    check_more_padding_changes_nothing,
    check_short_sequences,
    check_examples_do_not_mix,
    check_finite_at_extremes,
    check_all_masked_gives_nothing,
)
