"""Tables of time, of memory, and of where memory ends."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from lra_bench import published
from lra_bench.display.layout import PLAIN, TableLayout
from lra_bench.display.tables import FOR_PROGRAMS, Sheet, for_programs, render_all
from lra_bench.display.units import size_text
from lra_bench.efficiency.measurement import Measurement
from lra_bench.registry import IDENTITY
from lra_bench.scaling import grid, lra_table2
from lra_bench.scaling.groups import Comparable, groups
from lra_bench.scaling.growth import growth
from lra_bench.scaling.rows import Measured, frame, from_lines


def render(
    lines: Iterable[Measurement],
    style: str,
    *,
    with_published: bool,
    mix_machines: bool = False,
    layout: TableLayout = PLAIN,
) -> str:
    """Return all tables as markdown, latex or html; or the figures, in SI units, for programs.

    Args:
        lines: of any cells.
        style: the format.
        with_published: whether to add the LRA paper's figures.
        mix_machines: whether machines may share a table.
        layout: which columns, in which order.
    """
    rows = from_lines(lines)
    if style in FOR_PROGRAMS:
        return for_programs(_long(rows, with_published=with_published), style, layout)
    sheets = [
        Sheet(f"{group.title}: {x.title}", x.frame, f"{x.notes} {group.facts}")
        for group in groups(rows, mix_machines=mix_machines)
        for x in tables(group, with_published=with_published)
    ]
    return render_all(style, sheets, layout)


def _long(rows: Sequence[Measured], *, with_published: bool) -> pd.DataFrame:
    """Return a row for each cell and, if wanted, for each published figure."""
    table = frame(rows).assign(source="here")
    if not with_published:
        return table
    paper = [
        {"machine": "4x4 TPU v3", "scope": "train", "size": "text", "direction": "step",
         "batch": 32, "attention": row.model, "label": row.model, "length": 1000 * thousands,
         "status": "ok", "wall_seconds": 1 / speed, "source": lra_table2.SOURCE,
         "measured_bytes": round(1e9 * row.gigabytes[thousands])}
        for row in published.speeds()
        for thousands, speed in row.steps_per_second.items()
    ]  # fmt: skip
    return pd.DataFrame([*table.to_dict("records"), *paper], columns=table.columns)


def tables(group: Comparable, *, with_published: bool = False) -> list[grid.Table]:
    """Return the tables that a group has figures for."""
    if any(row.wall for row in group.rows):
        made = [_times(group), _relative(group), _speedups(group)]
        if group.first.scope == "train":
            made += lra_table2.as_in_the_paper(group, with_published=with_published)
        else:
            made.append(_memory(group))
    elif group.runs:
        made = [_memory(group)]
    else:
        made = [_memory(group), _estimates(group), *_counts(group)]
        if group.first.scope == "train" and any(row.estimated_seconds for row in group.rows):
            steps, memory = lra_table2.as_in_the_paper(group, with_published=with_published)
            made += [steps, memory] if with_published else [steps]
    return [table for table in (*made, growth(group)) if table is not None]


def _times(group: Comparable) -> grid.Table:
    clock = "CPU time" if group.clock == "cpu" else "wall time"
    cells = grid.of_figures(
        group, grid.timed_headings(group), grid.TIMES, group.seconds, grid.untimed
    )
    what = {"cpu": "CPU time is of all threads together.", "wall": ""}[group.clock]
    return grid.explained(f"median {clock}", cells, f"{what} {_quartiles(group)}")


def _quartiles(group: Comparable) -> str:
    """Return the note on how far quartiles lie apart, and over how many rounds."""
    spreads = [spread for row in group.rows if (spread := group.spread(row))]
    widest = max((x.q3 - x.q1) / x.median for x in spreads if x.median > 0)
    several = {row.rounds for row in group.rows if row.rounds} - {1}
    rounds = f" Over {' or '.join(map(str, sorted(several)))} rounds." if several else ""
    return f"Quartiles lie at most {widest:.0%} of the median apart.{rounds}"


def _fastest(group: Comparable, rows: Iterable[Measured]) -> dict[tuple[str, Any], float]:
    """Return the shortest time of the rows in seconds, by machine and column."""
    best: dict[tuple[str, Any], float] = {}
    for row in rows:
        key, seconds = (row.setting.machine, grid.key(group, row)), group.seconds(row)
        if seconds:
            best[key] = min(seconds, best.get(key, math.inf))
    return best


def _ratios(group: Comparable, base: Iterable[Measured], *, inverse: bool) -> pd.DataFrame | None:
    """Return time over the base's in the same column, or its inverse; None without a base."""
    best = _fastest(group, base)
    if not best:
        return None

    def text(row: Measured) -> str:
        seconds, other = group.seconds(row), best.get((row.setting.machine, grid.key(group, row)))
        if not seconds:
            return grid.untimed(row)
        return grid.digits(other / seconds if inverse else seconds / other) if other else ""

    keys = {key for _, key in best}
    columns = {key: name for key, name in grid.timed_headings(group).items() if key in keys}
    return grid.of_texts(group, columns, text)


