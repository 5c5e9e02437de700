"""The tables of a group of cells: a row for each attention, a column for each length or task."""

import statistics
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from lra_bench.scaling.groups import Comparable, column_order
from lra_bench.scaling.rows import Measured

_STATUS = {
    "out_of_memory": "OOM",
    "timed_out": "> time limit",
    "crashed": "crashed",
    "failed": "failed",
}
# Smallest first; a table takes the largest unit in which the geometric mean is at least 1.
TIMES = ((1e-6, "µs"), (1e-3, "ms"), (1.0, "s"))
SIZES = ((2**20, "MiB"), (2**30, "GiB"))
COUNTS = ((1e6, "M"), (1e9, "G"), (1e12, "T"))


@dataclass(frozen=True)
class Table:
    """A table of text.

    Attributes:
        title: what the table shows; the group's title says of which cells.
        frame: the cells, as text.
        notes: the meaning of the signs in it, as sentences.
    """

    title: str
    frame: pd.DataFrame
    notes: str


Text = Callable[[Measured], str]


def key(group: Comparable, row: Measured) -> Any:
    """Return the column of a cell: its task or its length."""
    return row.setting.size if group.by == "size" else row.length


def of_texts(group: Comparable, columns: dict[Any, str], text: Text) -> pd.DataFrame:
    """Return a row for each attention and a column for each length or task.

    Args:
        group: the cells.
        columns: headings by length or task.
        text: of a cell.
    """
    cells = {(row.label, key(group, row)): text(row) for row in group.rows}
    return pd.DataFrame(
        [
            {"attention": group.shown(label)}
            | {heading: cells.get((label, column), "") for column, heading in columns.items()}
            for label in group.labels()
        ]
    )


def headings(group: Comparable, wanted: Callable[[Measured], Any]) -> dict[Any, str]:
    """Return headings by length or task, for columns that have a wanted cell."""
    found = {}
    for row in sorted(group.rows, key=column_order):
        if wanted(row):
            length = f"{row.length:,}"
            task = f"{row.setting.size} {length}"
            found[key(group, row)] = task if group.by == "size" else length
    return found


def _status(row: Measured) -> str:
    return _STATUS[row.status] + ("*" if row.inferred_from else "")


def digits(value: float) -> str:
    """Return three significant digits, or all digits before the point."""
    if value >= 99.95:
        return f"{value:,.0f}"
    if value >= 9.995:
        return f"{value:.1f}"
    return f"{value:.2f}" if value >= 0.9995 else f"{value:#.3g}"


def of_figures(
    group: Comparable,
    columns: dict[Any, str],
    units: tuple[tuple[float, str], ...],
    value: Callable[[Measured], float | None],
    otherwise: Text,
    mark: Text = lambda _: "",
) -> pd.DataFrame:
    """Return a grid of figures, all in one unit.

    Args:
        group: the cells.
        columns: headings by length or task.
        units: pairs of size and name, the smallest first.
        value: of a cell; None or 0 if it has none.
        otherwise: text of a cell without a value.
        mark: stands before a value.
    """
    shown = [v for row in group.rows if key(group, row) in columns and (v := value(row))]
    size, unit = _unit(shown, units)

    def text(row: Measured) -> str:
        figure = value(row)
        return mark(row) + digits(figure / size) if figure else otherwise(row)

    in_unit = {column: f"{heading} ({unit})" for column, heading in columns.items()}
    return of_texts(group, in_unit, text)


def _unit(values: list[float], units: tuple[tuple[float, str], ...]) -> tuple[float, str]:
    mean = statistics.geometric_mean(values) if values else 0
    # The mean of equal figures may be a little less than they are.
    return [unit for unit in units if mean * (1 + 1e-9) >= unit[0] or unit is units[0]][-1]


def untimed(row: Measured) -> str:
    """Return what stands in place of the time of a cell that has none."""
    return "fits" if row.ran else _status(row)


def timed_headings(group: Comparable) -> dict[Any, str]:
    """Return headings of the tasks or lengths at which a cell was timed."""
    return headings(group, lambda row: row.wall)


def tried_headings(group: Comparable) -> dict[Any, str]:
    """Return headings of all tasks, or of lengths at which half of the attentions were tried.

    Other lengths are probes of the largest that fits.
    """
    tried = Counter(key(group, row) for row in group.rows)
    enough = 0 if group.by == "size" else len(group.labels()) / 2
    return headings(group, lambda row: tried[key(group, row)] >= enough)


def unestimated(row: Measured) -> str:
    """Return what stands in place of the compiler's estimate where there is none."""
    return "left out" if row.ran else _status(row)


_SIGNS = {
    "OOM": "OOM: out of memory.",
    "*": "*: concluded from a shorter length, not run.",
    "time limit": "> time limit: takes longer than a cell is given.",
    "crashed": "crashed: the process died and did not say why.",
    "failed": "failed: an error of another kind; it is in the csv.",
    "fits": "fits: ran, but was not timed.",
    "~": "~: predicted by the compiler, not measured.",
    "left out": "left out: the compiler gives no time for operations that matter.",
    "no": "no: doesn't fit.",
    "(time)": "(time): what ends it is time, not memory.",
    ">= ": ">=: nothing longer was seen to fail.",
    "±": "±: 95 % confidence interval of least squares in log-log, over lengths from 2,048, or "
    "the longest four where there are fewer than three such.",
    "below": "below, above: outside the measured lengths.",
    "above": "below, above: outside the measured lengths.",
}


def explained(title: str, cells: pd.DataFrame, notes: str) -> Table:
    """Return a table whose notes explain the signs that are in it."""
    body = cells.iloc[:, 1:]
    text = "\n".join(str(value) for row in body.itertuples(index=False) for value in row)
    signs = dict.fromkeys(note for sign, note in _SIGNS.items() if sign in text)
    return Table(title, cells, " ".join(" ".join((notes, *signs)).split()))
