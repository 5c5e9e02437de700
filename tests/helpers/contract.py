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
from lra_bench.model import build_attention
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
    """A mechanism under test."""

    call: Callable[..., Any]
    traits: AttentionTraits

    def _apply(self, q, k, v, mask):
        return self.call(q, q if self.traits.shares_query_key else k, v, mask)

    @functools.cached_property
    def jitted(self):
        return jax.jit(self._apply)

    def __call__(self, q, k, v, mask):
        return self.jitted(q, k, v, mask)

    @functools.cached_property
    def gradients(self):
        """Of a bounded function of the real outputs, with respect to q, k and v."""

        return lambda q, k, v, mask: self.gradients_of(q, k, v, mask, mask)

    @functools.cached_property
    def gradients_of(self):
        """The same, of the outputs that the last argument selects."""

        def total(q, k, v, mask, chosen):
            out = self._apply(q, k, v, mask).astype(jnp.float32)
            return jnp.sum(jnp.where(chosen[:, :, None, None], jnp.sin(out), 0))

        return jax.jit(jax.grad(total, argnums=(0, 1, 2)))


@functools.cache
def registered(name: str, dims: Dims = DIMS, **options: Any) -> Mechanism:
    call = build_attention(name, dims, options, nnx.Rngs(0))
    return Mechanism(lambda *args: call(*args), ATTENTIONS.get(name).traits)


def inputs(dtype="float32", length=LENGTH, scale=1.0, seed=0, batch=BATCH):
    keys = jax.random.split(jax.random.key(seed), 3)
    shape = (batch, length, HEADS, DIM)
    return [(scale * jax.random.normal(key, shape)).astype(DTYPES[dtype]) for key in keys]


def lengths_mask(*real, length=LENGTH):
    return jnp.arange(length) < jnp.array(real)[:, None]


def close(a, b, dtype):
    """Equal but for rounding, which grows with the largest of what is summed."""
    a, b = (np.asarray(x.astype(jnp.float32)) for x in (a, b))
    scale = max(1.0, float(np.max(np.abs(a), initial=0)))
    np.testing.assert_allclose(a, b, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype] * scale)


def check_shape_and_dtype(mechanism, dtype):
    q, k, v = inputs(dtype)
    out = mechanism(q, k, v, lengths_mask(LENGTH, REAL))
    assert out.shape == v.shape
    assert out.dtype == v.dtype


def check_padding_is_never_read(mechanism, dtype):
    """Junk at padding, be it NaN, changes neither real outputs nor real gradients."""
    mask = lengths_mask(LENGTH, REAL)
    clean = inputs(dtype)
    for junk in (1e4, jnp.nan):
        # A padded query's own output is nobody's business, so only keys and values are NaN.
        fills = (1e4, junk, junk)
        soiled = [
            jnp.where(mask[:, :, None, None], x, fill).astype(x.dtype)
            for x, fill in zip(clean, fills, strict=True)
        ]
        close(mechanism(*clean, mask)[mask], mechanism(*soiled, mask)[mask], dtype)
        both = (mechanism.gradients(*x, mask) for x in (clean, soiled))
        for tidy, dirty in zip(*both, strict=True):
            close(tidy[mask], dirty[mask], dtype)
            assert jnp.isfinite(dirty.astype(jnp.float32)).all()


def check_more_padding_changes_nothing(mechanism, dtype):
    mask = lengths_mask(LENGTH, REAL)
    qkv = inputs(dtype)
    fill = ((0, 0), (0, MAX_LEN - LENGTH), (0, 0), (0, 0))
    longer = [jnp.pad(x, fill, constant_values=3.0) for x in qkv]
    out = mechanism(*longer, jnp.pad(mask, fill[:2]))
    close(mechanism(*qkv, mask)[mask], out[:, :LENGTH][mask], dtype)


def check_examples_do_not_mix(mechanism, dtype):
    mask = lengths_mask(LENGTH, REAL)
    qkv = inputs(dtype)
    qkv[0] = qkv[0].at[0].multiply(5)
    together = mechanism(*qkv, mask)
    alone = mechanism(*(x[1:] for x in qkv), mask[1:])
    close(together[1:][mask[1:]], alone[mask[1:]], dtype)


def check_permuting_tokens_permutes_output(mechanism, dtype):
    mask = lengths_mask(LENGTH, REAL)
    qkv = inputs(dtype)
    order = np.random.default_rng(0).permutation(LENGTH)
    out = mechanism(*(x[:, order] for x in qkv), mask[:, order])
    close(mechanism(*qkv, mask)[:, order][mask[:, order]], out[mask[:, order]], dtype)


def check_never_looks_ahead(mechanism, dtype):
    """What comes after a token changes neither its output nor the gradients of the output."""
    mask = lengths_mask(LENGTH, REAL)
    qkv = inputs(dtype)
    for cut in (1, 70):
        other = [
            jnp.where((jnp.arange(LENGTH) < cut)[:, None, None], x, y).astype(x.dtype)
            for x, y in zip(qkv, inputs(dtype, seed=1, scale=2.0), strict=True)
        ]
        close(mechanism(*qkv, mask)[:, :cut], mechanism(*other, mask)[:, :cut], dtype)
    before = lengths_mask(70, 70)
    for x in mechanism.gradients_of(*qkv, mask, before):
        assert not x[:, 70:].any()


