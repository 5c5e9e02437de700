"""Which examples were right, as a bit each: there and back, and what isn't that."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lra_bench.errors import RunError
from lra_bench.records import answers
from lra_bench.records.record import Score


@given(st.lists(st.booleans(), min_size=1, max_size=40))
def test_there_and_back(correct):
    text = answers.pack(np.array(correct))
    assert answers.unpack(text, len(correct)).tolist() == correct


def test_the_format():
    """Changes only with the schema of records: others read it."""
    assert answers.pack(np.array([1, 0, 1, 0, 0, 0, 0, 0, 1], bool)) == "oIA="


@pytest.mark.parametrize(
    ("text", "says"), [("oIA", "not base64"), ("oIA=oIA=", "not base64"), ("oIA=", "2 bytes for 8")]
)
def test_what_is_refused(text, says):
    with pytest.raises(RunError, match=says):
        answers.unpack(text, 8)


def test_the_variance_of_an_accuracy_of_tokens_is_that_of_a_ratio():
    """Sequences differ in length, which moves numerator and denominator alike."""
    rng, count, accuracy = np.random.default_rng(0), 300, 0.3
    drawn, told = [], []
    for _ in range(500):
        lengths = rng.integers(30, 1_025, count)
        right = rng.binomial(lengths, accuracy)
        text = answers.Answers(counts=answers.pack_counts(right, lengths))
        score = Score(text.accuracy(count), None, count, text)
        drawn.append(score.accuracy)
        told.append([score.variance(), score.variance(accuracy)])
    assert np.mean(told, axis=0) == pytest.approx(np.var(drawn), rel=0.2)
