"""The state that mechanisms declare: what one query reads of a sequence."""

import jax
import numpy as np
import pytest
from flax import nnx

from lra_bench.contracts import Dims
from lra_bench.model.mechanism import build_attention
from lra_bench.registry import ATTENTIONS, family_of

NAMES = ATTENTIONS.names()
DIMS = Dims(num_heads=2, head_dim=4, max_len=256, emb_dim=12)
LONG = Dims(2, 4, 4_096, 12)
ALL = 2 * 2 * 4 * 256  # keys and values of all tokens


def state(name, dims=DIMS, **options):
    entry = ATTENTIONS.get(name)
    return entry.traits.state(dims, {**entry.options(), **options})


@pytest.mark.parametrize("name", NAMES)
def test_every_mechanism_declares_it(name):
    for dims in (Dims(2, 4, 1), DIMS, Dims(8, 64, 16_384, 512)):
        size = state(name, dims)
        assert isinstance(size, int)
        assert size > 0 or name == "identity"


def test_known_sizes():
    """By hand, from the formulas of the papers: h = 2, d = 4, e = 12, l = 256."""
    known = {
        "identity": 0,
        "softmax": ALL,
        "linear": 2 * 4 * 5,
        "efficient": 2 * 4 * 4,
        "performer-softmax": 2 * 256 * 5,
        "cosformer": 2 * 8 * 5,
        "rfa": 2 * 128 * 5,
        "local": 2 * 8 * 64,
        "linformer": ALL,
        "abc": 2 * 8 * 64,
        "aft-simple": 8,
        # two blocks beside its own, 3/4 of two at each of two coarse levels, of one at the third
        "h-transformer": 2 * 8 * (3 * 16 + 5 * 12),
        "s4d": 2 * 64 * 12,
        "s5": 2 * 12,
        "fnet": 256 * 12,
    }
    assert {name: state(name) for name in known} == known


FIXED = [name for name in NAMES if family_of(name) in ("kernel", "recurrent", "bound")]


@pytest.mark.parametrize("name", [*sorted({*FIXED} - {"mega"}), "abc", "luna", "skyformer"])
def test_sums_do_not_grow_with_the_length(name):
    assert state(name) == state(name, LONG)


@pytest.mark.parametrize(
    "name", [name for name in NAMES if ATTENTIONS.get(name).traits.exact] + ["fnet", "long-conv"]
)
def test_others_grow_as_the_length_does(name):
    assert state(name, Dims(2, 4, 1_024, 12)) == 4 * state(name)


# For each option that changes the state, a smaller and a larger value.
GROWING = {
    "abc": {"num_slots": (8, 16), "causal": (False, True)},
    "aft-simple": {"causal": (False, True)},
    "bigbird": {"block_size": (4, 8), "look_around": (1, 2), "num_global_blocks": (1, 2),
                "num_random_blocks": (1, 2)},
    "favor-plus-plus": {"num_features": (8, 16)},
    "favor-sharp": {"num_features": (8, 16), "estimator": ("simplified", "symmetric")},
    "gated-deltanet": {"conv_size": (0, 4), "causal": (True, False)},
    "h-transformer": {"block_size": (4, 8), "causal": (True, False)},
    "linformer": {"num_projected": (8, 16)},
    "lion": {"decay": ("none", "fixed"), "causal": (True, False)},
    "local": {"block_size": (4, 8), "look_around": (0, 1)},
    "longformer": {"window": (4, 8), "num_global": (0, 1), "causal": (True, False)},
    "luna": {"num_packed": (8, 16)},
    "mega": {"chunk_size": (8, 0), "ema_dim": (4, 8), "key_dim": (8, 16),
             "value_expansion": (1, 2)},
    "nystromformer": {"num_landmarks": (8, 16), "conv_kernel": (0, 5)},
    "performer-relu": {"num_features": (8, 16), "projection": ("none", "iid"),
                       "renormalize": (False, True)},
    "performer-softmax": {"num_features": (8, 16), "estimator": ("positive", "hyperbolic")},
    "reformer": {"bucket_size": (4, 8), "num_hashes": (1, 2), "causal": (True, False)},
    "rfa": {"num_features": (8, 16)},
    "routing": {"num_clusters": (32, 16), "window": (8, 16)},
    "s4d": {"state_dim": (8, 16), "causal": (True, False)},
    "s5": {"state_dim": (8, 16), "causal": (True, False)},
    "sinkhorn": {"block_size": (4, 8)},
    "skyformer": {"num_landmarks": (8, 16)},
    "sparse": {"num_summary": (2, 4), "stride": (128, 1_024)},
    "synthesizer": {"kind": ("dense", "dense+vanilla")},
}  # fmt: skip


@pytest.mark.parametrize("name", GROWING)
def test_it_grows_with_the_options(name):
    for option, (small, large) in GROWING[name].items():
        few, many = (state(name, LONG, **{option: value}) for value in (small, large))
        assert few < many, option


def test_windows_hold_no_more_than_the_sequence():
    short = Dims(2, 4, 8)
    for name in ("local", "longformer", "bigbird", "sparse", "reformer", "sinkhorn", "routing",
                 "h-transformer", "nystromformer"):  # fmt: skip
        assert state(name, short) <= 2 * 8 * 8 + (8 * 8 if name == "nystromformer" else 0), name


SEEN = Dims(1, 4, 64)
# Mechanisms of which a query reads whole tokens, with the most that an ordinary query reads.
WINDOWS = {
    "softmax": {},
    "local": {"block_size": 8, "look_around": 1},
    "longformer": {"window": 5, "num_global": 2},
    "bigbird": {"block_size": 4, "num_random_blocks": 2},
    "sparse": {"stride": 8, "num_summary": 2},
    "sparse-strided": {"pattern": "strided", "stride": 8},
    "reformer": {"bucket_size": 4, "num_hashes": 2},
}


@pytest.mark.ci
@pytest.mark.parametrize("case", WINDOWS)
def test_queries_read_as_many_tokens_as_are_declared(case):
    """By the gradient: the tokens whose values change the output of a query."""
    name, options = case.removesuffix("-strided"), WINDOWS[case]
    attend = build_attention(name, SEEN, ATTENTIONS.get(name).options() | options, nnx.Rngs(0))
    q, k, v = jax.random.normal(jax.random.key(0), (3, 1, 64, 1, 4))
    k = q if name == "reformer" else k
    mask = np.ones((1, 64), bool)
    gradient = jax.jacobian(lambda v: attend(q, k, v, mask)[0, :, 0, 0])(v)
    counts = np.count_nonzero(np.asarray(gradient)[:, 0, :, 0, 0], axis=1)
    declared = state(name, SEEN, **options) // (2 * 4)
    seen = max(counts) if name == "softmax" else max(counts[counts < 64])  # without global tokens
    assert seen <= declared
    assert seen == declared or name == "reformer"  # whose rounds may find the same tokens
