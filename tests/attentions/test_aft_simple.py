"""AFT-simple against its equation."""

import functools

import numpy as np
import pytest
from agreement import check_agreement
from random_features import HEADS, MASK, tokens

from lra_bench.attentions.aft_simple import aft_simple


def reference(inputs, *, causal):
    """One softmax over tokens for each feature, token by token."""
    out = np.zeros_like(inputs["v"])
    for example, head in np.ndindex(2, HEADS):
        real = np.flatnonzero(MASK[example])
        for i, token in enumerate(real):
            seen = real[: i + 1] if causal else real
            weights = np.exp(inputs["k"][example, seen, head])
            average = np.sum(weights * inputs["v"][example, seen, head], 0) / np.sum(weights, 0)
            gate = 1 / (1 + np.exp(-inputs["q"][example, token, head]))
            out[example, token, head] = gate * average
    return out


@pytest.mark.parametrize("causal", [False, True])
def test_it_equals_its_equation(causal):
    call = functools.partial(aft_simple, causal=causal)
    check_agreement(
        lambda inputs: call(**inputs, mask=MASK),
        functools.partial(reference, causal=causal),
        tokens(),
        MASK,
    )
