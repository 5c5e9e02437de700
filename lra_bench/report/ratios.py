"""Speed and memory over softmax's, where both were run on the same device."""

import math
from collections.abc import Iterable, Mapping

from lra_bench.leaderboard.results import Figure, Result

TIMES = "\N{MULTIPLICATION SIGN}"


def relative(row: Mapping[str, Result], base: Mapping[str, Result], key: Figure) -> float | None:
    """The geometric mean of the ratios to softmax over tasks, on the one device of both."""
    ratios = [
        mine / other
        for task, cell in row.items()
        if task in base
        and device(cell) == device(base[task]) is not None
        and (mine := cell.median(key))
        and (other := base[task].median(key))
    ]
    return geometric_mean(ratios)


def geometric_mean(values: Iterable[float]) -> float | None:
    """None of none."""
    logs = [math.log(value) for value in values]
    return math.exp(sum(logs) / len(logs)) if logs else None


def device(cell: Result) -> str | None:
    """What a cell was run on; None where its runs were made on several."""
    found = {run.device for run in cell.runs}
    return found.pop() if len(found) == 1 else None
