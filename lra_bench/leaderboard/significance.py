"""Test whether two attentions differ, by the seeds and the test examples that both have.

Accuracy varies with the seed and with the examples that happen to be in the test set. Let D be a
table with a row for each seed s and a column for each example i, D(s, i) = right(one, s, i) -
right(other, s, i) in {-1, 0, 1}. The variance of its mean is that of two crossed random factors,

    Var = sigma_seed^2 / S + sigma_example^2 / N + sigma_rest^2 / (S N),

where v_seed, the variance of the S means over examples, divided by S, estimates the first and the
last part with S - 1 degrees of freedom. The other part is v_example - v_rest, or 0 if that is
negative: v_example is the variance of the N means over seeds, divided by N; v_rest is the variance
that neither seeds nor examples explain, divided by S N (Cornfield and Tukey 1956). With thousands
of examples it counts as known. The p-value is that of `behrens_fisher`: few seeds do not make it
too small. With one seed only v_example is left, and the test is McNemar's, in its form for large
counts.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float

from lra_bench.leaderboard import behrens_fisher
from lra_bench.leaderboard.results import Result
from lra_bench.records.record import Score

LEVEL = 0.05
# The spread over two seeds is too poor an estimate: with fewer there is no verdict.
MIN_SEEDS = 3


@dataclass(frozen=True)
class Difference:
    """The test accuracy of one attention minus that of another.

    Attributes:
        value: mean over the seeds that both have, in [-1, 1].
        of_seeds: the variance of the value over seeds, by an estimate; 0 with a single seed.
        freedom: degrees of freedom of this estimate.
        of_examples: the variance of the value over test examples.
        seeds: number of seeds that both have.
        examples: number of examples of the test set.
        discordant: two shares of the answers, in [0, 1]: those that only the first and those that
            only the second has right. None if a record does not tell, or the test sets differ.
    """

    value: float
    of_seeds: float
    freedom: float
    of_examples: float
    seeds: int
    examples: int
    discordant: tuple[float, float] | None = None

    @cached_property
    def p(self) -> float:
        """Return the two-sided p-value of no difference."""
        variances = (self.of_seeds, self.freedom, self.of_examples)
        return float(behrens_fisher.p_value(self.value, *variances))

    @property
    def p_greater(self) -> float:
        """Return the one-sided p-value of no difference, or one below 0."""
        return self.p / 2 if self.value > 0 else 1 - self.p / 2

    @cached_property
    def interval(self) -> tuple[float, float]:
        """Return the 95 % confidence interval of the value."""
        variances = (self.of_seeds, self.freedom, self.of_examples)
        half = behrens_fisher.half_width(*variances, LEVEL)
        return self.value - half, self.value + half

    @property
    def is_tested(self) -> bool:
        """Return whether there are enough seeds for a verdict."""
        return self.seeds >= MIN_SEEDS


def difference(one: Result, other: Result) -> Difference | None:
    """Return the accuracy of `one` minus that of `other`; None if they finished no common seed."""
    first, second = one.tests, other.tests
    seeds = sorted(first.keys() & second.keys())
    if not seeds:
        return None
    answers = _answers(one, other, seeds)
    return _unpaired([(first[x], second[x]) for x in seeds]) if answers is None else paired(answers)


def paired(answers: Float[np.ndarray, "s n"]) -> Difference:
    """Return the difference of two attentions whose answers differ by D."""
    gaps = answers.mean(axis=1)
    return Difference(
        value=float(gaps.mean()),
        of_seeds=_variance(gaps),
        freedom=max(len(gaps) - 1, 1),
        of_examples=max(_variance(answers.mean(axis=0)) - _rest(answers), 0.0),
        seeds=len(gaps),
        examples=answers.shape[1],
        discordant=_discordant(answers),
    )


def _discordant(answers: Float[np.ndarray, "s n"]) -> tuple[float, float] | None:
    """Return the shares of answers that only one has right; None if examples have several."""
    if not np.isin(answers, (-1, 0, 1)).all():
        return None
    return float((answers > 0).mean()), float((answers < 0).mean())


def _unpaired(pairs: Sequence[tuple[Score, Score]]) -> Difference:
    """Return the difference over test sets without a known example in common, paired by seeds.

    The variance over examples is that of two binomial numbers.
    """
    gaps = np.array([a.accuracy - b.accuracy for a, b in pairs])
    return Difference(
        value=float(gaps.mean()),
        of_seeds=_variance(gaps),
        freedom=max(len(gaps) - 1, 1),
        of_examples=float(np.mean([a.variance() + b.variance() for a, b in pairs])),
        seeds=len(gaps),
        examples=pairs[0][0].examples,
    )


def of_averages(parts: Sequence[Difference]) -> Difference:
    """Return the difference between averages over tasks, whose runs are independent.

    The degrees of freedom of the variance over seeds are Satterthwaite's (1946).
    """
    count = len(parts)
    variances = [part.of_seeds / count**2 for part in parts]
    of_seeds = math.fsum(variances)
    squares = [v**2 / part.freedom for v, part in zip(variances, parts, strict=True)]
    return Difference(
        value=math.fsum(part.value for part in parts) / count,
        of_seeds=of_seeds,
        freedom=of_seeds**2 / math.fsum(squares) if of_seeds else 1.0,
        of_examples=math.fsum(part.of_examples for part in parts) / count**2,
        seeds=min(part.seeds for part in parts),
        examples=sum(part.examples for part in parts),
    )


def _answers(one: Result, other: Result, seeds: Sequence[int]) -> Float[np.ndarray, "s n"] | None:
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


def _rest(answers: Float[np.ndarray, "s n"]) -> float:
    """Return v_rest, the variance that neither seed nor example explains; 0 with a single seed."""
    seeds, examples = answers.shape
    if seeds < 2 or examples < 2:
        return 0.0
    rows, columns = answers.mean(axis=1, keepdims=True), answers.mean(axis=0)
    rest = np.square(answers - rows - columns + rows.mean()).sum()
    return float(rest / ((seeds - 1) * (examples - 1)) / answers.size)
