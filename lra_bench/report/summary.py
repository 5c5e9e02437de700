"""The sentences at the top of the page: what the records show."""

import statistics
from collections.abc import Sequence

from lra_bench.leaderboard.board import BEST, Board, Row
from lra_bench.leaderboard.significance import MIN_SEEDS
from lra_bench.registry import IDENTITY
from lra_bench.report.inputs import RunTable
from lra_bench.scaling.groups import Comparable

# What a sentence names at most.
_MOST = 4


def sentences(tables: Sequence[RunTable], groups: Sequence[Comparable]) -> list[str]:
    """Return what is best by accuracy, and what is fastest at the longest length.

    The table with the most results that have a verdict speaks for all; of each machine the group
    with the longest length does.
    """
    found = [_of_accuracy(max(tables, key=_weight))] if tables else []
    found += _of_speed(groups)
    return [sentence for sentence in found if sentence]


def _weight(run_table: RunTable) -> tuple[int, int]:
    """Return how many results have the seeds of a verdict, and how many there are."""
    results = run_table.results
    return sum(len(each.tests) >= MIN_SEEDS for each in results), len(results)


def _of_accuracy(run_table: RunTable) -> str:
    """Return which rows are significantly the best, or else that none is; "" for a single row."""
    board = run_table.board
    if len(board.rows) < 2:
        return ""
    ranked = _comparable(board)
    if not ranked:
        return f"Preset {run_table.title}: no row has a result above chance."
    best = [
        f"{attention} on {_column(column)}"
        for (attention, column), mark in board.marks.items()
        if mark == BEST
    ]
    where = f"Preset {run_table.title}"
    if best:
        more = f" and {len(best) - _MOST} more" if len(best) > _MOST else ""
        return f"{where}: significantly the best are {', '.join(best[:_MOST])}{more}."
    first = ranked[0]
    return (
        f"{where}: none of {len(board.rows)} rows is significantly the best; "
        f"{first.attention} leads with {_score(board, first)}."
    )


def _comparable(board: Board) -> list[Row]:
    """Return the rows with the most accuracies, the best first: others have other tasks.

    A row that fails on every task is left out.
    """
    counts = {
        row.attention: sum(each.mean is not None for each in row.results.values())
        for row in board.rows
        if any(each.failure() is None for each in row.results.values())
    }
    most = max(counts.values(), default=0)
    rows = [row for row in board.rows if counts.get(row.attention) == most]
    return sorted(rows, key=lambda row: -_mean(board, row))


def _mean(board: Board, row: Row) -> float:
    """Return the average of a row, or else its mean over the tasks that it has, in [0, 1]."""
    averages = [row.average(count) for count in reversed(board.averages)]
    found = next((each.mean for each in averages if each is not None), None)
    means = [each.mean for each in row.results.values() if each.mean is not None]
    return statistics.fmean(means) if found is None else found


def _column(column: str | int) -> str:
    return f"the average of {column} tasks" if isinstance(column, int) else column


def _score(board: Board, row: Row) -> str:
    """Return `_mean` in percent, with its spread if it is known, and the tasks."""
    for count in reversed(board.averages):
        average = row.average(count)
        if average is not None:
            return f"{average.text()} % on average over {count} tasks"
    tasks = [task for task, each in row.results.items() if each.mean is not None]
    where = tasks[0] if len(tasks) == 1 else f"average over {len(tasks)} tasks"
    return f"{100 * _mean(board, row):.1f} % on {where}"


def _of_speed(groups: Sequence[Comparable]) -> list[str]:
    """Return for each machine how much faster the fastest attention is than the fastest exact one.

    Machines with longer lengths come first.
    """
    best: dict[str, Comparable] = {}
    for group in sorted(groups, key=_weight_of_speed, reverse=True):
        if _longest(group):
            best.setdefault(dict(group.heading.parts)["machine"], group)
    return [_fastest(group) for group in [*best.values()][:_MOST]]


def _weight_of_speed(group: Comparable) -> tuple[int, bool]:
    return _longest(group), group.first.direction == "backward"


def _fastest(group: Comparable) -> str:
    """Return which attention is the fastest at the longest length of a group, in a sentence."""
    length = _longest(group)
    times = {
        row.name: seconds
        for row in group.rows
        if row.length == length and row.attention != IDENTITY and (seconds := group.seconds(row))
    }
    exact = {row.name for row in group.rows if row.exact}
    base, other = (
        min(exact & times.keys(), key=times.__getitem__),
        min(times, key=times.__getitem__),
    )
    if other == base:
        found = f"{base}, which is exact, is the fastest at {length:,} tokens."
    else:
        found = (
            f"{other} is the fastest at {length:,} tokens: {times[base] / times[other]:.3g} times "
            f"as fast as {base}, the fastest exact attention."
        )
    return f"{str(group.heading)[:1].upper()}{str(group.heading)[1:]}: {found}"


def _longest(group: Comparable) -> int:
    """Return the longest length at which an exact attention and another were timed; 0 if none."""
    by_length: dict[int, set[bool]] = {}
    for row in group.rows:
        if group.seconds(row) and row.attention != IDENTITY:
            by_length.setdefault(row.length, set()).add(row.exact)
    return max((length for length, kinds in by_length.items() if len(kinds) == 2), default=0)
