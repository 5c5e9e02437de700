"""What every attention mechanism promises, as checks that take any mechanism.

`test_attention_contract.py` runs them over the registry, `test_contract_catches.py` over
mechanisms with planted bugs.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from lra_bench.contracts import AttentionTraits, Dims
from lra_bench.model.mechanism import build_attention
from lra_bench.registry import ATTENTIONS

# All sizes differ, so that a swapped axis fails.
BATCH, LENGTH, HEADS, DIM, MAX_LEN = 2, 141, 3, 8, 160
DIMS = Dims(HEADS, DIM, MAX_LEN)
# Of what is summed over: more ones than bfloat16 can count.
LONG = 1_025
DIMS_LONG = Dims(2, DIM, LONG)
REAL = 97  # real tokens of the second example; the first is full

DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}
TOLERANCE = {"float32": 2e-5, "bfloat16": 4e-2}


@dataclass(frozen=True)
class Mechanism:
    """A mechanism under test. Arrays go in and come out as numpy's, which compiles nothing."""

    call: Callable[..., Any]
    traits: AttentionTraits

    def _apply(self, q, k, v, mask):
        return self.call(q, q if self.traits.shares_query_key else k, v, mask)

    @functools.cached_property
    def _forward(self):
        return jax.jit(self._apply)

    @functools.cached_property
    def both(self):
        """The program of the outputs and the gradients."""

        def total(q, k, v, mask, chosen):
            out = self._apply(q, k, v, mask)
            bounded = jnp.sin(out.astype(jnp.float32))
            return jnp.sum(jnp.where(chosen[:, :, None, None], bounded, 0)), out

        return jax.jit(jax.grad(total, argnums=(0, 1, 2), has_aux=True))

    def __call__(self, q, k, v, mask):
        return np.asarray(self._forward(q, k, v, mask))

    def alone(self, q, k, v, mask, fill=(3.0, 3.0, 3.0)):
        """Return the outputs of each example by itself, padded with `fill` to `MAX_LEN`.

        One program, without gradients, shows batches, padding and the forward pass.
        """
        length = ((0, 0), (0, MAX_LEN - LENGTH))
        outputs = []
        for row in range(len(mask)):
            padded = [
                np.pad(x[row : row + 1], (*length, (0, 0), (0, 0)), constant_values=value)
                for x, value in zip((q, k, v), fill, strict=True)
            ]
            outputs.append(self(*padded, np.pad(mask[row : row + 1], length))[:, :LENGTH])
        return np.concatenate(outputs)

    def with_gradients(self, q, k, v, mask, chosen=None):
        """Return the output, and the gradients by q, k and v of a bounded function of it.

        The function is of the outputs that `chosen` selects: of the real ones if it is None.
        """
        gradients, out = self.both(q, k, v, mask, mask if chosen is None else chosen)
        return np.asarray(out), [np.asarray(x) for x in gradients]


@functools.cache
def registered(name: str, dims: Dims = DIMS, **options: Any) -> Mechanism:
    call, traits = build_attention(name, dims, options, nnx.Rngs(0)), ATTENTIONS.get(name).traits
    return Mechanism(of_values(call) if traits.mixer else lambda *args: call(*args), traits)


def of_values(mix):
    """A mixer as a function of q, k, v and mask, so that the same checks hold: v is its input."""

    def call(q, k, v, mask):
        del q, k
        return mix(v.reshape(*v.shape[:2], -1), mask).reshape(v.shape)

    return call


def inputs(dtype="float32", length=LENGTH, scale=1.0, seed=0, batch=BATCH):
    return [(scale * x).astype(DTYPES[dtype]) for x in _normal((batch, length, HEADS, DIM), seed)]


@functools.cache
def _normal(shape, seed):
    keys = jax.random.split(jax.random.key(seed), 3)
    return [np.asarray(jax.random.normal(key, shape)) for key in keys]


def lengths_mask(*real, length=LENGTH):
    return np.arange(length) < np.array(real)[:, None]


def unit(x):
    """Return the vectors divided by their norms."""
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def close(a, b, dtype):
    """Equal but for rounding, which grows with the largest of what is summed."""
    a, b = (np.asarray(x, np.float32) for x in (a, b))
    scale = max(1.0, float(np.max(np.abs(a), initial=0)))
    np.testing.assert_allclose(a, b, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype] * scale)


def check_shape_and_dtype(mechanism, dtype):
    q, k, v = inputs(dtype)
    mask = lengths_mask(LENGTH, REAL)
    found = [mechanism.with_gradients(q, k, v, mask)[0]]
    if alone_too(dtype):
        found.append(mechanism.alone(q, k, v, mask))
    for out in found:
        assert out.shape == v.shape
        assert out.dtype == v.dtype


