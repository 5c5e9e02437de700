"""Sparse attention against attention token by token, and against softmax at a long stride."""

import pytest
from flax import nnx
from patterns import check_pattern

from lra_bench.attentions.sparse import Sparse
from lra_bench.contracts import Dims
from lra_bench.verification import contract, subject


def seen_by(pattern, stride, summary):
    """The sets A^(1) and A^(2) of Section 4.3, without their limit to earlier tokens."""
    if pattern == "fixed":
        return lambda i, j: i // stride == j // stride or j % stride >= stride - summary
    return lambda i, j: abs(i - j) <= stride or (i - j) % stride == 0


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(
    ("pattern", "stride", "summary"),
    [("fixed", 6, 2), ("fixed", 0, 3), ("strided", 5, 1), ("strided", 0, 1), ("strided", 16, 1)],
)
def test_equals_attention_to_the_union_of_two_patterns(pattern, stride, summary, causal):
    module = Sparse(
        Dims(subject.HEADS, subject.DIM, 48),
        pattern=pattern,
        stride=stride,
        num_summary=summary,
        causal=causal,
        rngs=nnx.Rngs(0),
    )
    seen = seen_by(pattern, stride or 7, summary)
    check_pattern(module, lambda _, __, i, j: seen(i, j) and (j <= i or not causal))


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        {"pattern": "fixed", "stride": 141},
        {"pattern": "fixed", "stride": 9, "num_summary": 9},
        {"pattern": "strided", "stride": 140},
        {"pattern": "strided", "stride": 1},
    ],
    ids=str,
)
def test_is_softmax_where_patterns_are_all(options, causal):
    mechanism = subject.registered("sparse", **options, causal=causal)
    contract.check_alone_equals_softmax(mechanism, "float32", causal=causal)


@pytest.mark.parametrize("check", contract.ALWAYS, ids=lambda check: check.__name__)
def test_strided_keeps_the_contract(check):
    check(subject.registered("sparse", pattern="strided"), "float32")


def test_more_summary_tokens_than_the_stride_are_refused():
    with pytest.raises(ValueError, match="num_summary=13: must be at most 12, the stride"):
        Sparse(Dims(3, 8, 144), num_summary=13, rngs=nnx.Rngs(0))
    assert Sparse(Dims(3, 8, 16), rngs=nnx.Rngs(0)).num_summary == 4
