"""Tables of time, of memory, and of where memory ends."""

import math
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from lra_bench import published
from lra_bench.display.layout import PLAIN, TableLayout
from lra_bench.display.tables import FOR_PROGRAMS, Sheet, for_programs, render_all
from lra_bench.display.units import size_text
from lra_bench.efficiency.measurement import Measurement
from lra_bench.registry import IDENTITY, REFERENCE
from lra_bench.scaling.fits import largest, rank_correlation
from lra_bench.scaling.groups import Comparable, column_order, groups
from lra_bench.scaling.rows import Measured, frame, from_lines

_STATUS = {
    "out_of_memory": "OOM",
    "timed_out": "> time limit",
    "crashed": "crashed",
    "failed": "failed",
}
# Smallest first; a table takes the largest unit in which the geometric mean is at least 1.
_TIMES = ((1e-6, "µs"), (1e-3, "ms"), (1.0, "s"))
_SIZES = ((2**20, "MiB"), (2**30, "GiB"))
_COUNTS = ((1e6, "M"), (1e9, "G"), (1e12, "T"))
_PUBLISHED = "LRA paper"


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
         "status": "ok", "wall_seconds": 1 / speed, "source": _PUBLISHED,
         "measured_bytes": round(1e9 * row.gigabytes[thousands])}
        for row in published.speeds()
        for thousands, speed in row.steps_per_second.items()
    ]  # fmt: skip
    return pd.DataFrame([*table.to_dict("records"), *paper], columns=table.columns)


def tables(group: Comparable, *, with_published: bool = False) -> list[Table]:
    """Return the tables that a group has figures for."""
    if any(row.wall for row in group.rows):
        made = [_times(group), _relative(group), _speedups(group)]
        if group.first.scope == "train":
            made += _as_in_the_paper(group, with_published=with_published)
        else:
            made.append(_memory(group))
    elif group.runs:
        made = [_memory(group)]
    else:
        made = [_memory(group), _estimates(group), *_counts(group)]
        if group.first.scope == "train" and any(row.estimated_seconds for row in group.rows):
            steps, memory = _as_in_the_paper(group, with_published=with_published)
            made += [steps, memory] if with_published else [steps]
    return [table for table in (*made, _growth(group)) if table is not None]


Text = Callable[[Measured], str]


def _key(group: Comparable, row: Measured) -> Any:
    return row.setting.size if group.by == "size" else row.length


def _grid(group: Comparable, columns: dict[Any, str], text: Text) -> pd.DataFrame:
    """Return a row for each attention and a column for each length or task.

    Args:
        group: the cells.
        columns: headings by length or task.
        text: of a cell.
    """
    cells = {(row.label, _key(group, row)): text(row) for row in group.rows}
    return pd.DataFrame(
        [
            {"attention": group.shown(label)}
            | {heading: cells.get((label, key), "") for key, heading in columns.items()}
            for label in group.labels()
        ]
    )


def _columns(group: Comparable, wanted: Callable[[Measured], Any]) -> dict[Any, str]:
    """Return headings by length or task, for columns that have a wanted cell."""
    headings = {}
    for row in sorted(group.rows, key=column_order):
        if wanted(row):
            length = f"{row.length:,}"
            task = f"{row.setting.size} {length}"
            headings[_key(group, row)] = task if group.by == "size" else length
    return headings


def _status(row: Measured) -> str:
    return _STATUS[row.status] + ("*" if row.inferred_from else "")


def _digits(value: float) -> str:
    """Return three significant digits, or all digits before the point."""
    if value >= 99.95:
        return f"{value:,.0f}"
    if value >= 9.995:
        return f"{value:.1f}"
    return f"{value:.2f}" if value >= 0.9995 else f"{value:#.3g}"


