"""Test whether two attentions differ, by the seeds and the test examples that both have.

Accuracy varies with the seed and with the examples that happen to be in the test set. Let D be a
table with a row for each seed s and a column for each example i, D(s, i) = right(one, s, i) -
right(other, s, i) in {-1, 0, 1}. The variance of its mean is that of two crossed random factors,

    Var = sigma_seed^2 / S + sigma_example^2 / N + sigma_rest^2 / (S N),

estimated by v_seed + v_example - v_rest, but never less than the larger of v_seed and v_example
(Cornfield and Tukey 1956; Cochran 1951). v_seed is the variance of the S means over examples,
divided by S; v_example is the variance of the N means over seeds, divided by N; v_rest is the
variance that neither explains, divided by S N. Degrees of freedom are Satterthwaite's (1946). With
one seed only v_example is left, and the test is McNemar's, in its form for large counts.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int8
from scipy.special import stdtr, stdtrit

from lra_bench.leaderboard.results import Result
from lra_bench.records.record import Score

LEVEL = 0.05
MIN_SEEDS = 2


@dataclass(frozen=True)
class Difference:
    """The test accuracy of one attention minus that of another.

    Attributes:
        value: mean over the seeds that both have, in [-1, 1].
        error: standard error of the value.
        freedom: degrees of freedom of the error.
        seeds: number of seeds that both have.
        examples: number of examples of the test set.
        discordant: two shares of the answers, in [0, 1]: those that only the first and those that
            only the second has right. None if a record does not tell, or the test sets differ.
    """

    value: float
    error: float
    freedom: float
    seeds: int
    examples: int
    discordant: tuple[float, float] | None = None

    @property
    def p(self) -> float:
        """Return the two-sided p-value of no difference, by Student's t."""
        if self.error == 0:
            return 1.0 if self.value == 0 else 0.0
        return float(2 * stdtr(self.freedom, -abs(self.value) / self.error))

    @property
    def interval(self) -> tuple[float, float]:
        """Return the 95 % confidence interval of the value."""
        half = float(stdtrit(self.freedom, 1 - LEVEL / 2)) * self.error
        return self.value - half, self.value + half

    @property
    def is_significant(self) -> bool:
        """Return whether p is below 5 %, with two seeds or more."""
        return self.seeds >= MIN_SEEDS and self.p < LEVEL


def difference(one: Result, other: Result) -> Difference | None:
    """Return the accuracy of `one` minus that of `other`; None if they finished no common seed."""
    first, second = one.tests, other.tests
    seeds = sorted(first.keys() & second.keys())
    if not seeds:
        return None
    pairs = [(first[seed], second[seed]) for seed in seeds]
    gaps = np.array([a.accuracy - b.accuracy for a, b in pairs])
    answers = _answers(one, other, seeds)
    examples = pairs[0][0].examples
    if answers is None:
        of_examples, rest, discordant = _unpaired(pairs), 0.0, None
    else:
        of_examples, rest = _variance(answers.mean(axis=0)), _rest(answers)
        discordant = (float((answers > 0).mean()), float((answers < 0).mean()))
    variances = ((_variance(gaps), len(gaps) - 1), (of_examples, examples - 1))
    error, freedom = _total(variances, (rest, max(len(gaps) - 1, 1) * max(examples - 1, 1)))
    return Difference(float(gaps.mean()), error, freedom, len(seeds), examples, discordant)


def of_averages(parts: Sequence[Difference]) -> Difference:
    """Return the difference between averages over tasks, whose runs are independent."""
    count = len(parts)
    errors = [part.error / count for part in parts]
    squares = [(error**4) / part.freedom for error, part in zip(errors, parts, strict=True)]
    variance = math.fsum(error**2 for error in errors)
    freedom = variance**2 / math.fsum(squares) if variance else 1.0
    return Difference(
        value=math.fsum(part.value for part in parts) / count,
        error=math.sqrt(variance),
        freedom=freedom,
        seeds=min(part.seeds for part in parts),
        examples=sum(part.examples for part in parts),
    )


def _answers(one: Result, other: Result, seeds: Sequence[int]) -> Int8[np.ndarray, "s n"] | None:
    """Return D; None if a record does not tell the answers, or the test examples differ."""
    test_sets = {
        (result.finished[seed].data_sha256, result.tests[seed].examples)
        for result in (one, other)
        for seed in seeds
    }
    if len(test_sets) > 1 or not set(seeds) <= (one.right.keys() & other.right.keys()):
        return None
    return np.stack([one.right[seed] - other.right[seed] for seed in seeds])


def _variance(values: Float[np.ndarray, " n"]) -> float:
    """Return the variance of the mean of values; 0 for a single value, which tells nothing."""
    return float(values.var(ddof=1) / len(values)) if len(values) > 1 else 0.0


def _rest(answers: Int8[np.ndarray, "s n"]) -> float:
    """Return v_rest, the variance that neither seed nor example explains; 0 with a single seed.

    The sum of squares about the means of rows and columns is taken from whole numbers, as D^2 is
    1 or 0.
    """
    seeds, examples = answers.shape
    if seeds < 2 or examples < 2:
        return 0.0
    rows, columns = (answers.sum(axis, dtype=np.int64) for axis in (1, 0))
    explained = rows @ rows / examples + columns @ columns / seeds - rows.sum() ** 2 / answers.size
    rest = max(np.count_nonzero(answers) - explained, 0.0)
    return float(rest / ((seeds - 1) * (examples - 1)) / answers.size)


def _unpaired(pairs: Sequence[tuple[Score, Score]]) -> float:
    """Return v_example of test sets with no known example in common, by binomial variances."""
    return float(np.mean([_binomial(a) + _binomial(b) for a, b in pairs]))


def _binomial(score: Score) -> float:
    return score.accuracy * (1 - score.accuracy) / score.examples


def _total(parts: Sequence[tuple[float, int]], rest: tuple[float, int]) -> tuple[float, float]:
    """Return standard error and degrees of freedom of the mean of D.

    Args:
        parts: v_seed and v_example, each with its degrees of freedom.
        rest: v_rest with its degrees of freedom.
    """
    variance = max(math.fsum(v for v, _ in parts) - rest[0], *(v for v, _ in parts))
    spread = math.fsum(v**2 / freedom for v, freedom in (*parts, rest) if v)
    return math.sqrt(variance), variance**2 / spread if spread else 1.0