def alone_too(dtype):
    """Whether a check also takes examples by themselves, which compiles another program.

    The forward pass of bfloat16 has its own checks, of 1,025 tokens.
    """
    return dtype == "float32"


def check_padding_is_never_read(mechanism, dtype):
    """Junk at padding, be it NaN, changes neither real outputs nor real gradients."""
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
        out, dirty = mechanism.with_gradients(*soiled, mask)
        close(expected[mask], out[mask], dtype)
        if alone_too(dtype):
            close(expected[mask], mechanism.alone(*soiled, mask, fills)[mask], dtype)
        for before, after in zip(tidy, dirty, strict=True):
            close(before[mask], after[mask], dtype)
            assert np.isfinite(after.astype(np.float32)).all()


def check_padding_may_be_anywhere(mechanism, dtype):
    """Black pixels can be padding: what is first, in between or last is never read either."""
    mask = np.stack([np.arange(LENGTH) % 3 != 1, np.arange(LENGTH) % 7 < 4])
    mask[0, :20] = mask[1, -20:] = False
    clean = inputs(dtype)
    soiled = [np.where(mask[:, :, None, None], x, np.nan).astype(x.dtype) for x in clean]
    expected, tidy = mechanism.with_gradients(*clean, mask)
    out, dirty = mechanism.with_gradients(clean[0], *soiled[1:], mask)
    close(expected[mask], out[mask], dtype)
    for before, after in zip(tidy, dirty, strict=True):
        close(before[mask], after[mask], dtype)
        assert np.isfinite(after.astype(np.float32)).all()


def check_more_padding_changes_nothing(mechanism, dtype):
    mask = lengths_mask(LENGTH, REAL)
    qkv = inputs(dtype)
    close(mechanism.with_gradients(*qkv, mask)[0][mask], mechanism.alone(*qkv, mask)[mask], dtype)


def check_examples_do_not_mix(mechanism, dtype):
    mask = lengths_mask(LENGTH, REAL)
    qkv = inputs(dtype)
    qkv[0] = np.concatenate([5 * qkv[0][:1], qkv[0][1:]])
    together = mechanism.with_gradients(*qkv, mask)[0][1:]
    close(together[mask[1:]], mechanism.alone(*qkv, mask)[1:][mask[1:]], dtype)


def check_permuting_tokens_permutes_output(mechanism, dtype):
    mask = lengths_mask(LENGTH, REAL)
    qkv = inputs(dtype)
    order = np.random.default_rng(0).permutation(LENGTH)
    out = mechanism.alone(*(x[:, order] for x in qkv), mask[:, order])
    close(mechanism.alone(*qkv, mask)[:, order][mask[:, order]], out[mask[:, order]], dtype)


def check_never_looks_ahead(mechanism, dtype):
    """What comes after a token changes neither its output nor the gradients of the output."""
    mask = lengths_mask(LENGTH, REAL)
    qkv = inputs(dtype)
    before = lengths_mask(70, 70)
    out, gradients = mechanism.with_gradients(*qkv, mask, before)
    # A Fourier transform is of all tokens: what does not count leaves rounding errors.
    rounding = 1e-6 if mechanism.traits.mixer else 0
    for x in gradients:
        assert np.abs(x[:, 70:]).max() <= rounding * np.abs(x).max()
    for cut in (1, 70):
        other = [
            np.where((np.arange(LENGTH) < cut)[:, None, None], x, y)
            for x, y in zip(qkv, inputs(dtype, seed=1, scale=2.0), strict=True)
        ]
        close(out[:, :cut], mechanism.with_gradients(*other, mask)[0][:, :cut], dtype)
        close(out[:, :cut], mechanism.alone(*other, mask)[:, :cut], dtype)


def check_finite_at_extremes(mechanism, dtype):
    """Norms 0 to 100, all, some, one or no real tokens: outputs and gradients are finite."""
    for norm in (0.0, 1e-3, 1.0, 10.0, 100.0):
        q, k, v = inputs(dtype)
        q, k = ((norm * unit(x.astype(np.float32))).astype(x.dtype) for x in (q, k))
        if mechanism.traits.mixer:  # of all heads together, since that is a token of its input
            v = (norm * unit(v.astype(np.float32)) / HEADS**0.5).astype(v.dtype)
        found = [mechanism.alone(q, k, v, lengths_mask(LENGTH, 1))] if alone_too(dtype) else []
        for mask in (lengths_mask(LENGTH, 1), lengths_mask(REAL, 0)):
            out, gradients = mechanism.with_gradients(q, k, v, mask)
            found += [out, *gradients]
        for x in found:
            assert np.isfinite(x.astype(np.float32)).all(), f"norm {norm}"


