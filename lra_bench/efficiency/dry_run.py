"""Print the cells of a sweep and how long they would take, for `lra-bench efficiency --dry-run`."""

from collections import Counter
from collections.abc import Sequence
from statistics import fmean

from lra_bench.display.progress import Display
from lra_bench.display.units import duration
from lra_bench.efficiency.cells import HERE, Cell
from lra_bench.efficiency.measure import Measuring

# Seconds to start Python and JAX, and to compile a cell if none was compiled yet.
_START_SECONDS, _COMPILE_SECONDS = 4.0, 5.0
# Of attentions that are listed.
_MOST_NAMES = 12


def show(measuring: Measuring, cells: Sequence[Cell], display: Display) -> None:
    """Print the cells by what they have in common, which are done, and the time for the others."""
    rounds = measuring.rounds(cells)
    left = [measuring.visits_left(cell, rounds) for cell in cells]
    for (what, lengths), count in _kinds(cells).items():
        display.line(f"{count:>5} cells  {what}, L = {lengths}")
    names = list(dict.fromkeys(cell.attention for cell in cells))
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    display.line(f"attentions: {', '.join(names[:_MOST_NAMES])}{more}")
    done = left.count(0)
    display.line(f"machine: {measuring.machine}")
    display.line(f"{len(cells):,} cells, {done:,} done, {sum(left):,} visits to make")
    timing = measuring.effort.budget / rounds if cells[0].target == HERE else 0.0
    seconds = _seconds(measuring, left, rounds, timing)
    display.line(
        f"about {duration(seconds)}, less where memory ends: longer lengths are then not run"
    )


def _kinds(cells: Sequence[Cell]) -> dict[tuple[str, str], int]:
    """Return how many cells have each kind: what is measured, and the lengths."""
    lengths: dict[str, dict[int, None]] = {}
    counts: Counter[str] = Counter()
    for cell in cells:
        layers = f", layers {cell.layers}" if cell.layers else ""
        what = f"{cell.scope} {cell.size}{layers}, {cell.direction}, batch {cell.batch}"
        what += f", {cell.dtype}"
        lengths.setdefault(what, {})[cell.length] = None
        counts[what] += 1
    return {(what, _listed(list(lengths[what]))): counts[what] for what in lengths}


def _listed(lengths: list[int]) -> str:
    if len(lengths) < 4:
        return ", ".join(f"{length:,}" for length in lengths)
    return f"{min(lengths):,} to {max(lengths):,} ({len(lengths)})"


def _seconds(measuring: Measuring, left: Sequence[int], rounds: int, timing: float) -> float:
    """Return about how long the visits take: start, compile once, and spend the time for timing.

    Args:
        measuring: knows how long others took to compile.
        left: visits to each cell.
        rounds: visits to a cell that has none yet.
        timing: seconds of a visit.
    """
    known = measuring.compile_seconds()
    compiling = fmean(known) if known else _COMPILE_SECONDS
    return sum(left) * (_START_SECONDS + timing) + left.count(rounds) * compiling
