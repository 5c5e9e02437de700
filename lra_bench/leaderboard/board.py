"""The leaderboard of one setting: rows, averages, and which differences are significant.

All signs of a table that say "better" are tested as families, so that at most 5 % of tables have a
wrong one of a kind: the marks of the best and the second over all columns, and "better than
`identity`" over all cells.
"""

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from lra_bench.leaderboard import holm, significance
from lra_bench.leaderboard.results import BUDGET, Result, percent, results
from lra_bench.leaderboard.significance import LEVEL, Difference
from lra_bench.records.record import Record
from lra_bench.registry import IDENTITY

# The order of the LRA paper's Table 1; its average is over the first five.
ORDER = ("listops", "text", "retrieval", "image", "pathfinder", "pathx")
AVERAGES = {5: ORDER[:5], 6: ORDER}
BEST, SECOND = "best", "second"


@dataclass(frozen=True)
class Average:
    """The average of one row over tasks.

    Attributes:
        mean: of the tasks' mean accuracies, in [0, 1].
        sd: standard deviation of the average over the seeds that all tasks have; None for fewer
            than two.
    """

    mean: float
    sd: float | None

    def text(self) -> str:
        """Return the average in percent, such as "36.2 ± 0.4"."""
        return percent(self.mean, self.sd)


@dataclass(frozen=True)
class Row:
    """The results of one attention.

    Attributes:
        attention: its label.
        results: by task.
    """

    attention: str
    results: dict[str, Result]

    def average(self, count: int) -> Average | None:
        """Return the average over the five or the six tasks; None unless each has an accuracy.

        It is made of unrounded accuracies. A result that fails by being at chance counts with the
        accuracy that it has.
        """
        parts = [self.results[task] for task in AVERAGES[count] if task in self.results]
        means = [result.mean for result in parts if result.mean is not None]
        if len(means) < count:
            return None
        seeds = sorted(set.intersection(*(set(result.tests) for result in parts)))
        by_seed = [_mean_of_seed(parts, seed) for seed in seeds]
        sd = statistics.stdev(by_seed) if len(by_seed) > 1 else None
        return Average(statistics.fmean(means), sd)

    def seeds(self) -> str:
        """Return the number of seeds of the results, such as "3" or "1 to 3"."""
        return _span([len(result.runs) for result in self.results.values()], str)

    @property
    def parameter_ratios(self) -> list[float]:
        """Return for each result the parameters over those of softmax, where known."""
        ratios = [result.median("parameters_vs_softmax") for result in self.results.values()]
        return [ratio for ratio in ratios if ratio is not None]

    @property
    def is_over_budget(self) -> bool:
        """Return whether some result has more parameters than the budget allows."""
        return any(ratio > BUDGET for ratio in self.parameter_ratios)

    def parameter_ratio(self) -> str:
        """Return the range of the parameter ratios, such as "1.00 to 1.17 (!)" over budget."""
        if not self.parameter_ratios:
            return ""
        flag = " (!)" if self.is_over_budget else ""
        return _span(self.parameter_ratios, _ratio_text) + flag


def _ratio_text(ratio: float) -> str:
    """Return a ratio with two digits, or with three if it exceeds the budget only by these."""
    return f"{ratio:.3f}" if round(ratio, 2) <= BUDGET < ratio else f"{ratio:.2f}"


def _mean_of_seed(parts: Sequence[Result], seed: int) -> float:
    """Return the mean over tasks of the test accuracies of one seed, in [0, 1]."""
    return statistics.fmean(result.tests[seed].accuracy for result in parts)


def _span(values: Sequence[float], text: Callable[[float], str]) -> str:
    """Return the least and the greatest value as text, once if both read the same."""
    return " to ".join(dict.fromkeys((text(min(values)), text(max(values)))))


