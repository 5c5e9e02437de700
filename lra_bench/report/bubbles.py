"""Fig. 3 of the LRA paper: accuracy against speed, the area being memory."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from lra_bench.display.units import size_text
from lra_bench.leaderboard import results
from lra_bench.leaderboard.board import in_order
from lra_bench.leaderboard.results import Result
from lra_bench.registry import REFERENCE
from lra_bench.report import figure
from lra_bench.report.inputs import RunTable
from lra_bench.report.label_placement import Dot, place
from lra_bench.report.markup import Html, folded, joined, table, tag
from lra_bench.report.ratios import TIMES, geometric_mean
from lra_bench.report.styles import Styles

_FEWEST = 3
# Areas in square points.
_LARGEST, _UNKNOWN = 1_500.0, 30.0
# Percent on the axis at least, lest noise look like a difference.
_LEAST_SPAN = 4.0
_SPEED: results.Figure = "steps_per_second"
_MEMORY: results.Figure = "peak_memory_bytes"
Cells = Mapping[str, Result]


@dataclass(frozen=True)
class Point:
    """One attention.

    Attributes:
        speed: steps/s over softmax's.
        accuracy: in [0, 1].
        memory: bytes; None where it isn't known of each task.
    """

    label: str
    speed: float
    accuracy: float
    memory: float | None


@dataclass(frozen=True)
class Chart:
    """What can be compared: attentions that have results on the same tasks and device.

    Attributes:
        tasks: that accuracies are averaged over.
        timed: those of them that softmax's speed is known of.
        left_out: attentions that lack some of these.
    """

    setting: RunTable
    device: str
    tasks: tuple[str, ...]
    timed: tuple[str, ...]
    points: tuple[Point, ...]
    left_out: tuple[str, ...]


def charts(settings: list[RunTable]) -> list[Chart]:
    """One for each setting and device that has enough."""
    found = [chart(setting, device) for setting in settings for device in setting.devices]
    return [one for one in found if one is not None]


def chart(setting: RunTable, device: str) -> Chart | None:
    """Over the tasks that give the most cells; None for fewer than three attentions."""
    rows = setting.on(device)
    base = rows.get(REFERENCE, {})
    has = {label: _usable(row, base) for label, row in rows.items()}
    learned = {t for row in rows.values() for t, cell in row.items() if not cell.failure()}
    best: tuple[str, ...] = ()
    for tasks in _candidates([frozenset(one & learned) for one in has.values()]):
        found = [label for label, one in has.items() if tasks <= one]
        if len(found) >= _FEWEST and any(base[t].median(_SPEED) for t in tasks if t in base):
            best = max(best, in_order(tasks), key=lambda ts: _worth(ts, has))
    return _made(setting, device, rows, best, has) if best else None


def _usable(row: Cells, base: Cells) -> set[str]:
    """Tasks with an accuracy, and with a speed where softmax has one."""
    return {
        task
        for task, cell in row.items()
        if cell.mean is not None
        and not (task in base and base[task].median(_SPEED) and not cell.median(_SPEED))
    }


def _candidates(sets: list[frozenset[str]]) -> list[frozenset[str]]:
    """All that some of the sets have in common, always in the same order."""
    found: set[frozenset[str]] = set()
    for one in sets:
        found |= {one} | {one & other for other in found}
    return sorted(found - {frozenset()}, key=sorted)


def _worth(tasks: tuple[str, ...], has: Mapping[str, set[str]]) -> tuple[int, int]:
    """How many cells it shows; of equal ones the more tasks."""
    shown = sum(set(tasks) <= one for one in has.values())
    return len(tasks) * shown, len(tasks)


def _made(
    setting: RunTable,
    device: str,
    rows: Mapping[str, Cells],
    tasks: tuple[str, ...],
    has: Mapping[str, set[str]],
) -> Chart:
    base = rows[REFERENCE]
    timed = tuple(task for task in tasks if task in base and base[task].median(_SPEED))
    shown = [label for label in rows if set(tasks) <= has[label]]
    points = tuple(_point(label, rows[label], base, tasks, timed) for label in shown)
    left_out = tuple(sorted(rows.keys() - set(shown)))
    return Chart(setting, device, tasks, timed, points, left_out)


def _point(
    label: str, row: Cells, base: Cells, tasks: tuple[str, ...], timed: tuple[str, ...]
) -> Point:
    speeds = [(row[t].median(_SPEED) or 0) / (base[t].median(_SPEED) or 1) for t in timed]
    memory = [found for t in tasks if (found := row[t].median(_MEMORY))]
    return Point(
        label,
        geometric_mean(speeds) or 0,
        sum(row[t].mean or 0 for t in tasks) / len(tasks),
        geometric_mean(memory) if len(memory) == len(tasks) else None,
    )


def section(settings: list[RunTable], styles: Styles) -> tuple[Html, list[figure.NamedFigure]]:
    """The charts; or a sentence, if there is too little for any."""
    found = charts(settings)
    if not found:
        said = (
            "Too few runs for a chart of accuracy against speed: it takes softmax and two other "
            "attentions with results on the same tasks, setting and device."
        )
        return tag("p", said), []
    names = [f"bubbles-{number}" for number in range(1, len(found) + 1)]
    names = names if len(names) > 1 else ["bubbles"]
    images = [figure.NamedFigure(n, draw(c, styles)) for n, c in zip(names, found, strict=True)]
    parts = [_shown(c, image) for c, image in zip(found, images, strict=True)]
    return joined(parts, "\n"), images


def _shown(chart: Chart, image: figure.NamedFigure) -> Html:
    title = f"preset {chart.setting.title}"
    drawn = figure.shown(image, f"Accuracy against speed, {title}", caption(chart))
    body = [
        [p.label, f"{100 * p.accuracy:.1f}", f"{p.speed:.2f}{TIMES}",
         size_text(p.memory) if p.memory else ""]
        for p in chart.points
    ]  # fmt: skip
    head = ["attention", "accuracy %", "steps/s / softmax's", "peak memory"]
    figures = folded("The figures", table(head, body, caption=title, class_="sortable"))
    return tag("section", tag("h3", title), drawn, figures, data_tags=chart.setting.tags)


def caption(chart: Chart) -> str:
    """What was averaged over what."""
    one = len(chart.tasks) == 1
    tasks = chart.tasks[0] if one else f"the mean over {', '.join(chart.tasks)}"
    over = "" if one else f", geometric mean over {', '.join(chart.timed)}"
    lost = f" Left out, for want of some of these: {', '.join(chart.left_out)}."
    unknown = [point.label for point in chart.points if point.memory is None]
    dots = f" A small dot: memory not known ({', '.join(unknown)})." if unknown else ""
    where = f"All on {chart.device}, {_seeds(chart)} a cell."
    process = " On CPU that is the whole process's." if "cpu" in _platforms(chart) else ""
    return (
        f"Test accuracy, {tasks}; training steps a second over softmax's{over}; area: peak memory"
        f"{'' if one else ', geometric mean'}.{process} {where}{dots}"
        f"{lost if chart.left_out else ''}"
    )


def _seeds(chart: Chart) -> str:
    names = {point.label for point in chart.points}
    rows = [row for name, row in chart.setting.on(chart.device).items() if name in names]
    counts = [len(row[task].accuracies) for row in rows for task in chart.tasks]
    low, high = min(counts), max(counts)
    return f"{low} to {high} seeds" if low < high else f"{low} seed{'' if low == 1 else 's'}"


def _platforms(chart: Chart) -> set[str]:
    runs = [run for cell in chart.setting.cells for run in cell.runs]
    return {str(run.environment.device_kind) for run in runs if run.environment}


def draw(chart: Chart, styles: Styles) -> Figure:
    """The figure."""
    made = Figure(figsize=(7.2, 4.6), layout="constrained")
    axes = made.subplots()
    largest = max((p.memory for p in chart.points if p.memory), default=None)
    areas = {p.label: _area(p.memory, largest) for p in chart.points}
    for point in sorted(chart.points, key=lambda point: -areas[point.label]):
        colour = styles[point.label]["color"]
        axes.scatter(point.speed, 100 * point.accuracy, s=areas[point.label], color=colour,
                     alpha=0.55, edgecolors=colour, linewidths=1.2, zorder=2)  # fmt: skip
    _axes(axes, chart)
    _sizes(axes, largest)
    dots = [
        Dot(p.speed, 100 * p.accuracy, (areas[p.label] / math.pi) ** 0.5, p.label)
        for p in chart.points
    ]
    place(axes, dots)
    return made


def _area(memory: float | None, largest: float | None) -> float:
    return _LARGEST * memory / largest if memory and largest else _UNKNOWN


def _axes(axes: Axes, chart: Chart) -> None:
    """Speed on a log scale where it spans more than a factor of three."""
    speeds = [point.speed for point in chart.points]
    one = len(chart.tasks) == 1
    axes.set_xlabel("training speed / softmax's (steps/s)")
    axes.set_ylabel(f"{chart.tasks[0]} accuracy (%)" if one else "mean accuracy (%)")
    if max(speeds) > 3 * min(speeds):
        axes.set_xscale("log", base=2)
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}{TIMES}"))
    axes.margins(0.18, 0.2)
    low, high = axes.get_ylim()
    lacking = max(0, _LEAST_SPAN - (high - low)) / 2
    axes.set_ylim(low - lacking, high + lacking)
    axes.axvline(1, color="grey", linewidth=1, linestyle=":", zorder=0)
    axes.grid(alpha=0.3)


def _sizes(axes: Axes, largest: float | None) -> None:
    """Two bubbles that say what an area is."""
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
