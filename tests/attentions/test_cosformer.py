"""cosFormer against its quadratic form, with cosines of distances."""

import jax
import numpy as np
import pytest
from agreement import check_agreement
from flax import nnx
from random_features import DIM, HEADS, LENGTH, MASK, tokens

from lra_bench.attentions.cosformer import Cosformer
from lra_bench.contracts import Dims

MAX_LEN = 64


def quadratic(inputs, *, causal):
    """Eq. by eq. as the paper has it before it is split up; ranks and M of real tokens."""
    out = np.zeros_like(inputs["v"])
    for example, head in np.ndindex(2, HEADS):
        real = np.flatnonzero(MASK[example])
        number = MAX_LEN if causal else len(real)
        for i, query in enumerate(real):
            seen = real[: i + 1] if causal else real
            weights = np.array(
                [
                    np.maximum(inputs["q"][example, query, head], 0)
                    @ np.maximum(inputs["k"][example, key, head], 0)
                    * np.cos(np.pi / 2 * (i - j) / number)
                    for j, key in enumerate(seen)
                ]
            )
            if weights.sum() > 0:
                out[example, query, head] = (
                    weights @ inputs["v"][example, seen, head] / weights.sum()
                )
    return out


@pytest.mark.parametrize("causal", [False, True])
def test_it_equals_its_quadratic_form(causal):
    module = Cosformer(Dims(HEADS, DIM, MAX_LEN), causal=causal, rngs=nnx.Rngs(0))
    check_agreement(
        lambda inputs: module(**inputs, mask=MASK),
        lambda inputs: quadratic(inputs, causal=causal),
        tokens(),
        MASK,
    )


def test_the_last_token_hardly_sees_the_first():
    """Distances are in parts of the real length: without padding's tokens, at cos(pi / 2)."""
    module = Cosformer(Dims(1, 2, MAX_LEN), rngs=nnx.Rngs(0))
    ones = np.ones((1, LENGTH, 1, 2), np.float32)
    v = np.zeros_like(ones)
    v[:, 0] = 1
    mask = np.arange(LENGTH)[None] < 20
    found = np.asarray(jax.jit(module)(ones, ones, v, mask))[0, :, 0, 0]
    cosines = np.cos(np.pi / 2 * (19 - np.arange(20)) / 20)
    np.testing.assert_allclose(found[19], cosines[0] / cosines.sum(), rtol=1e-4)
    assert found[0] > 10 * found[19]


def test_a_causal_one_refuses_more_tokens_than_it_was_built_for():
    module = Cosformer(Dims(HEADS, DIM, 5), causal=True, rngs=nnx.Rngs(0))
    inputs = {name: x[:, :6] for name, x in tokens().items()}
    with pytest.raises(ValueError, match="got 6 tokens, but was built for 5 at most"):
        module(**inputs, mask=MASK[:, :6])
