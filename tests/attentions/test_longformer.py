"""Longformer against attention token by token, and against softmax when windows hold all."""

import numpy as np
import pytest
from patterns import LENGTH, MASK, check_pattern

from lra_bench.attentions.longformer import longformer
from lra_bench.verification import contract, subject

# Real tokens are not the first ones, and there are gaps.
SCATTERED = np.random.default_rng(0).random((2, LENGTH)) < 0.7
SCATTERED[1, :5] = False
MASKS = np.concatenate([MASK, SCATTERED])


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("window", "tokens"), [(5, 3), (20, 1), (2, 0)])
def test_equals_attention_to_window_and_global_tokens(window, tokens, causal):
    first = [np.flatnonzero(real)[:tokens] for real in MASKS]

    def may_see(b, _, i, j):
        seen = abs(i - j) <= window or i in first[b] or j in first[b]
        return seen and (j <= i or not causal)

    def attend(*args):
        return longformer(*args, window=window, num_global=tokens, causal=causal)

    check_pattern(attend, may_see, mask=MASKS)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("window", "tokens"), [(140, 2), (1, 141)])
def test_is_softmax_where_windows_or_global_tokens_are_all(window, tokens, causal):
    mechanism = subject.registered("longformer", window=window, num_global=tokens, causal=causal)
    contract.check_alone_equals_softmax(mechanism, "float32", causal=causal)


@pytest.mark.parametrize("check", contract.ALWAYS, ids=lambda check: check.__name__)
def test_small_windows_keep_the_contract(check):
    check(subject.registered("longformer", window=9, num_global=2), "float32")
