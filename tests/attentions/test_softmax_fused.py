"""softmax-fused for a GPU: the kernel that it takes, and the order of tokens which that needs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lra_bench.attentions import softmax_fused
from lra_bench.attentions.softmax import softmax
from lra_bench.registry import ATTENTIONS
from lra_bench.verification import contract, subject
from lra_bench.verification.agreement import same

TRAITS = ATTENTIONS.get("softmax-fused").traits


def reordered(q, k, v, mask, *, causal=False):
    """What cuDNN is given, computed by XLA."""
    k, v = (jnp.where(mask[:, :, None, None], x, 0) for x in (k, v))
    return softmax_fused._real_tokens_first(q, k, v, mask, causal=causal, implementation="xla")


def mechanism(causal):
    return subject.Mechanism(lambda *args: reordered(*args, causal=causal), TRAITS)


@pytest.mark.parametrize(
    "check",
    [*contract.ALWAYS, contract.check_equals_softmax,
     contract.check_permuting_tokens_permutes_output],
    ids=lambda check: check.__name__,
)  # fmt: skip
def test_it_keeps_every_promise(check):
    check(mechanism(causal=False), "float32")


@pytest.mark.parametrize(
    "check",
    [contract.check_padding_is_never_read, contract.check_finite_at_extremes,
     contract.check_never_looks_ahead, contract.check_all_masked_gives_nothing],
    ids=lambda check: check.__name__,
)  # fmt: skip
def test_causal_keeps_every_promise(check):
    check(mechanism(causal=True), "float32")


def masks(length):
    """Holes, padding before and after, all real, one real, and none."""
    rng = np.random.default_rng(0)
    rows = [rng.random(length) < share for share in (0.2, 0.8)]
    at = np.arange(length)
    return np.stack([*rows, at >= 5, at < 4, at >= 0, at == 7, at < 0])


@pytest.mark.parametrize("length", [16, 17])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_padding_may_stand_anywhere(length, causal, dtype):
    """The outputs and gradients of real tokens are those of the textbook form."""
    mask = masks(length)
    qkv = [x.astype(dtype) for x in subject.inputs(length=length, batch=len(mask))]
    given = np.where(mask[:, :, None, None], np.cos(qkv[0]), 0)

    def both(attend):
        def call(q, k, v):
            return attend(q, k, v, mask, causal=causal)

        out, gradient = jax.vjp(call, *map(jnp.asarray, qkv))
        return out, *gradient(given.astype(out.dtype))

    found, expected = (jax.jit(both, static_argnums=0)(x) for x in (reordered, softmax))
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.dtype == dtype
        same(theirs[mask], ours[mask], dtype)


def test_what_is_all_padding_gives_zero():
    q, k, v = subject.inputs(length=16, batch=2)
    for causal in (False, True):
        assert not np.asarray(reordered(q, k, v, np.zeros((2, 16), bool), causal=causal)).any()


@pytest.mark.parametrize(
    ("capability", "dtype", "head", "taken"),
    [
        ((9, 0), "bfloat16", 64, True),
        ((8, 0), "float16", 128, True),
        ((9, 0), "float32", 64, False),
        ((9, 0), "bfloat16", 12, False),
        ((9, 0), "bfloat16", 136, False),
        ((7, 5), "bfloat16", 64, False),
        ((7, 0), "float16", 64, False),
        (None, "bfloat16", 64, False),
    ],
)
def test_the_device_decides_on_the_kernel(capability, dtype, head, taken, monkeypatch):
    monkeypatch.setattr(softmax_fused, "compute_capability", lambda: capability)
    assert softmax_fused._cudnn_takes(jnp.zeros((1, 2, 1, head), dtype)) is taken
    widened = softmax_fused._dtype_of_xla(jnp.dtype(dtype))
    assert widened == ("float32" if capability == (7, 5) else dtype)