def _scaled(
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
    shown = [v for row in group.rows if _key(group, row) in columns and (v := value(row))]
    size, unit = _unit(shown, units)

    def text(row: Measured) -> str:
        figure = value(row)
        return mark(row) + _digits(figure / size) if figure else otherwise(row)

    headings = {key: f"{name} ({unit})" for key, name in columns.items()}
    return _grid(group, headings, text)


def _unit(values: list[float], units: tuple[tuple[float, str], ...]) -> tuple[float, str]:
    mean = statistics.geometric_mean(values) if values else 0
    # The mean of equal figures may be a little less than they are.
    return [unit for unit in units if mean * (1 + 1e-9) >= unit[0] or unit is units[0]][-1]


def _untimed(row: Measured) -> str:
    return "fits" if row.ran else _status(row)


def _timed_columns(group: Comparable) -> dict[Any, str]:
    return _columns(group, lambda row: row.wall)


def _times(group: Comparable) -> Table:
    clock = "CPU time" if group.clock == "cpu" else "wall time"
    cells = _scaled(group, _timed_columns(group), _TIMES, group.seconds, _untimed)
    what = {"cpu": "CPU time is of all threads together.", "wall": ""}[group.clock]
    return _table(f"median {clock}", cells, f"{what} {_quartiles(group)}")


def _quartiles(group: Comparable) -> str:
    """Return the note on how far quartiles lie apart, and over how many rounds."""
    spreads = [spread for row in group.rows if (spread := group.spread(row))]
    widest = max((x.q3 - x.q1) / x.median for x in spreads if x.median > 0)
    several = {row.rounds for row in group.rows if row.rounds} - {1}
    rounds = f" Over {' or '.join(map(str, sorted(several)))} rounds." if several else ""
    return f"Quartiles lie at most {widest:.0%} of the median apart.{rounds}"


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


def _table(title: str, cells: pd.DataFrame, notes: str) -> Table:
    """Return a table whose notes explain the signs that are in it."""
    body = cells.iloc[:, 1:]
    text = "\n".join(str(value) for row in body.itertuples(index=False) for value in row)
    signs = dict.fromkeys(note for sign, note in _SIGNS.items() if sign in text)
    return Table(title, cells, " ".join(" ".join((notes, *signs)).split()))


def _fastest(group: Comparable, rows: Iterable[Measured]) -> dict[tuple[str, Any], float]:
    """Return the shortest time of the rows in seconds, by machine and column."""
    best: dict[tuple[str, Any], float] = {}
    for row in rows:
        key, seconds = (row.setting.machine, _key(group, row)), group.seconds(row)
        if seconds:
            best[key] = min(seconds, best.get(key, math.inf))
    return best


def _ratios(group: Comparable, base: Iterable[Measured], *, inverse: bool) -> pd.DataFrame | None:
    """Return time over the base's in the same column, or its inverse; None without a base."""
    best = _fastest(group, base)
    if not best:
        return None

    def text(row: Measured) -> str:
        seconds, other = group.seconds(row), best.get((row.setting.machine, _key(group, row)))
        if not seconds:
            return _untimed(row)
        return _digits(other / seconds if inverse else seconds / other) if other else ""

    keys = {key for _, key in best}
    columns = {key: name for key, name in _timed_columns(group).items() if key in keys}
    return _grid(group, columns, text)


def _relative(group: Comparable) -> Table | None:
    base = [row for row in group.rows if row.attention == IDENTITY]
    cells = _ratios(group, base, inverse=False)
    if cells is None or len(group.labels()) < 2:
        return None
    return _table("time relative to identity", cells, "identity (OPT) mixes no tokens: a bound.")


def _speedups(group: Comparable) -> Table | None:
    exact = [row for row in group.rows if row.exact]
    cells = _ratios(group, exact, inverse=True)
    if cells is None or all(row.exact for row in group.rows):
        return None
    note = "Over the fastest exact attention that ran at that length, whose own entry is 1.00."
    return _table("speed-up over exact attention", cells, note)


def _memory(group: Comparable) -> Table | None:
    """Return the table of peak memory; predicted for cells that were only compiled."""
    if not any(row.memory for row in group.rows):
        return None
    if not group.runs:
        cells = _scaled(group, _tried_columns(group), _SIZES[1:], lambda row: row.memory, _asked)
        return _table("peak memory of a device, by the compiler", cells, "")

    def mark(row: Measured) -> str:
        return "" if row.measured_bytes else "~"

    columns = _timed_columns(group) or _tried_columns(group)
    cells = _scaled(group, columns, _SIZES, lambda row: row.memory, _untimed, mark)
    methods = sorted({row.memory_method for row in group.rows if row.memory_method})
    note = {"rss": "of the process's resident set", "allocator": "of the device's allocator"}
    how = " and ".join(note.get(method, method) for method in methods)
    return _table("peak memory of a device", cells, f"Measured by the peak {how}." if how else "")


def _tried_columns(group: Comparable) -> dict[Any, str]:
    """Return headings of all tasks, or of lengths at which half of the attentions were tried.

    Other lengths are probes of the largest that fits.
    """
    tried = Counter(_key(group, row) for row in group.rows)
    enough = 0 if group.by == "size" else len(group.labels()) / 2
    return _columns(group, lambda row: tried[_key(group, row)] >= enough)


def _estimates(group: Comparable) -> Table | None:
    """Return the table of times that the compiler estimates, for cells that were not run."""
    columns = _columns(group, lambda row: row.estimated_seconds)
    if not columns:
        return None
    cells = _scaled(
        group, columns, _TIMES, lambda row: row.estimated_seconds, _unestimated, lambda _: "~"
    )
    return _table("time of a call, by the compiler's estimate", cells, "")


def _unestimated(row: Measured) -> str:
    return "left out" if row.ran else _status(row)


def _asked(row: Measured) -> str:
    """Return why a program compiled for another machine would not run there."""
    if row.status != "out_of_memory":
        return _untimed(row)
    needed = row.predicted_bytes or row.bytes_asked
    mark = "no" + ("*" if row.inferred_from else "")
    return f"{mark}: asks for {size_text(needed)}" if needed else mark


def _counts(group: Comparable) -> list[Table]:
    """Return tables of operations and bytes, for cells that were not timed."""
    columns = _tried_columns(group)
    counted = tuple((scale, f"{prefix}FLOP") for scale, prefix in _COUNTS)
    made = []
    if any(row.flops for row in group.rows):
        cells = _scaled(group, columns, counted, lambda row: row.flops, lambda _: "")
        note = "Counted in the program as written, loops as often as they run, of all devices."
        made.append(_table("operations", cells, note))
    if any(row.xla_bytes for row in group.rows):
        cells = _scaled(group, columns, _SIZES, lambda row: row.xla_bytes, _untimed)
        note = "The compiler's own count for a device; it counts the body of a loop once."
        made.append(_table("bytes read and written", cells, note))
    return made + (_of_kernels(group, columns) if any(row.kernels for row in group.rows) else [])


def _of_kernels(group: Comparable, columns: dict[Any, str]) -> list[Table]:
    """Return tables of what a GPU's program launches, and of how long it takes to compile."""

    def count(row: Measured) -> str:
        return _asked_short(row) if row.kernels is None else f"{row.kernels:,}"

    def seconds(row: Measured) -> str:
        known = row.compile_seconds
        return _asked_short(row) if known is None else _digits(known)

    note = "By the compiled program, loops as often as they run; a call of a library counts as one."
    kernels = _table("kernels launched by a call", _grid(group, columns, count), note)
    return [kernels, _table("seconds to compile", _grid(group, columns, seconds), "On this host.")]


def _asked_short(row: Measured) -> str:
    return "" if row.ran else _untimed(row)


def _growth(group: Comparable) -> Table | None:
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
    return _table("growth with the length", cells, " ".join(notes))


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


_THOUSANDS = (1, 2, 3, 4)
_PAPER_NOTE = (
    f"[{_PUBLISHED}]: Tay et al. 2021, Table 2: byte text of 1K to 4K tokens, batch 32 on 4x4 TPU "
    "v3; other hardware, so compare ratios. Likely misprints there: Synthesizer's speed at 3K, "
    "Linformer's memory at 3K."
)


def _as_in_the_paper(group: Comparable, *, with_published: bool) -> list[Table]:
    """Return steps a second and peak memory in the form of the Long Range Arena's Table 2."""
    paper = published.speeds() if with_published and group.by == "length" else ()
    columns, shared = _paper_columns(group) if paper else (_stepped_columns(group), {})

    def with_paper(text: Text, printed: Callable[[Any, int], str]) -> pd.DataFrame:
        rows = [
            {"attention": f"{row.model} [{_PUBLISHED}]"}
            | {columns[length]: printed(row, k) for k, length in shared.items()}
            for row in paper
        ]
        return pd.DataFrame([*_grid(group, columns, text).to_dict("records"), *rows]).fillna("")

    def speed(row: Any, k: int) -> str:
        return f"{row.steps_per_second[k]:.1f} ({row.relative[k]:.1f})"

    steps = with_paper(_steps(group), speed)
    memory = with_paper(_gigabytes, lambda row, k: f"{row.gigabytes[k]:.2f}")
    note = _PAPER_NOTE if paper else ""
    how = "By the median wall time." if group.runs else "By the compiler's estimate of the time."
    return [
        _table(
            "steps a second (over softmax's)", steps, f"{how} {note} {_agreement(group, shared)}"
        ),
        _table("peak memory of a device, GB", memory, f"GB are 10^9 bytes. {note}"),
    ]


def _paper_columns(group: Comparable) -> tuple[dict[Any, str], dict[int, int]]:
    """Return headings by length, the paper's lengths among them, and those by thousands of tokens.

    The paper says 1K, which may be 1,000 or 1,024.
    """
    columns = _stepped_columns(group)
    near = {k: [x for x in (1024 * k, 1000 * k) if x in columns] for k in _THOUSANDS}
    shared = {k: lengths[0] if lengths else 1000 * k for k, lengths in near.items()}
    columns |= {length: f"{length:,}" for length in shared.values()}
    return dict(sorted(columns.items())), shared


def _stepped_columns(group: Comparable) -> dict[Any, str]:
    return _columns(group, _step_seconds)


def _step_seconds(row: Measured) -> float | None:
    """Return the seconds of a step: measured by the wall clock, else by the compiler's estimate.

    A table has rows of one kind only.
    """
    return row.wall.median if row.wall else row.estimated_seconds


def _over_softmax(group: Comparable, row: Measured) -> float | None:
    """Return how many times as fast as softmax a step is; None if one of the two is unknown."""
    seconds, key = _step_seconds(row), (row.setting.machine, _key(group, row))
    softmax = (
        _step_seconds(other)
        for other in group.rows
        if other.name == REFERENCE and (other.setting.machine, _key(group, other)) == key
    )
    base = next(softmax, None)
    return base / seconds if base and seconds else None


def _steps(group: Comparable) -> Text:
    """Return a text of steps a second, with their ratio to those of softmax where that ran."""
    mark = "" if group.runs else "~"

    def text(row: Measured) -> str:
        seconds, ratio = _step_seconds(row), _over_softmax(group, row)
        if not seconds:
            return _untimed(row) if group.runs else _unestimated(row)
        return mark + _digits(1 / seconds) + (f" ({_digits(ratio)})" if ratio else "")

    return text


def _agreement(group: Comparable, shared: dict[int, int]) -> str:
    """Return how the ratios to softmax correlate in rank with the paper's, in words.

    The paper's steps a second have the ranks of its ratios before they were rounded.

    Args:
        group: the cells.
        shared: the length that stands for each of the paper's, by thousands of tokens.
    """
    parts = []
    for thousands, length in shared.items():
        pairs = {
            row.name: (ratio, paper.steps_per_second[thousands])
            for row in group.rows
            if row.length == length
            and (paper := published.speed_of(row.name))
            and (ratio := _over_softmax(group, row))
        }
        ours, theirs = zip(*pairs.values(), strict=True) if pairs else ((), ())
        if (value := rank_correlation(ours, theirs)) is not None:
            parts.append(f"{value:.2f} at {length:,} tokens ({', '.join(sorted(pairs))})")
    what = "Spearman's rank correlation of the ratios to softmax with the paper's"
    return f"{what}: {'; '.join(parts)}." if parts else ""


def _gigabytes(row: Measured) -> str:
    """Return the peak memory in units of 10^9 bytes."""
    if not row.memory:
        return _untimed(row)
    return ("" if row.measured_bytes else "~") + f"{row.memory / 1e9:.2f}"
