"""Speed and memory over softmax's, where both were run on the same device."""

import math
import statistics
from collections.abc import Iterable, Mapping
from typing import Any

from lra_bench.leaderboard import Cell, device_of

BASE = "softmax"
TIMES = "\N{MULTIPLICATION SIGN}"


def relative(row: Mapping[str, Cell], base: Mapping[str, Cell], key: str) -> float | None:
    """The geometric mean of the ratios to softmax over tasks, on the one device of both."""
    ratios = [
        mine / other
        for task, cell in row.items()
        if task in base
        and device(cell) == device(base[task]) is not None
        and (mine := median(cell, key))
        and (other := median(base[task], key))
    ]
    return geometric_mean(ratios)


def median(cell: Cell, key: str) -> float | None:
    """Over the runs that have the figure; what is no positive number in a record is none."""
    values = [run[key] for run in cell.runs if _is_figure(run.get(key))]
    return statistics.median(values) if values else None


def _is_figure(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and 0 < value < math.inf


def geometric_mean(values: Iterable[float]) -> float | None:
    """None of none."""
    logs = [math.log(value) for value in values]
    return math.exp(sum(logs) / len(logs)) if logs else None


def device(cell: Cell) -> str | None:
    """What a cell was run on; None where its runs were made on several."""
    found = {device_of(run) for run in cell.runs}
    return found.pop() if len(found) == 1 else None
