"""Speed and memory over those of softmax, where both were run on the same device."""

import math
from collections.abc import Iterable, Iterator, Mapping

from lra_bench.leaderboard.results import Quantity, Result

TIMES = "\N{MULTIPLICATION SIGN}"


def relative(
    row: Mapping[str, Result], base: Mapping[str, Result], quantity: Quantity
) -> float | None:
    """Return the geometric mean over tasks of a quantity over that of softmax.

    Args:
        row: results of an attention, by task.
        base: results of softmax, by task.
        quantity: to compare, on the tasks that both ran on the same device.
    """
    return geometric_mean(_ratios(row, base, quantity))


def _ratios(
    row: Mapping[str, Result], base: Mapping[str, Result], quantity: Quantity
) -> Iterator[float]:
    for task, result in row.items():
        if task not in base:
            continue
        device = result.device(quantity)
        if device is not None and device == base[task].device(quantity):
            value, reference = result.median(quantity), base[task].median(quantity)
            if value and reference:
                yield value / reference


def geometric_mean(values: Iterable[float]) -> float | None:
    """Return the geometric mean of positive values; None if there are none."""
    logs = [math.log(value) for value in values]
    return math.exp(sum(logs) / len(logs)) if logs else None