def _relative(group: Comparable) -> grid.Table | None:
    base = [row for row in group.rows if row.attention == IDENTITY]
    cells = _ratios(group, base, inverse=False)
    if cells is None or len(group.labels()) < 2:
        return None
    note = "identity (OPT) mixes no tokens: a bound."
    return grid.explained("time relative to identity", cells, note)


def _speedups(group: Comparable) -> grid.Table | None:
    exact = [row for row in group.rows if row.exact]
    cells = _ratios(group, exact, inverse=True)
    if cells is None or all(row.exact for row in group.rows):
        return None
    note = "Over the fastest exact attention that ran at that length, whose own entry is 1.00."
    return grid.explained("speed-up over exact attention", cells, note)


def _memory(group: Comparable) -> grid.Table | None:
    """Return the table of peak memory; predicted for cells that were only compiled."""
    if not any(row.memory for row in group.rows):
        return None
    if not group.runs:
        cells = grid.of_figures(
            group, grid.tried_headings(group), grid.SIZES[1:], lambda row: row.memory, _asked
        )
        return grid.explained("peak memory of a device, by the compiler", cells, "")

    def mark(row: Measured) -> str:
        return "" if row.measured_bytes else "~"

    columns = grid.timed_headings(group) or grid.tried_headings(group)
    cells = grid.of_figures(group, columns, grid.SIZES, lambda row: row.memory, grid.untimed, mark)
    methods = sorted({row.memory_method for row in group.rows if row.memory_method})
    note = {"rss": "of the process's resident set", "allocator": "of the device's allocator"}
    how = " and ".join(note.get(method, method) for method in methods)
    notes = f"Measured by the peak {how}." if how else ""
    return grid.explained("peak memory of a device", cells, notes)


def _estimates(group: Comparable) -> grid.Table | None:
    """Return the table of times that the compiler estimates, for cells that were not run."""
    columns = grid.headings(group, lambda row: row.estimated_seconds)
    if not columns:
        return None

    def seconds(row: Measured) -> float | None:
        return row.estimated_seconds

    cells = grid.of_figures(group, columns, grid.TIMES, seconds, grid.unestimated, lambda _: "~")
    return grid.explained("time of a call, by the compiler's estimate", cells, "")


def _asked(row: Measured) -> str:
    """Return why a program compiled for another machine would not run there."""
    if row.status != "out_of_memory":
        return grid.untimed(row)
    needed = row.predicted_bytes or row.bytes_asked
    mark = "no" + ("*" if row.inferred_from else "")
    return f"{mark}: asks for {size_text(needed)}" if needed else mark


def _counts(group: Comparable) -> list[grid.Table]:
    """Return tables of operations and bytes, for cells that were not timed."""
    columns = grid.tried_headings(group)
    counted = tuple((scale, f"{prefix}FLOP") for scale, prefix in grid.COUNTS)
    made = []
    if any(row.flops for row in group.rows):
        cells = grid.of_figures(group, columns, counted, lambda row: row.flops, lambda _: "")
        note = "Counted in the program as written, loops as often as they run, of all devices."
        made.append(grid.explained("operations", cells, note))
    if any(row.xla_bytes for row in group.rows):
        cells = grid.of_figures(group, columns, grid.SIZES, lambda row: row.xla_bytes, grid.untimed)
        note = "The compiler's own count for a device; it counts the body of a loop once."
        made.append(grid.explained("bytes read and written", cells, note))
    return made + (_of_kernels(group, columns) if any(row.kernels for row in group.rows) else [])


def _of_kernels(group: Comparable, columns: dict[Any, str]) -> list[grid.Table]:
    """Return tables of what a GPU's program launches, and of how long it takes to compile."""

    def count(row: Measured) -> str:
        return _asked_short(row) if row.kernels is None else f"{row.kernels:,}"

    def seconds(row: Measured) -> str:
        known = row.compile_seconds
        return _asked_short(row) if known is None else grid.digits(known)

    note = "By the compiled program, loops as often as they run; a call of a library counts as one."
    kernels, compiling = (grid.of_texts(group, columns, text) for text in (count, seconds))
    return [
        grid.explained("kernels launched by a call", kernels, note),
        grid.explained("seconds to compile", compiling, "On this host."),
    ]


def _asked_short(row: Measured) -> str:
    return "" if row.ran else grid.untimed(row)