def check_finite_at_extremes(mechanism, dtype):
    """Norms 0 to 100, all, one or no real tokens: outputs and gradients are finite."""
    masks = (lengths_mask(LENGTH, REAL), lengths_mask(1, LENGTH), lengths_mask(0, 0))
    for norm in (0.0, 1e-3, 1.0, 10.0, 100.0):
        qkv = inputs(dtype)
        for index in (0, 1):
            x = qkv[index].astype(jnp.float32)
            x = norm * x / jnp.linalg.norm(x, axis=-1, keepdims=True)
            qkv[index] = x.astype(qkv[index].dtype)
        for mask in masks:
            found = (mechanism(*qkv, mask), *mechanism.gradients(*qkv, mask))
            for x in found:
                assert jnp.isfinite(x.astype(jnp.float32)).all(), f"norm {norm}"


def check_all_masked_gives_nothing(mechanism, dtype):
    """Where no token is real, nothing can be read: whatever comes out, it isn't the input."""
    q, k, v = inputs(dtype)
    mask = lengths_mask(0, 0)
    close(mechanism(q, k, v, mask), mechanism(q, k, 2 * v, mask), dtype)


def check_equals_softmax(mechanism, dtype, *, causal=False):
    mask = lengths_mask(LENGTH, REAL)
    qkv = inputs(dtype)
    expected = softmax_float64(*qkv, mask, causal=causal)
    found = np.asarray(mechanism(*qkv, mask).astype(jnp.float32), np.float64)
    tolerance = TOLERANCE[dtype]
    np.testing.assert_allclose(found[mask], expected[mask], rtol=tolerance, atol=tolerance)


def check_sums_have_digits_enough(mechanism):
    """Equal keys: a running bfloat16 sum of as many ones would stay at 256."""
    q, k, v = long_inputs()
    q, k = (jnp.broadcast_to(x[:, :1] / 4, x.shape) for x in (q, k))
    agrees_with_float64(mechanism, q, k, 1 + v / 8)


def check_exponents_have_digits_enough(mechanism):
    """Logits up to 23: in bfloat16 they would be off by up to 1/16, and their exponentials too."""
    q, k, v = long_inputs()
    q, k = (8 * x / jnp.linalg.norm(x, axis=-1, keepdims=True) for x in (q, k))
    agrees_with_float64(mechanism, q, k, v)


def long_inputs():
    shape = (1, LONG, DIMS_LONG.num_heads, DIM)
    return (jax.random.normal(key, shape) for key in jax.random.split(jax.random.key(0), 3))


def agrees_with_float64(mechanism, *qkv):
    """On inputs rounded to bfloat16, but for what a few roundings to its digits make."""
    qkv = [x.astype(jnp.bfloat16) for x in qkv]
    mask = jnp.ones((1, LONG), bool)
    found = mechanism(*qkv, mask)
    assert found.dtype == jnp.bfloat16
    with jax.enable_x64(True):
        expected = np.asarray(mechanism(*(jnp.asarray(x, jnp.float64) for x in qkv), mask))
    found = np.asarray(found, np.float64)
    np.testing.assert_allclose(found, expected, rtol=0, atol=2**-6 * np.abs(expected).max())


def softmax_float64(q, k, v, mask, *, causal=False):
    """Eq. (1) of the Performer paper or, if causal, Eq. (2), in float64."""
    q, k, v = (np.asarray(x.astype(jnp.float32), np.float64) for x in (q, k, v))
    logits = np.einsum("bqhd,bkhd->bhqk", q, k) / np.sqrt(q.shape[-1])
    weights = np.exp(logits - logits.max(-1, keepdims=True)) * np.asarray(mask)[:, None, None, :]
    if causal:
        weights = np.tril(weights)
    return np.einsum("bhqk,bkhd->bqhd", weights / weights.sum(-1, keepdims=True), v)


def approximation_error(make: Callable[[int], Mechanism], features: int, draws: int = 10) -> float:
    """Mean squared error against float64 softmax, over draws of features and inputs."""
    errors = []
    mask = lengths_mask(LENGTH, REAL)
    for draw in range(draws):
        qkv = inputs(seed=draw, scale=0.5)
        found = np.asarray(make(draw, features)(*qkv, mask), np.float64)
        errors.append(np.mean((found - softmax_float64(*qkv, mask))[mask] ** 2))
    return float(np.mean(errors))


def check_converges_to_softmax(make):
    """Sixteen times the features cut the mean squared error at least fourfold."""
    few, many = (approximation_error(make, features) for features in (64, 1024))
    assert many < few / 4, (few, many)
    assert many < 2e-2, many


ALWAYS = (
    check_shape_and_dtype,
    check_padding_is_never_read,
    check_more_padding_changes_nothing,
    check_examples_do_not_mix,
    check_finite_at_extremes,
    check_all_masked_gives_nothing,
)
