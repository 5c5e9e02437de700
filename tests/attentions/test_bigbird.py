"""BigBird against attention token by token, what it draws, and softmax when its blocks are all."""

import jax
import numpy as np
import pytest
from flax import nnx
from patterns import LENGTH, MASK, check_pattern

from lra_bench.attentions._blocks import Blocks
from lra_bench.attentions.bigbird import BigBird
from lra_bench.contracts import Dims
from lra_bench.verification import contract, subject

DIMS = Dims(subject.HEADS, subject.DIM, 48)
# The first block and one in the middle hold no real token, and there are other gaps.
SCATTERED = np.random.default_rng(0).random((2, LENGTH)) < 0.7
SCATTERED[:, :3] = SCATTERED[:, 12:15] = False
MASKS = np.concatenate([MASK, SCATTERED])


def module_of(**options):
    return BigBird(DIMS, **options, rngs=nnx.Rngs(3))


def blocks_of(mask, block):
    """The real blocks of an example, in order."""
    return sorted({int(i) // block for i in np.flatnonzero(mask)})


def seen_blocks(module, mask):
    """For each head and block, its window, global and random blocks; and which are global."""
    block, around = module.block_size, module.look_around
    real, numbers = blocks_of(mask, block), np.asarray(module.numbers[...])
    half = module.num_global_blocks // 2
    fixed = real[: module.num_global_blocks - half]
    fixed += [each for each in real[::-1][:half] if each not in fixed]
    seen = {}
    for h, i in np.ndindex(len(numbers), -(-len(mask) // block)):
        chosen = {j for j in real if abs(i - j) <= around} | set(fixed)
        others = [j for j in real if j not in chosen]
        for uniform in numbers[h, i]:
            if others:
                chosen.add(others.pop(int(uniform * np.float32(len(others)))))
        seen[h, i] = chosen
    return seen, fixed


@pytest.mark.parametrize(
    ("block", "around", "fixed", "random"), [(3, 1, 2, 3), (3, 0, 3, 2), (2, 2, 1, 9)]
)
def test_equals_attention_to_window_global_and_random_blocks(block, around, fixed, random):
    module = module_of(
        block_size=block,
        look_around=around,
        num_global_blocks=fixed,
        num_random_blocks=random,
    )
    plans = [seen_blocks(module, real) for real in MASKS]

    def may_see(b, h, i, j):
        seen, fixed = plans[b]
        return j // block in seen[h, i // block] or i // block in fixed

    check_pattern(module, may_see, mask=MASKS)


@pytest.mark.parametrize(
    "options",
    [{"num_random_blocks": 20}, {"num_global_blocks": 30}, {"look_around": 20}, {}],
    ids=str,
)
def test_is_softmax_where_blocks_are_all(options):
    """With blocks of 64 tokens there are three, so that the window and the global ones are all."""
    few = {"block_size": 10} if options else {}
    contract.check_alone_equals_softmax(subject.registered("bigbird", **few, **options), "float32")


@pytest.mark.parametrize("check", contract.ALWAYS, ids=lambda check: check.__name__)
def test_small_blocks_keep_the_contract(check):
    check(subject.registered("bigbird", block_size=6, num_random_blocks=2), "float32")


def drawn(module, mask):
    """The random blocks of each head and block, as the module plans them."""
    q = np.zeros((len(mask), mask.shape[1], subject.HEADS, subject.DIM), np.float32)
    around = module.look_around
    blocks = Blocks.of(q, module.block_size, around, around)
    real = np.asarray(blocks.cut_all(mask)).any(2)
    return np.asarray(jax.jit(lambda: module._plan(real, blocks)[1])())


def test_every_other_real_block_is_drawn_equally_often():
    heads = 4000
    module = BigBird(Dims(heads, 4, 80), block_size=4, rngs=nnx.Rngs(0))
    mask = np.arange(80) < np.array([[58]])  # 15 real blocks of 20
    found = drawn(module, mask)[0, :, 7]
    counts = np.bincount(found.ravel(), minlength=20)
    free = [1, 2, 3, 4, 5, 9, 10, 11, 12, 13]
    assert set(np.flatnonzero(counts)) == set(free)
    assert all(len(set(row)) == 3 for row in found)
    share = 3 / len(free)
    deviations = (counts[free] - heads * share) / np.sqrt(heads * share * (1 - share))
    assert abs(deviations).max() < 4


def test_blocks_are_redrawn_on_request_only():
    module = module_of(block_size=3)
    first = drawn(module, MASK)
    np.testing.assert_array_equal(drawn(module, MASK), first)
    module.resample(jax.random.key(1))
    assert (drawn(module, MASK) != first).any()


def test_a_sequence_of_too_many_blocks_is_refused():
    x = np.zeros((1, 65, 3, 8), np.float32)
    with pytest.raises(ValueError, match="bigbird: got 65 tokens, but was built for 64 at most"):
        BigBird(Dims(3, 8, 50), rngs=nnx.Rngs(0))(x, x, x, np.ones((1, 65), bool))
