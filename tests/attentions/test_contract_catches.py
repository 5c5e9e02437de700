"""The contract checks catch the bugs that they exist for: each planted bug fails its check."""

import functools

import jax
import jax.numpy as jnp
import pytest

from lra_bench.contracts import AttentionTraits
from lra_bench.registry import ATTENTIONS, register_attention
from lra_bench.verification import contract, subject
from lra_bench.verification.subject import DIM, Mechanism
from lra_bench.verification.verify import verify


def plain(q, k, v, mask):
    """Correct textbook attention, the healthy original of the mutants."""
    k, v = (jnp.where(mask[:, :, None, None], x, 0) for x in (k, v))
    logits = jnp.einsum("bqhd,bkhd->bhqk", q, k) * q.shape[-1] ** -0.5
    logits = jnp.where(mask[:, None, None, :], logits, -1e30)
    return jnp.einsum("bhqk,bkhd->bqhd", jax.nn.softmax(logits, axis=-1), v)


def mask_ignored(q, k, v, mask):
    return plain(q, k, v, jnp.ones_like(mask))


def mask_only_on_weights(q, k, v, mask):
    """Zero weight times a NaN value is NaN: padding is read after all."""
    logits = jnp.einsum("bqhd,bkhd->bhqk", q, k) * q.shape[-1] ** -0.5
    logits = jnp.where(mask[:, None, None, :], logits, -1e30)
    return jnp.einsum("bhqk,bkhd->bqhd", jax.nn.softmax(logits, axis=-1), v)


def padding_only_at_the_end(q, k, v, mask):
    """Counts the real tokens and takes as many from the start."""
    return plain(q, k, v, jnp.arange(mask.shape[1]) < jnp.sum(mask, axis=1, keepdims=True))


def mean_over_length(q, k, v, mask):
    """Divides by the padded length, not by the number of real tokens."""
    total = jnp.sum(jnp.where(mask[:, :, None, None], v, 0), axis=1, keepdims=True)
    return jnp.broadcast_to(total / v.shape[1], v.shape)


def maximum_over_batch(q, k, v, mask):
    """A stabiliser taken over the batch, with an epsilon that then dominates."""
    k, v = (jnp.where(mask[:, :, None, None], x, 0) for x in (k, v))
    phi_q, phi_k = (jnp.exp(x - jnp.max(x)) for x in (q, k))
    phi_k = jnp.where(mask[:, :, None, None], phi_k, 0)
    weighted = jnp.einsum("bkhm,bkhd->bhmd", phi_k, v)
    total = jnp.einsum("bqhm,bhm->bqh", phi_q, phi_k.sum(1)) + 1e-3
    return jnp.einsum("bqhm,bhmd->bqhd", phi_q, weighted) / total[..., None]


def no_stabiliser(q, k, v, mask):
    phi_q, phi_k = (jnp.exp(x) for x in (q, k))
    phi_k = jnp.where(mask[:, :, None, None], phi_k, 0)
    v = jnp.where(mask[:, :, None, None], v, 0)
    weighted = jnp.einsum("bkhm,bkhd->bhmd", phi_k, v)
    total = jnp.einsum("bqhm,bhm->bqh", phi_q, phi_k.sum(1))
    return jnp.einsum("bqhm,bhmd->bqhd", phi_q, weighted) / total[..., None]


def scores_multiplied_by_root(q, k, v, mask):
    """Times sqrt(d) instead of divided by it: the original Reformer's bug."""
    return plain(q * q.shape[-1], k, v, mask)


def depends_on_place(q, k, v, mask):
    return plain(q, k + 0.01 * jnp.arange(k.shape[1])[:, None, None].astype(k.dtype), v, mask)


def upcasts(q, k, v, mask):
    return plain(q, k, v, mask).astype(jnp.float32)


def uniform_over_everything(q, k, v, mask):
    """With nothing real, softmax of equal logits averages the padding."""
    logits = jnp.einsum("bqhd,bkhd->bhqk", q, jnp.where(mask[:, :, None, None], k, 0))
    logits = jnp.where(mask[:, None, None, :], logits, -1e30)
    v = jnp.where(
        jnp.any(mask, axis=1)[:, None, None, None], jnp.where(mask[:, :, None, None], v, 0), v
    )
    return jnp.einsum("bhqk,bkhd->bqhd", jax.nn.softmax(logits, axis=-1), v)


def reads_keys_of_nothing(q, k, v, mask):
    return jnp.where(jnp.any(mask, axis=1)[:, None, None, None], plain(q, k, v, mask), k)


def sums_of_whole_chunks(q, k, v, mask):
    """Tokens after the last whole chunk of eight see nothing if there is no whole chunk."""
    return plain(q, k, v, mask) * (mask.shape[1] >= 8)


