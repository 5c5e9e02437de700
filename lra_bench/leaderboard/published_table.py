"""Published accuracies in a table of their own, each with its source."""

from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from lra_bench import published
from lra_bench.display.layout import PLAIN, TableLayout
from lra_bench.display.tables import FOR_PROGRAMS, Sheet, for_programs, render_all
from lra_bench.leaderboard.board import AVERAGES, ORDER
from lra_bench.published import Published

_LISTOPS = "listops"


def rows_beside(attentions: Iterable[str], tasks: Sequence[str]) -> list[Published]:
    """Return the published rows of these attentions on any of these tasks."""
    rows = {row for name in attentions for task in tasks for row in published.of(name, task)}
    return [row for row in published.results() if row in rows]


def all_of(style: str, layout: TableLayout = PLAIN) -> str:
    """Return every published figure as text, in any style of a table."""
    if style in FOR_PROGRAMS:
        return for_programs(pd.DataFrame(figures(published.results(), ORDER)), style, layout)
    return render_all(style, sheets(published.results(), ORDER), layout)


def sheets(rows: Sequence[Published], tasks: Sequence[str]) -> list[Sheet]:
    """Return the table in a list; an empty list if there are no rows."""
    if not rows:
        return []
    notes = (
        "Published figures, each in its source's own setting, with other sizes and training; "
        "averages are made of them here, and only where every task has one. FAIL means chance, and "
        "counts in no average."
    )
    notes += _presets(rows) + _brackets(rows, tasks) + _others(rows, tasks) + _misprints(rows)
    return [Sheet("published", _table(rows, tasks), notes)]


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
        if task == _LISTOPS:
            cells["brackets"] = "" if figure is None else row.brackets
    for count in counts:
        average = _average(row, count)
        cells[f"average of {count} %"] = "" if average is None else f"{average:.2f}"
    return cells


def _brackets(rows: Sequence[Published], tasks: Sequence[str]) -> str:
    """Return a sentence on what sources do with the brackets of ListOps, if it is in the table."""
    if _LISTOPS not in tasks or not any(_LISTOPS in row.accuracy for row in rows):
        return ""
    return (
        " Brackets: where they are dropped, ListOps was read without its brackets, [MAX 2 9 ] as "
        "MAX 2 9, which is another task, here data.brackets=dropped; where unknown, the code "
        "that made the figures was not found."
    )


def _average(row: Published, count: int) -> float | None:
    """Return the average over the five or the six tasks, in percent; None if one is missing."""
    return row.mean(AVERAGES[count])


def _presets(rows: Sequence[Published]) -> str:
    """Return a sentence on the presets that follow the code of sources, if any does."""
    found = dict.fromkeys(f"{row.preset} ({row.source})" for row in rows if row.preset)
    return f" Presets follow the code of some sources: {', '.join(found)}." if found else ""


def _others(rows: Sequence[Published], tasks: Sequence[str]) -> str:
    """Return a sentence on rows that lack one of the five tasks, if the table has all five."""
    if not set(AVERAGES[5]) <= set(tasks):
        return ""
    lacking = [row for row in rows if _average(row, 5) is None and len(row.tasks) > 1]
    others = [
        f"{row.model} [{row.source}] {row.mean(row.tasks):.2f} of {', '.join(row.tasks)}"
        for row in lacking
    ]
    return f" Averages of other tasks: {'; '.join(others)}." if others else ""


def _misprints(rows: Sequence[Published]) -> str:
    """Return a sentence on printed averages that are none of the figures beside them."""
    misprints = [
        f"{row.model} [{row.source}] {row.average:.2f}, not {row.mean(row.tasks):.2f}"
        for row in rows
        if row.average and len(row.tasks) > 1 and not _agrees(row, row.average)
    ]
    return f" Averages that are printed otherwise: {'; '.join(misprints)}." if misprints else ""


def _agrees(row: Published, printed: float) -> bool:
    """Return whether a printed average is that of five, six or all tasks, but for rounding."""
    digits = max(_digits(figure) for figure in (*row.accuracy.values(), printed))
    means = (row.mean(tasks) for tasks in (*AVERAGES.values(), row.tasks))
    return any(mean and abs(mean - printed) < 1.1 * 10**-digits for mean in means)


def _digits(figure: float) -> int:
    """Return the number of digits after the point."""
    return len(str(figure).partition(".")[2])


def figures(rows: Sequence[Published], tasks: Sequence[str]) -> list[dict[str, Any]]:
    """Return figures of these tasks for programs, an entry for each; accuracies are in [0, 1]."""
    return [
        {
            "setting": "published",
            "task": task,
            "attention": row.model,
            "accuracy_mean": value / 100,
            "source": row.source,
            "reading": f"brackets={row.brackets}" if task == _LISTOPS else "",
        }
        for row in rows
        for task, value in row.accuracy.items()
        if task in tasks
    ]
