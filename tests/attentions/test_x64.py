"""Attentions used as a library, in a program that computes in 64 bits."""

import jax
import numpy as np
import pytest
from flax import nnx

from lra_bench.attentions._favor.projections import PROJECTIONS
from lra_bench.contracts import Dims
from lra_bench.model.mechanism import build_attention

DIMS = Dims(num_heads=2, head_dim=6, max_len=40)
CASES = [("linformer", {}), ("reformer", {}), ("performer-softmax", {}), ("performer-relu", {})]
CASES += [("performer-softmax", {"projection": projection}) for projection in PROJECTIONS]


def drawn(name, options):
    """The arrays that an attention draws when it is built, and when it draws again."""
    arrays = []
    for redraw in (False, True):
        module = build_attention(name, DIMS, options, nnx.Rngs(0))
        if redraw and hasattr(module, "resample"):
            module.resample(jax.random.key(1))
        arrays += jax.tree.leaves(nnx.state(module))
    return arrays


@pytest.mark.parametrize(("name", "options"), CASES)
def test_draws_are_those_of_a_program_in_32_bits(name, options):
    expected = drawn(name, options)
    assert expected
    with jax.enable_x64(True):
        found = drawn(name, options)
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)