MUTANTS = [
    (mask_ignored, contract.check_padding_is_never_read),
    (mask_ignored, contract.check_more_padding_changes_nothing),
    (mask_only_on_weights, contract.check_padding_is_never_read),
    (padding_only_at_the_end, contract.check_padding_may_be_anywhere),
    (mean_over_length, contract.check_more_padding_changes_nothing),
    (maximum_over_batch, contract.check_examples_do_not_mix),
    (no_stabiliser, contract.check_finite_at_extremes),
    (scores_multiplied_by_root, contract.check_equals_softmax),
    (depends_on_place, contract.check_permuting_tokens_permutes_output),
    (uniform_over_everything, contract.check_all_masked_gives_nothing),
    (reads_keys_of_nothing, contract.check_all_masked_gives_nothing),
    (sums_of_whole_chunks, contract.check_short_sequences),
]
EVERY_CHECK = (
    *contract.ALWAYS,
    contract.check_equals_softmax,
    contract.check_permuting_tokens_permutes_output,
)


@functools.cache
def mechanism(function):
    """The same object for the same function, so that each is compiled once."""
    return Mechanism(function, AttentionTraits())


@pytest.mark.parametrize("check", EVERY_CHECK, ids=lambda check: check.__name__)
def test_healthy_mechanism_passes(check):
    check(mechanism(plain), "float32")


@pytest.mark.parametrize(("mutant", "check"), MUTANTS, ids=lambda item: item.__name__)
def test_planted_bug_is_caught(mutant, check):
    with pytest.raises(AssertionError):
        check(mechanism(mutant), "float32")


def test_wrong_dtype_is_caught():
    with pytest.raises(AssertionError):
        contract.check_shape_and_dtype(mechanism(upcasts), "bfloat16")


def seen_from(q, k, v, mask, seen):
    """Correct attention to those real tokens that `seen`, (l, l), lets each query see."""
    k, v = (jnp.where(mask[:, :, None, None], x, 0) for x in (k, v))
    logits = jnp.einsum("bqhd,bkhd->bhqk", q, k, preferred_element_type=jnp.float32) * DIM**-0.5
    seen = mask[:, None, None, :] & seen
    weights = jax.nn.softmax(jnp.where(seen, logits, -1e30), axis=-1) * seen
    return jnp.einsum("bhqk,bkhd->bqhd", weights.astype(v.dtype), v)


def earlier(length):
    return jnp.tri(length, dtype=bool)


def healthy(q, k, v, mask, *, causal: bool = False):
    length = q.shape[1]
    return seen_from(q, k, v, mask, earlier(length) if causal else jnp.ones((length,) * 2, bool))


def causal_sees_itself_only(q, k, v, mask, *, causal: bool = False):
    seen = jnp.eye(q.shape[1], dtype=bool)
    return seen_from(q, k, v, mask, seen) if causal else healthy(q, k, v, mask)


def causal_ignores_the_mask(q, k, v, mask, *, causal: bool = False):
    return healthy(q, k, v, jnp.ones_like(mask) if causal else mask, causal=causal)


def causal_upcasts(q, k, v, mask, *, causal: bool = False):
    out = healthy(q, k, v, mask, causal=causal)
    return out.astype(jnp.float32) if causal else out


def causal_sees_the_next_chunk(q, k, v, mask, *, causal: bool = False):
    """The last query of each chunk of 32 also sees the first key of the next."""
    tokens = jnp.arange(q.shape[1])
    ahead = (tokens[:, None] % 32 == 31) & (tokens == tokens[:, None] + 1)
    seen = earlier(len(tokens)) | ahead
    return seen_from(q, k, v, mask, seen) if causal else healthy(q, k, v, mask)


def training_averages_padding(q, k, v, mask, rngs=None):
    """Wrong only in training, which gives `rngs`."""
    out = healthy(q, k, v, mask)
    return out if rngs is None else out + 0.1 * jnp.mean(v, axis=1, keepdims=True)


# What `verify` says of those that are wrong in one kind of call only.
ONE_KIND_OF_CALL = {
    causal_sees_itself_only: "causal, exact: the output is that of softmax attention in float64",
    causal_ignores_the_mask: "causal: padding is never read, even if it is NaN",
    causal_upcasts: "causal: the output has the shape and the dtype of v",
    causal_sees_the_next_chunk: "causal: a token sees no later one",
    training_averages_padding: "padding is never read in training, with random keys",
}


@pytest.fixture
def verified(monkeypatch):
    """A function that returns the broken promises of a function, which it says to be exact."""
    monkeypatch.setattr(ATTENTIONS, "_entries", dict(ATTENTIONS._entries))

    def broken(function):
        register_attention(function.__name__.replace("_", "-"), exact=True)(function)
        found = verify(function.__name__.replace("_", "-"))
        return [verdict.promise for verdict in found if not verdict.kept]

    return broken


