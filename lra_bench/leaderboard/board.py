"""The leaderboard of one setting: rows, averages, and which differences are significant."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from lra_bench.leaderboard import significance
from lra_bench.leaderboard.results import Result, percent, results
from lra_bench.leaderboard.significance import Difference
from lra_bench.records.record import Record

# The order of the LRA paper's Table 1; its average is over the first five.
ORDER = ("listops", "text", "retrieval", "image", "pathfinder", "pathx")
AVERAGES = {5: ORDER[:5], 6: ORDER}
BEST, SECOND = "best", "second"
_OVER_BUDGET = 1.10


@dataclass(frozen=True)
class Average:
    """The mean of a row's accuracies over tasks, and its spread over seeds that all tasks have."""

    mean: float
    sd: float | None

    def text(self) -> str:
        """Such as "36.2 ± 0.4" in percent."""
        return percent(self.mean, self.sd)


@dataclass(frozen=True)
class Row:
    """One attention's cells, by task."""

    attention: str
    cells: dict[str, Result]

    def average(self, count: int) -> Average | None:
        """Over the five tasks, or the six; None unless each has a result.

        A cell that fails by being at chance counts with the accuracy that it has. Never made of
        rounded figures.
        """
        found = [self.cells[task] for task in AVERAGES[count] if task in self.cells]
        means = [cell.mean for cell in found if cell.mean is not None]
        if len(means) < count:
            return None
        seeds = set.intersection(*(set(cell.finished) for cell in found))
        each = [
            statistics.fmean(cell.tests[seed].accuracy for cell in found) for seed in sorted(seeds)
        ]
        return Average(statistics.fmean(means), statistics.stdev(each) if len(each) > 1 else None)

    def seeds(self) -> str:
        """How many seeds the cells have, such as "3" or "1 to 3"."""
        return _span([len(cell.runs) for cell in self.cells.values()], str)

    def parameter_ratio(self) -> str:
        """Parameters over softmax's, such as "1.00 to 1.17 (!)", flagged over 10 %."""
        found = [cell.median("parameters_vs_softmax") for cell in self.cells.values()]
        ratios = [ratio for ratio in found if ratio]
        if not ratios:
            return ""
        flag = " (!)" if max(ratios) > _OVER_BUDGET else ""
        return _span(ratios, "{:.2f}".format) + flag


def _span(values: Sequence[Any], said: Any) -> str:
    return " to ".join(dict.fromkeys((said(min(values)), said(max(values)))))


@dataclass(frozen=True)
class Board:
    """All rows of one setting, the best first."""

    tasks: tuple[str, ...]
    rows: tuple[Row, ...]
    chance: dict[str, float]

    @property
    def averages(self) -> tuple[int, ...]:
        """Over how many tasks some row has an average."""
        return tuple(n for n in AVERAGES if any(row.average(n) for row in self.rows))

    @cached_property
    def marks(self) -> dict[tuple[str, str | int], str]:
        """By attention, and task or number of tasks averaged: "best" or "second".

        The best is marked if it differs significantly from every other row that has a result, the
        second if it does from every row but the best.
        """
        found: dict[tuple[str, str | int], str] = {}
        for column in (*self.tasks, *self.averages):
            ranked = sorted(self._standing(column), key=lambda pair: -pair[0])
            names = [row for _, row in ranked]
            if _beats_all(names[:1], names[1:], column):
                found[names[0].attention, column] = BEST
            if len(names) > 2 and _beats_all(names[1:2], names[2:], column):
                found[names[1].attention, column] = SECOND
        return found

    def _standing(self, column: str | int) -> list[tuple[float, Row]]:
        found = []
        for row in self.rows:
            cell = row.average(column) if isinstance(column, int) else row.cells.get(column)
            if cell is not None and cell.mean is not None:
                found.append((cell.mean, row))
        return found


def _beats_all(one: Sequence[Row], others: Sequence[Row], column: str | int) -> bool:
    """Whether there is one and it does; none that follow the first it does not beat are tried."""
    differences = (_difference(row, other, column) for row in one for other in others)
    found = bool(one) and bool(others)
    return found and all(it is not None and it.is_significant for it in differences)


def _difference(one: Row, other: Row, column: str | int) -> Difference | None:
    if isinstance(column, str):
        return significance.difference(one.cells[column], other.cells[column])
    parts = [_difference(one, other, task) for task in AVERAGES[column]]
    found = [part for part in parts if part is not None]
    return significance.of_averages(found) if len(found) == column else None


def board(records: Iterable[Record]) -> Board:
    """The leaderboard of records of one setting."""
    found = results(records)
    by_label: dict[str, dict[str, Result]] = {}
    for cell in found:
        by_label.setdefault(cell.attention, {})[cell.task] = cell
    rows = [Row(name, by_task) for name, by_task in by_label.items()]
    return Board(
        tasks=in_order({cell.task for cell in found}),
        rows=tuple(sorted(rows, key=_rank)),
        chance={cell.task: cell.chance for cell in found},
    )


def in_order(tasks: Iterable[str]) -> tuple[str, ...]:
    """Tasks in the order of the LRA paper, others after them by name."""
    names = sorted(tasks)
    return (*(x for x in ORDER if x in names), *(x for x in names if x not in ORDER))


def _rank(row: Row) -> float:
    """By the mean over the row's tasks, as averages are; what has no accuracy counts as chance."""
    found = row.cells.values()
    return -statistics.fmean(cell.chance if cell.mean is None else cell.mean for cell in found)
