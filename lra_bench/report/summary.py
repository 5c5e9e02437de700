"""The sentences at the top of the page: what the records show."""

import statistics
from collections.abc import Iterator, Sequence

from lra_bench.leaderboard.board import BEST, Board, Row
from lra_bench.registry import IDENTITY
from lra_bench.report.inputs import RunTable
from lra_bench.scaling.groups import PASSES, Comparable

# What a sentence names at most.
_MOST = 4


def sentences(tables: Sequence[RunTable], groups: Sequence[Comparable]) -> list[str]:
    """Return what is best by accuracy, and what is fastest at the longest length.

    The table with the most results speaks for all, and the group with the longest length.
    """
    found = []
    if tables:
        found.append(_of_accuracy(max(tables, key=lambda table: len(table.results))))
    found += list(_of_speed(groups))
    return [sentence for sentence in found if sentence]


def _of_accuracy(run_table: RunTable) -> str:
    """Return which rows are significantly the best, or else that none is; "" for a single row."""
    board = run_table.board
    ranked = [
        row for row in board.rows if any(each.mean is not None for each in row.results.values())
    ]
    if len(ranked) < 2:
        return ""
    best = [
        f"{attention} on {_column(column)}"
        for (attention, column), mark in board.marks.items()
        if mark == BEST
    ]
    where = f"Preset {run_table.title}"
    if best:
        more = f" and {len(best) - _MOST} more" if len(best) > _MOST else ""
        return f"{where}: significantly the best are {', '.join(best[:_MOST])}{more}."
    first = _comparable(board)[0]
    return (
        f"{where}: none of {len(ranked)} attentions is significantly the best; "
        f"{first.attention} leads with {_score(board, first)}."
    )


def _comparable(board: Board) -> list[Row]:
    """Return the rows with the most accuracies, the best first: others have other tasks."""
    counts = {
        row.attention: sum(each.mean is not None for each in row.results.values())
        for row in board.rows
    }
    most = max(counts.values())
    rows = [row for row in board.rows if most and counts[row.attention] == most]
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


def _of_speed(groups: Sequence[Comparable]) -> Iterator[str]:
    """Yield how much faster the fastest attention is than the fastest exact one."""
    timed = [group for group in groups if _longest(group)]
    if not timed:
        return
    group = max(timed, key=lambda each: (_longest(each), each.first.direction == "backward"))
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
    direction = PASSES.get(group.first.direction, group.first.direction)
    yield (
        f"{other} is the fastest at {length:,} tokens ({direction or 'a training step'}): "
        f"{times[base] / times[other]:.3g} times as fast as {base}, the fastest exact attention."
    )


def _longest(group: Comparable) -> int:
    """Return the longest length at which an exact attention and another were timed; 0 if none."""
    by_length: dict[int, set[bool]] = {}
    for row in group.rows:
        if group.seconds(row) and row.attention != IDENTITY:
            by_length.setdefault(row.length, set()).add(row.exact)
    return max((length for length, kinds in by_length.items() if len(kinds) == 2), default=0)