@dataclass(frozen=True)
class Board:
    """The leaderboard of one setting.

    Attributes:
        tasks: in the order of the LRA paper, other tasks after them.
        rows: those with the most tasks first, and among these the largest mean accuracy over them.
        chance: by task, the accuracy of the task's guess on the test split, in [0, 1].
    """

    tasks: tuple[str, ...]
    rows: tuple[Row, ...]
    chance: dict[str, float]

    @cached_property
    def results(self) -> list[Result]:
        """Return all results, row by row."""
        return [result for row in self.rows for result in row.results.values()]

    def of_task(self, task: str) -> list[Result]:
        """Return the results on one task, the rows in order."""
        return [row.results[task] for row in self.rows if task in row.results]

    @cached_property
    def averages(self) -> tuple[int, ...]:
        """Return over how many tasks, five or six, some row has an average."""
        return tuple(n for n in AVERAGES if any(row.average(n) for row in self.rows))

    def average_chance(self, count: int) -> float:
        """Return the mean of chance over the five or the six tasks, in [0, 1]."""
        return statistics.fmean(self.chance[task] for task in AVERAGES[count])

    @cached_property
    def marks(self) -> dict[tuple[str, str | int], str]:
        """Return which entries are marked "best" or "second".

        The keys are an attention, and a task or the number of tasks averaged. The best is marked
        if it differs significantly from every other row that has an accuracy. The second is marked
        only below a marked best, if it differs from every row but the best. A failure is compared
        with, but never marked. The tests of all columns are one family: in each the best, then the
        second.
        """
        ranked = {column: self._ranked(column) for column in (*self.tasks, *self.averages)}
        chains = [_chain(rows, column) for column, rows in ranked.items()]
        counts = holm.rejected(chains, LEVEL)
        return {
            (row.attention, column): mark
            for (column, rows), count in zip(ranked.items(), counts, strict=True)
            for row, mark in zip(rows[:count], (BEST, SECOND), strict=False)
        }

    @cached_property
    def beats_identity(self) -> dict[tuple[str, str], bool]:
        """Return by attention and task which results are better than without attention.

        A pair is missing where `identity` or the attention has too few seeds for a verdict. The
        tests of all pairs, which are one-sided, are one family.
        """
        tested = {
            (row.attention, task): gap
            for row in self.rows
            for task, gap in self._over_identity(row).items()
        }
        values = holm.adjusted([gap.p_greater for gap in tested.values()])
        return {pair: p < LEVEL for pair, p in zip(tested, values, strict=True)}

    def _over_identity(self, row: Row) -> dict[str, Difference]:
        """Return the differences from the row of `identity` that have enough seeds, by task."""
        base = next((each for each in self.rows if each.attention == IDENTITY), None)
        if base is None or row is base:
            return {}
        tasks = row.results.keys() & base.results.keys()
        gaps = {task: _difference(row, base, task) for task in sorted(tasks)}
        return {task: gap for task, gap in gaps.items() if gap is not None and gap.is_tested}

    def is_no_better(self, result: Result) -> bool:
        """Return whether a result has the sign of no gain over `identity`; a failure has none."""
        is_better = self.beats_identity.get((result.attention, result.task), True)
        return not is_better and result.failure() is None

    def _ranked(self, column: str | int) -> list[Row]:
        """Return the rows that have an accuracy in a column, the best first."""
        means = [(_mean(row, column), row) for row in self.rows]
        standing = [(mean, row) for mean, row in means if mean is not None]
        return [row for _, row in sorted(standing, key=lambda pair: -pair[0])]


def _mean(row: Row, column: str | int) -> float | None:
    """Return the mean accuracy of a row on a task or over a number of tasks, in [0, 1]."""
    entry = row.average(column) if isinstance(column, int) else row.results.get(column)
    return None if entry is None else entry.mean


def _chain(rows: Sequence[Row], column: str | int) -> list[float]:
    """Return the p-values of the best and the second; only the first if that is too large."""
    if len(rows) < 2:
        return []
    best = _least_lead(rows, column)
    return [best] if best >= LEVEL or len(rows) < 3 else [best, _least_lead(rows[1:], column)]


def _least_lead(rows: Sequence[Row], column: str | int) -> float:
    """Return the largest p-value of the first row against the others; 1 if it is not to be marked.

    A row that leads each other at a level leads them all at that level: such a mark needs no
    correction for the number of rows.
    """
    leader, *others = rows
    if isinstance(column, str) and leader.results[column].failure() is not None:
        return 1.0
    largest = 0.0
    for other in others:
        gap = _difference(leader, other, column)
        # Over the seeds of both rows the leader need not lead.
        p = gap.p if gap is not None and gap.is_tested and gap.value > 0 else 1.0
        largest = max(largest, p)
        if largest >= LEVEL:  # no later test can change that
            break
    return largest


def _difference(row: Row, other: Row, column: str | int) -> Difference | None:
    if isinstance(column, str):
        return significance.difference(row.results[column], other.results[column])
    parts = [_difference(row, other, task) for task in AVERAGES[column]]
    shared = [part for part in parts if part is not None]
    return significance.of_averages(shared) if len(shared) == column else None


def board(records: Iterable[Record]) -> Board:
    """Return the leaderboard of the records of one setting."""
    every = results(records)
    by_attention: dict[str, dict[str, Result]] = {}
    for result in every:
        by_attention.setdefault(result.attention, {})[result.task] = result
    rows = [Row(attention, by_task) for attention, by_task in by_attention.items()]
    return Board(
        tasks=in_order({result.task for result in every}),
        rows=tuple(sorted(rows, key=_rank)),
        chance={result.task: result.chance for result in every},
    )


def in_order(tasks: Iterable[str]) -> tuple[str, ...]:
    """Return tasks in the order of the LRA paper, others after them by name."""
    names = sorted(tasks)
    return (*(x for x in ORDER if x in names), *(x for x in names if x not in ORDER))


def _rank(row: Row) -> tuple[int, float]:
    """Return the place of a row, the least first: by its number of tasks, then by its mean.

    A mean over fewer tasks may be larger only because these are the easier ones. Without an
    accuracy, chance counts.
    """
    parts = row.results.values()
    mean = statistics.fmean(part.chance if part.mean is None else part.mean for part in parts)
    return -len(parts), -mean
