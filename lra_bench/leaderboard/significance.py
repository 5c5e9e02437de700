"""Whether two mechanisms differ, by the seeds and the test examples that both have.

Accuracy varies with the seed and with the examples that happen to be in the test set. With D(s, i)
= right(one, s, i) - right(other, s, i) in {-1, 0, 1}, a table with a row a seed and a column an
example, the variance of its mean is that of two crossed random factors,

    Var = sigma_seed^2 / S + sigma_example^2 / N + sigma_rest^2 / (S N),

estimated by v_seed + v_example - v_rest, where v_seed is the variance of the S means over examples
divided by S, v_example that of the N means over seeds divided by N, and v_rest that of what
neither explains divided by S N; never less than the larger of the first two (Cornfield and Tukey
1956; Cochran 1951). Degrees of freedom are Satterthwaite's (1946). With one seed only v_example is
left, and the test is McNemar's, in its form for large counts.
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
    """The accuracy of one minus that of another.

    Attributes:
        value: in [-1, 1], over the seeds that both have.
        error: its standard error.
        freedom: degrees of freedom of the error.
        seeds: how many they share.
        examples: of the test set.
        discordant: share of examples, over seeds, that only the one, and only the other, has
            right; None where a record doesn't say which, or the test sets differ.
    """

    value: float
    error: float
    freedom: float
    seeds: int
    examples: int
    discordant: tuple[float, float] | None = None

    @property
    def p(self) -> float:
        """Two-sided p-value of no difference, by Student's t."""
        if self.error == 0:
            return 1.0 if self.value == 0 else 0.0
        return float(2 * stdtr(self.freedom, -abs(self.value) / self.error))

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % confidence interval."""
        half = float(stdtrit(self.freedom, 1 - LEVEL / 2)) * self.error
        return self.value - half, self.value + half

    @property
    def is_significant(self) -> bool:
        """At the 5 % level, and by more than one seed."""
        return self.seeds >= MIN_SEEDS and self.p < LEVEL


def difference(one: Result, other: Result) -> Difference | None:
    """One's accuracy minus the other's; None where they share no seed that ended well."""
    first, second = one.tests, other.tests
    shared = sorted(first.keys() & second.keys())
    if not shared:
        return None
    pairs = [(first[seed], second[seed]) for seed in shared]
    gaps = np.array([a.accuracy - b.accuracy for a, b in pairs])
    answers = _answers(one, other, shared)
    examples = pairs[0][0].examples
    if answers is None:
        of_examples, rest = _unpaired(pairs), 0.0
    else:
        of_examples, rest = _variance(answers.mean(axis=0)), _rest(answers)
    variances = ((_variance(gaps), len(gaps) - 1), (of_examples, examples - 1))
    error, freedom = _total(variances, (rest, max(len(gaps) - 1, 1) * max(examples - 1, 1)))
    discordant = None
    if answers is not None:
        discordant = (float((answers > 0).mean()), float((answers < 0).mean()))
    return Difference(float(gaps.mean()), error, freedom, len(shared), examples, discordant)


def of_averages(parts: Sequence[Difference]) -> Difference:
    """The difference between averages over tasks, whose runs are independent of each other."""
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
    """D(s, i); None where a record doesn't have it or the tests aren't of the same examples."""
    kinds = {
        (cell.finished[seed].data_sha256, cell.tests[seed].examples)
        for cell in (one, other)
        for seed in seeds
    }
    if len(kinds) > 1 or any(seed not in cell.right for cell in (one, other) for seed in seeds):
        return None
    return np.stack([one.right[seed] - other.right[seed] for seed in seeds])


def _variance(values: Float[np.ndarray, " n"]) -> float:
    """Of the mean; 0 for a single value, which tells nothing of it."""
    return float(values.var(ddof=1) / len(values)) if len(values) > 1 else 0.0


def _rest(answers: Int8[np.ndarray, "s n"]) -> float:
    """v_rest: what neither the seed nor the example explains; 0 with a single seed.

    The sum of squares left by the means of rows and columns, from whole numbers: D^2 is 1 or 0.
    """
    seeds, examples = answers.shape
    if seeds < 2 or examples < 2:
        return 0.0
    rows, columns = (answers.sum(axis, dtype=np.int64) for axis in (1, 0))
    explained = rows @ rows / examples + columns @ columns / seeds - rows.sum() ** 2 / answers.size
    rest = max(np.count_nonzero(answers) - explained, 0.0)
    return float(rest / ((seeds - 1) * (examples - 1)) / answers.size)


def _unpaired(pairs: Sequence[tuple[Score, Score]]) -> float:
    """v_example of two test sets with nothing known in common: binomial variances."""
    return float(np.mean([_binomial(a) + _binomial(b) for a, b in pairs]))


def _binomial(score: Score) -> float:
    return score.accuracy * (1 - score.accuracy) / score.examples


def _total(parts: Sequence[tuple[float, int]], rest: tuple[float, int]) -> tuple[float, float]:
    """Standard error and degrees of freedom, from variances with theirs."""
    variance = max(math.fsum(v for v, _ in parts) - rest[0], *(v for v, _ in parts))
    spread = math.fsum(v**2 / freedom for v, freedom in (*parts, rest) if v)
    return math.sqrt(variance), variance**2 / spread if spread else 1.0