@pytest.mark.parametrize("mutant", ONE_KIND_OF_CALL, ids=lambda item: item.__name__)
def test_a_bug_in_one_kind_of_call_is_caught(mutant, verified):
    broken = verified(mutant)
    assert ONE_KIND_OF_CALL[mutant] in broken
    assert all("causal" in promise or "training" in promise for promise in broken)


def test_a_healthy_causal_mechanism_is_verified(verified):
    assert verified(healthy) == []


def in_float32(q, k, v, mask):
    """Healthy: logits, exponentials and sums in float32, or what the inputs have beyond it."""
    wide = jnp.promote_types(q.dtype, jnp.float32)
    return plain(*(x.astype(wide) for x in (q, k, v)), mask).astype(v.dtype)


def normaliser_in_bfloat16(q, k, v, mask):
    """A running sum, as over chunks, that has the inputs' digits only."""
    wide = jnp.promote_types(q.dtype, jnp.float32)
    logits = jnp.einsum("bqhd,bkhd->bhqk", q, k, preferred_element_type=wide) * DIM**-0.5
    weights = jnp.exp(logits - logits.max(-1, keepdims=True)).astype(v.dtype)

    def add(total, column):
        return total + column, None

    total, _ = jax.lax.scan(add, jnp.zeros_like(weights[..., 0]), jnp.moveaxis(weights, -1, 0))
    return jnp.einsum("bhqk,bkhd->bqhd", weights / total[..., None], v)


def logits_in_bfloat16(q, k, v, mask):
    logits = jnp.einsum("bqhd,bkhd->bhqk", q * DIM**-0.5, k)
    logits = jax.lax.reduce_precision(logits, 8, 7) if q.dtype == jnp.bfloat16 else logits
    weights = jax.nn.softmax(logits.astype(jnp.promote_types(q.dtype, jnp.float32)), axis=-1)
    return jnp.einsum("bhqk,bkhd->bqhd", weights.astype(v.dtype), v)


BFLOAT16_CHECKS = {
    normaliser_in_bfloat16: contract.check_sums_have_digits_enough,
    logits_in_bfloat16: contract.check_exponents_have_digits_enough,
}


def sums_by_a_loop(q, k, v, mask):
    """Healthy: the mean of the values, by a loop whose sums are float32 whatever the inputs are."""
    real = mask[:, :, None, None]

    def add(total, value):
        return total + value, None

    values = jnp.moveaxis(jnp.where(real, v, 0), 1, 0)
    total, _ = jax.lax.scan(add, jnp.zeros(values.shape[1:], jnp.float32), values)
    mean = total / jnp.maximum(jnp.sum(mask, axis=1), 1)[:, None, None]
    return jnp.broadcast_to(mean[:, None], v.shape).astype(v.dtype)


def test_a_loop_with_sums_in_float32_has_digits_enough():
    contract.check_sums_have_digits_enough(mechanism(sums_by_a_loop))


@pytest.mark.parametrize("check", BFLOAT16_CHECKS.values(), ids=lambda check: check.__name__)
def test_float32_within_is_enough(check):
    check(mechanism(in_float32))


@pytest.mark.parametrize(
    ("mutant", "check"), BFLOAT16_CHECKS.items(), ids=lambda item: item.__name__
)
def test_too_few_digits_are_caught(mutant, check):
    with pytest.raises(AssertionError):
        check(mechanism(mutant))


def favor(features, *, norm_term=True):
    """Positive features written out anew, with or without the term -|x|^2 / 2."""

    def phi(x, w):
        x = x * x.shape[-1] ** -0.25
        half = jnp.sum(x * x, -1, keepdims=True) / 2 if norm_term else 0
        return jnp.exp(jnp.einsum("blhd,md->bhlm", x, w) - jnp.swapaxes(half, 1, 2) if norm_term
                       else jnp.einsum("blhd,md->bhlm", x, w))  # fmt: skip

    def call(key, q, k, v, mask):
        w = jax.random.normal(key, (features, subject.DIM))
        pairs = jnp.einsum("bhqm,bhkm->bhqk", phi(q, w), phi(k, w)) * mask[:, None, None, :]
        return jnp.einsum("bhqk,bkhd->bqhd", pairs / pairs.sum(-1, keepdims=True), v)

    return call


def test_healthy_features_converge():
    contract.check_converges_to_softmax(favor)


def test_dropped_norm_term_is_caught():
    with pytest.raises(AssertionError):
        contract.check_converges_to_softmax(lambda features: favor(features, norm_term=False))
