"""Published accuracies in a table of their own, each with its source."""

from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from lra_bench import published
from lra_bench.display.tables import FOR_PROGRAMS, for_programs
from lra_bench.display.tables import render as render_table
from lra_bench.leaderboard.board import AVERAGES, ORDER
from lra_bench.published import Published

# What sums of roundings to two digits may come to.
_ROUNDING = 0.011


def rows_beside(attentions: Iterable[str], tasks: Sequence[str]) -> list[Published]:
    """The published rows of these mechanisms on any of these tasks."""
    found = [
        row for name in sorted(attentions) for task in tasks for row in published.of(name, task)
    ]
    return sorted(dict.fromkeys(found), key=published.results().index)


def all_of(style: str) -> str:
    """Every published figure, in any format of a table."""
    if style in FOR_PROGRAMS:
        return for_programs(pd.DataFrame(figures()), style)
    return "\n".join(render(style, published.results(), ORDER))


def render(style: str, rows: Sequence[Published], tasks: Sequence[str]) -> list[str]:
    """The table as markdown, latex or html; nothing where there are no rows."""
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
    found = {"model": row.model, "source": row.source}
    for task in tasks:
        figure = row.accuracy.get(task)
        failed = "FAIL" if task in row.failed else ""
        found[f"{task} %"] = failed if figure is None else f"{figure:.2f}"
    for count in counts:
        average = _average(row, count)
        found[f"average of {count} %"] = "" if average is None else f"{average:.2f}"
    return found


def _average(row: Published, count: int) -> float | None:
    tasks = AVERAGES[count]
    if not set(tasks) <= row.accuracy.keys():
        return None
    return sum(row.accuracy[task] for task in tasks) / count


def _misprints(rows: Sequence[Published]) -> str:
    """Printed averages that aren't those of the figures beside them."""
    said = []
    for row in rows:
        made = _average(row, 6) or _average(row, 5)
        if made and row.average and abs(made - row.average) > _ROUNDING:
            said.append(f"{row.model} [{row.source}] {row.average:.2f}, not {made:.2f}")
    return f" Averages that are printed otherwise: {'; '.join(said)}." if said else ""


def figures() -> list[dict[str, Any]]:
    """For programs: a row a figure, in [0, 1]."""
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
