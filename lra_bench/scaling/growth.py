"""The table of growth: exponents, crossovers and the largest lengths that fit."""

import pandas as pd

from lra_bench.registry import IDENTITY
from lra_bench.scaling import grid
from lra_bench.scaling.fits import largest
from lra_bench.scaling.groups import Comparable


def growth(group: Comparable) -> grid.Table | None:
    """Return exponents, crossovers and largest lengths: one row for each attention."""
    if group.by == "size":
        return None
    body = [_growth_row(group, label) for label in group.labels()]
    used = [name for name in body[0] if any(row[name] for row in body)]
    if used == ["attention"]:
        return None
    clock = {"cpu": "Time is CPU time of all threads.", "wall": "Time is wall time."}[group.clock]
    notes = [clock] if any(row.wall for row in group.rows) else []
    notes += [note for name, note in _GROWTH.items() if any(name in column for column in used)]
    cells = pd.DataFrame([{name: row[name] for name in used} for row in body])
    return grid.explained("growth with the length", cells, " ".join(notes))


_GROWTH = {
    "exponent": "Exponents are of the length.",
    "beats": "beats: takes less time for good, between measured lengths by a line in log-log.",
    "predicted": "predicted / measured: peak memory, at the longest length measured.",
}


def _growth_row(group: Comparable, label: str) -> dict[str, str]:
    """Return the texts of a row, by column; "" where nothing is known."""
    rows = group.of(label)
    memory, measured = group.exponent_of_memory(label)
    exact = {row.label for row in group.rows if row.exact}
    crossovers = {
        f"beats {other} from": _crossover(group, label, other)
        for other in group.labels()
        if other in exact
    }
    mark = "" if measured or not group.runs else "~"
    ratios = [row.predicted_over_measured for row in rows if row.predicted_over_measured]
    return {
        "attention": group.shown(label),
        "time exponent": str(group.exponent_of_time(label) or ""),
        "memory exponent": f"{mark}{memory}" if memory else "",
        **crossovers,
        "largest length that fits": str(largest(rows)),
        "predicted / measured": f"{ratios[-1]:.2f}" if ratios else "",
    }


def _crossover(group: Comparable, label: str, other: str) -> str:
    """Return from which length on a mechanism is faster; "" for exact ones and identity."""
    first = group.of(label)[0]
    if first.exact or first.attention == IDENTITY:
        return ""
    return str(group.crossover(label, other) or "")
