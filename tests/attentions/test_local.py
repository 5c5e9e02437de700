"""Local attention against attention token by token, and against softmax when a block holds all."""

import pytest
from patterns import check_pattern

from lra_bench.attentions import _blocks
from lra_bench.attentions.local import local
from lra_bench.verification import contract, subject


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("block", "around"), [(8, 0), (5, 1), (3, 4), (64, 0), (36, 3), (24, 4)])
def test_equals_attention_to_the_blocks_around(block, around, causal):
    def may_see(_, __, i, j):
        return abs(i // block - j // block) <= around and (j <= i or not causal)

    def attend(*args):
        return local(*args, block_size=block, look_around=around, causal=causal)

    check_pattern(attend, may_see)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("options", [(160, 0), (141, 0), (20, 7)], ids=str)
def test_is_softmax_where_blocks_hold_all(options, causal):
    block, around = options
    mechanism = subject.registered("local", block_size=block, look_around=around, causal=causal)
    contract.check_alone_equals_softmax(mechanism, "float32", causal=causal)


@pytest.mark.parametrize("check", contract.ALWAYS, ids=lambda check: check.__name__)
def test_small_overlapping_blocks_keep_the_contract(check):
    check(subject.registered("local", block_size=7, look_around=2), "float32")


@pytest.mark.parametrize("least", [1, 2, 3, 5, 8])
def test_groups_hold_the_blocks_that_windows_need(least, monkeypatch):
    """However little memory there is: neighbours are cut from one group on each side."""
    for limit in (1, 5, 40):
        monkeypatch.setattr(_blocks, "_CPU_BYTES", limit)
        for count in range(1, 40):
            size = _blocks.pieces_at_once(1, count, least)
            assert min(least, count) <= size <= max(limit, 2 * least - 1)
