"""Figures like Fig. 3 of the LRA paper: accuracy against speed, with memory as the area."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from lra_bench.display import escape
from lra_bench.display.figures import mark_series
from lra_bench.display.label_placement import Dot, place_labels
from lra_bench.display.units import size_text
from lra_bench.leaderboard.board import in_order
from lra_bench.leaderboard.results import Result
from lra_bench.registry import REFERENCE
from lra_bench.report import figure
from lra_bench.report.inputs import RunTable
from lra_bench.report.markup import Html, TableCell, folded, joined, table, tag
from lra_bench.report.ratios import TIMES, geometric_mean
from lra_bench.report.styles import Styles

# Attentions that a chart needs.
_FEWEST = 3
# Areas in square points.
_LARGEST, _UNKNOWN = 1_500.0, 30.0
# The axis of accuracy spans at least so many percentage points, or noise would look large.
_LEAST_SPAN = 4.0
# Where speeds differ by more than this factor, their axis is logarithmic.
_LOG_FROM = 3
# The results of an attention, by task.
Results = Mapping[str, Result]


@dataclass(frozen=True)
class Point:
    """An attention in a chart.

    Attributes:
        label: of the attention.
        speed: training steps per second over those of softmax.
        accuracy: mean over tasks, in [0, 1].
        memory: peak memory in bytes, geometric mean over tasks; None if unknown for a task.
    """

    label: str
    speed: float
    accuracy: float
    memory: float | None


@dataclass(frozen=True)
class Chart:
    """The attentions of a table that have results on the same tasks and device.

    Attributes:
        run_table: that the results are from.
        device: in words.
        tasks: over which accuracies are averaged.
        timed: the tasks for which the speed of softmax is known.
        points: one for each attention shown.
        left_out: attentions that lack one of the tasks.
    """

    run_table: RunTable
    device: str
    tasks: tuple[str, ...]
    timed: tuple[str, ...]
    points: tuple[Point, ...]
    left_out: tuple[str, ...]

    @property
    def accuracy_name(self) -> str:
        """Return the one task, or "mean"."""
        return self.tasks[0] if len(self.tasks) == 1 else "mean"


def charts(tables: list[RunTable]) -> list[Chart]:
    """Return a chart for each table and device with enough results."""
    tried = [chart(run_table, device) for run_table in tables for device in run_table.devices]
    return [drawable for drawable in tried if drawable is not None]


def chart(run_table: RunTable, device: str) -> Chart | None:
    """Return the chart of the tasks that show the most results; None for too few attentions."""
    rows = run_table.on(device)
    usable = {label: _usable(row, rows.get(REFERENCE, {})) for label, row in rows.items()}
    tasks = _best_tasks(rows, usable)
    if not tasks:
        return None
    base = rows[REFERENCE]
    timed = tuple(task for task in tasks if _has_speed(base, task))
    shown = [label for label in rows if set(tasks) <= usable[label]]
    points = tuple(_point(label, rows[label], base, tasks, timed) for label in shown)
    left_out = tuple(sorted(rows.keys() - set(shown)))
    return Chart(run_table, device, tasks, timed, points, left_out)


def _usable(row: Results, base: Results) -> frozenset[str]:
    """Return the tasks with an accuracy, and with a speed if softmax has one."""
    return frozenset(
        task
        for task, result in row.items()
        if result.mean is not None and (_has_speed(row, task) or not _has_speed(base, task))
    )


def _has_speed(row: Results, task: str) -> bool:
    return task in row and bool(row[task].median("steps_per_second"))


def _best_tasks(
    rows: Mapping[str, Results], usable: Mapping[str, frozenset[str]]
) -> tuple[str, ...]:
    """Return the tasks that show the most results; of equal choices, the one with more tasks."""
    base = rows.get(REFERENCE, {})
    learned = {
        task for row in rows.values() for task, result in row.items() if not result.failure()
    }
    best: tuple[str, ...] = ()
    most = (0, 0)
    for tasks in _candidates([tasks & learned for tasks in usable.values()]):
        shown = sum(tasks <= others for others in usable.values())
        worth = (len(tasks) * shown, len(tasks))
        if shown >= _FEWEST and worth > most and any(_has_speed(base, task) for task in tasks):
            best, most = in_order(tasks), worth
    return best


def _candidates(sets: list[frozenset[str]]) -> list[frozenset[str]]:
    """Return all nonempty intersections of some of the sets, always in the same order."""
    candidates: set[frozenset[str]] = set()
    for tasks in sets:
        candidates |= {tasks} | {tasks & others for others in candidates}
    return sorted(candidates - {frozenset()}, key=sorted)


def _point(
    label: str, row: Results, base: Results, tasks: tuple[str, ...], timed: tuple[str, ...]
) -> Point:
    speeds = [_speed(row[task]) / _speed(base[task]) for task in timed]
    memories = [row[task].median("peak_memory_bytes") for task in tasks]
    measured = [memory for memory in memories if memory]
    return Point(
        label,
        geometric_mean(speeds) or 0,
        sum(row[task].mean or 0 for task in tasks) / len(tasks),
        geometric_mean(measured) if len(measured) == len(tasks) else None,
    )


def _speed(result: Result) -> float:
    """Return the median speed of a result that has one, in steps per second."""
    speed = result.median("steps_per_second")
    assert speed is not None, "charts are of results with a speed"
    return speed


def section(tables: list[RunTable], styles: Styles) -> tuple[Html | None, list[figure.NamedFigure]]:
    """Return the charts and their figures; None if there are too few results for any."""
    drawn = charts(tables)
    if not drawn:
        return None, []
    parts, images = [], []
    for number, each in enumerate(drawn, 1):
        name = "bubbles" if len(drawn) == 1 else f"bubbles-{number}"
        images.append(figure.NamedFigure(name, draw(each, styles)))
        parts.append(_part(each, images[-1]))
    return joined(parts, "\n"), images


def _part(chart: Chart, image: figure.NamedFigure) -> Html:
    title = f"preset {chart.run_table.title}"
    drawn = figure.shown(image, f"Accuracy against speed, {title}", caption(chart))
    head = ["attention", "accuracy %", "steps/s / softmax's", "peak memory"]
    body = [_row(point) for point in chart.points]
    figures = folded("The figures", table(head, body, caption=title, class_="sortable"))
    return tag("section", tag("h3", title), drawn, figures, data_tags=chart.run_table.tags)


def _row(point: Point) -> list[object]:
    memory = size_text(point.memory) if point.memory else ""
    cell = TableCell(tag("td", memory, data_value=f"{point.memory or 0:.0f}"))
    return [point.label, f"{100 * point.accuracy:.1f}", f"{point.speed:.2f}{TIMES}", cell]


def caption(chart: Chart) -> str:
    """Return sentences on what the chart shows, and over which tasks it averages."""
    several = len(chart.tasks) > 1
    tasks = f"the mean over {', '.join(chart.tasks)}" if several else chart.tasks[0]
    timed = f", geometric mean over {', '.join(chart.timed)}" if several else ""
    unknown = [point.label for point in chart.points if point.memory is None]
    sentences = [
        f"Test accuracy, {tasks}; training steps a second over softmax's{timed}; area: peak memory"
        f"{', geometric mean' if several else ''}.",
        "On CPU that is the memory of the whole process." if "cpu" in _device_kinds(chart) else "",
        f"All on {chart.device}, {_seeds(chart)} a cell.",
        f"A small dot: memory not known ({', '.join(unknown)})." if unknown else "",
        f"Left out, as some of these are missing: {', '.join(chart.left_out)}."
        if chart.left_out
        else "",
    ]
    return " ".join(filter(None, sentences))


def _seeds(chart: Chart) -> str:
    """Return the number of seeds that results have an accuracy of, such as "2 to 3 seeds"."""
    rows = chart.run_table.on(chart.device)
    shown = [rows[point.label] for point in chart.points]
    counts = [len(row[task].accuracies) for row in shown for task in chart.tasks]
    low, high = min(counts), max(counts)
    return f"{low} to {high} seeds" if low < high else f"{low} seed{'' if low == 1 else 's'}"


def _device_kinds(chart: Chart) -> set[str]:
    environments = [run.environment for run in chart.run_table.runs]
    return {str(environment.device_kind) for environment in environments if environment}


def draw(chart: Chart, styles: Styles) -> Figure:
    """Draw a chart."""
    drawn = Figure(figsize=(7.2, 4.6), layout="constrained")
    axes = drawn.subplots()
    largest = max((p.memory for p in chart.points if p.memory), default=None)
    areas = {p.label: _area(p.memory, largest) for p in chart.points}
    for point in sorted(chart.points, key=lambda point: -areas[point.label]):
        colour = styles[point.label]["color"]
        drawn_point = axes.scatter(
            point.speed, 100 * point.accuracy, s=areas[point.label], color=colour, alpha=0.55,
            edgecolors=colour, linewidths=1.2, zorder=2,
        )  # fmt: skip
        mark_series(point.label, drawn_point)
    _axes(axes, chart)
    _legend(axes, largest)
    radii = {label: math.sqrt(area / math.pi) for label, area in areas.items()}
    dots = [Dot(p.speed, 100 * p.accuracy, radii[p.label], p.label) for p in chart.points]
    place_labels(axes, dots)
    return drawn


def _area(memory: float | None, largest: float | None) -> float:
    """Return the area of a bubble, in square points."""
    return _LARGEST * memory / largest if memory and largest else _UNKNOWN


def _axes(axes: Axes, chart: Chart) -> None:
    """Set up the axes; speed is on a log scale if it spans a large factor."""
    speeds = [point.speed for point in chart.points]
    axes.set_xlabel("training speed / softmax's (steps/s)")
    axes.set_ylabel(f"{escape.figure(chart.accuracy_name)} accuracy (%)")
    if max(speeds) > _LOG_FROM * min(speeds):
        axes.set_xscale("log", base=2)
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}{TIMES}"))
    axes.margins(0.18, 0.2)
    low, high = axes.get_ylim()
    lacking = max(0, _LEAST_SPAN - (high - low)) / 2
    axes.set_ylim(low - lacking, high + lacking)
    axes.axvline(1, color="grey", linewidth=1, linestyle=":", zorder=0)
    axes.grid(alpha=0.3)


def _legend(axes: Axes, largest: float | None) -> None:
    """Add two bubbles that tell the memory of their areas."""
    if largest is None:
        return
    handles = [
        axes.scatter([], [], s=_LARGEST * share, color="grey", alpha=0.5, linewidths=0,
                     label=size_text(share * largest))
        for share in (1, 0.25)
    ]  # fmt: skip
    axes.legend(handles=handles, title="peak memory", loc="center left", labelspacing=3.2,
                bbox_to_anchor=(1.01, 0.5), frameon=False, borderpad=1.2, handletextpad=1.6,
                fontsize=9, title_fontsize=9)  # fmt: skip
