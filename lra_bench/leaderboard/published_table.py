"""Published accuracies in a table of their own, each with its source."""

from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from lra_bench import published
from lra_bench.display.tables import FOR_PROGRAMS, for_programs
from lra_bench.display.tables import render as render_table
from lra_bench.leaderboard.board import AVERAGES, ORDER
from lra_bench.published import Published

# Percentage points by which an average of figures rounded to two digits may be off.
_ROUNDING = 0.011


def rows_beside(attentions: Iterable[str], tasks: Sequence[str]) -> list[Published]:
    """Return the published rows of these attentions on any of these tasks."""
    rows = {row for name in attentions for task in tasks for row in published.of(name, task)}
    return [row for row in published.results() if row in rows]


def all_of(style: str) -> str:
    """Return every published figure as text, in any style of a table."""
    if style in FOR_PROGRAMS:
        return for_programs(pd.DataFrame(figures()), style)
    return "\n".join(render(style, published.results(), ORDER))


def render(style: str, rows: Sequence[Published], tasks: Sequence[str]) -> list[str]:
    """Return the table as markdown, latex or html in a list; an empty list if there are no rows."""
    if not rows:
        return []
    notes = (
        "Published figures, each in its source's own setting, with other sizes and training; "
        "averages are made of them here, and only where every task has one."
    )
    return [render_table(style, "published", _table(rows, tasks), notes + _misprints(rows))]


def _table(rows: Sequence[Published], tasks: Sequence[str]) -> pd.DataFrame:
    counts = [n for n, over in AVERAGES.items() if set(over) <= set(tasks)]
    counts = [n for n in counts if any(_average(row, n) for row in rows)]
    return pd.DataFrame([_row(row, tasks, counts) for row in rows])


def _row(row: Published, tasks: Sequence[str], counts: Sequence[int]) -> dict[str, str]:
    cells = {"model": row.model, "source": row.source}
    for task in tasks:
        figure = row.accuracy.get(task)
        failed = "FAIL" if task in row.failed else ""
        cells[f"{task} %"] = failed if figure is None else f"{figure:.2f}"
    for count in counts:
        average = _average(row, count)
        cells[f"average of {count} %"] = "" if average is None else f"{average:.2f}"
    return cells


def _average(row: Published, count: int) -> float | None:
    """Return the average over the five or the six tasks, in percent; None if one is missing."""
    tasks = AVERAGES[count]
    if not set(tasks) <= row.accuracy.keys():
        return None
    return sum(row.accuracy[task] for task in tasks) / count


def _misprints(rows: Sequence[Published]) -> str:
    """Return a sentence on printed averages that differ from those of the figures beside them."""
    misprints = []
    for row in rows:
        average = _average(row, 6) or _average(row, 5)
        if average and row.average and abs(average - row.average) > _ROUNDING:
            misprints.append(f"{row.model} [{row.source}] {row.average:.2f}, not {average:.2f}")
    return f" Averages that are printed otherwise: {'; '.join(misprints)}." if misprints else ""


def figures() -> list[dict[str, Any]]:
    """Return the table for programs: a row for each figure; accuracies are in [0, 1]."""
    return [
        {
            "setting": "published",
            "task": task,
            "attention": row.model,
            "accuracy_mean": value / 100,
            "source": row.source,
        }
        for row in published.results()
        for task, value in row.accuracy.items()
    ]