def check_all_masked_gives_nothing(mechanism, dtype):
    """Where no token is real, nothing can be read: whatever comes out, it isn't the input."""
    q, k, v = inputs(dtype)
    mask = lengths_mask(0, 0)
    one, other = (mechanism.with_gradients(q, k, x, mask)[0] for x in (v, 2 * v))
    close(one, other, dtype)
    if alone_too(dtype):
        close(mechanism.alone(q, k, v, mask), mechanism.alone(q, k, 2 * v, mask), dtype)


def check_equals_softmax(mechanism, dtype, *, causal=False):
    mask = lengths_mask(LENGTH, REAL)
    out = mechanism.with_gradients(*inputs(dtype), mask)[0]
    close_to_softmax(out, dtype, mask, causal=causal)
    check_alone_equals_softmax(mechanism, dtype, causal=causal)


def check_alone_equals_softmax(mechanism, dtype, *, causal=False):
    """As above for the forward pass, where no other check computes gradients."""
    mask = lengths_mask(LENGTH, REAL)
    close_to_softmax(mechanism.alone(*inputs(dtype), mask), dtype, mask, causal=causal)


def close_to_softmax(out, dtype, mask, *, causal):
    expected = softmax_float64(*inputs(dtype), mask, causal=causal)[mask]
    tolerance, found = TOLERANCE[dtype], out.astype(np.float64)[mask]
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


def check_sums_have_digits_enough(mechanism):
    """Equal keys: a running bfloat16 sum of as many ones would stay at 256."""
    q, k, v = long_inputs()
    q, k = (np.broadcast_to(x[:, :1] / 4, x.shape) for x in (q, k))
    agrees_with_float64(mechanism, q, k, 1 + v / 8)


def check_exponents_have_digits_enough(mechanism):
    """Logits up to 23: in bfloat16 they would be off by up to 1/16, and their exponentials too."""
    q, k, v = long_inputs()
    agrees_with_float64(mechanism, 8 * unit(q), 8 * unit(k), v)


def long_inputs():
    return _normal((1, LONG, DIMS_LONG.num_heads, DIM), 0)


def agrees_with_float64(mechanism, *qkv):
    """On inputs rounded to bfloat16, but for what a few roundings to its digits make."""
    qkv = [x.astype(jnp.bfloat16) for x in qkv]
    mask = np.ones((1, LONG), bool)
    found = mechanism(*qkv, mask)
    assert found.dtype == jnp.bfloat16
    with jax.enable_x64(True):
        expected = mechanism(*(x.astype(np.float64) for x in qkv), mask)
    found = found.astype(np.float64)
    np.testing.assert_allclose(found, expected, rtol=0, atol=2**-6 * np.abs(expected).max())


def softmax_float64(q, k, v, mask, *, causal=False):
    """Eq. (1) of the Performer paper or, if causal, Eq. (2), in float64."""
    q, k, v = (np.asarray(x, np.float64) for x in (q, k, v))
    logits = np.einsum("bqhd,bkhd->bhqk", q, k) / np.sqrt(q.shape[-1])
    weights = np.exp(logits - logits.max(-1, keepdims=True)) * mask[:, None, None, :]
    if causal:
        weights = np.tril(weights)
    return np.einsum("bhqk,bkhd->bqhd", weights / weights.sum(-1, keepdims=True), v)


def approximation_error(make: Callable[[int], Callable], features: int, draws: int = 10) -> float:
    """Mean squared error against float64 softmax, over draws of features and inputs."""
    mask = lengths_mask(LENGTH, REAL)
    qkv = [inputs(seed=draw, scale=0.5) for draw in range(draws)]
    call = jax.jit(jax.vmap(make(features), in_axes=(0, 0, 0, 0, None)))
    keys = jax.random.split(jax.random.key(0), draws)
    found = np.asarray(call(keys, *map(np.stack, zip(*qkv, strict=True)), mask), np.float64)
    exact = np.stack([softmax_float64(*x, mask) for x in qkv])
    return float(np.mean(np.square(found - exact)[:, mask]))


def check_converges_to_softmax(make):
    """Sixteen times the features cut the mean squared error at least fourfold.

    Args:
        make: of a number of features, the function of a key that draws them, q, k, v and mask.
    """
    few, many = (approximation_error(make, features) for features in (64, 1024))
    assert many < few / 4, (few, many)
    assert many < 2e-2, many


ALWAYS = (
    check_shape_and_dtype,
    check_padding_is_never_read,
    check_padding_may_be_anywhere,
    check_more_padding_changes_nothing,
    check_examples_do_not_mix,
    check_finite_at_extremes,
    check_all_masked_gives_nothing,
)
