"""Learning curves: validation accuracy by step, a panel for each task, with a band over seeds."""

import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lra_bench.display import escape
from lra_bench.display.figures import mark_series
from lra_bench.files.paths import unreadable
from lra_bench.leaderboard.results import Result
from lra_bench.records import metrics
from lra_bench.records.find import leave_out, leave_out_lines
from lra_bench.registry import family_of
from lra_bench.report import figure
from lra_bench.report.inputs import RunTable
from lra_bench.report.markup import Html, joined, tag
from lra_bench.report.styles import Styles, sample

_COLUMNS = 3
# Width and height of a panel, and room for a legend beside panels, in inches.
_SIZE = (4.6, 3.3)
_LEGEND = 2.4
# Markers on a line.
_MARKERS = 6
# Curves that a panel can show; the panels of more are by family.
_TOGETHER = 4
_OTHERS = {"color": "0.6", "linewidth": 0.6, "alpha": 0.7}


@dataclass(frozen=True)
class Curve:
    """The validation accuracies of a result's runs, at the steps that all of them have.

    Attributes:
        label: of the attention.
        task: by name.
        steps: in order.
        mean, low, high: over seeds, in [0, 1], a value for each step.
        seeds: number of runs.
    """

    label: str
    task: str
    steps: tuple[int, ...]
    mean: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    seeds: int


def curve(result: Result) -> Curve | None:
    """Return the curve of the runs that ended well; None if none has metrics beside its record."""
    ended = [_accuracies(run.path) for run in result.runs if run.status == "ok" and run.path]
    runs = [accuracies for accuracies in ended if accuracies]
    steps = sorted(set.intersection(*(set(run) for run in runs))) if runs else []
    if not steps:
        return None
    by_step = [[run[step] for run in runs] for step in steps]
    mean = tuple(sum(values) / len(values) for values in by_step)
    band = tuple(map(min, by_step)), tuple(map(max, by_step))
    return Curve(result.attention, result.task, tuple(steps), mean, *band, len(runs))


def _accuracies(record: Path) -> dict[int, float]:
    """Return the validation accuracies in the metrics beside a record, by step."""
    path = record.with_name(metrics.FILE)
    try:
        lines, damaged = metrics.read_counting(path)
    except OSError as error:
        leave_out(f"{path}: unreadable: {unreadable(error)}")
        return {}
    if damaged:
        leave_out_lines(damaged, path)
    return {line.step: line.accuracy for line in lines if line.split == "validation"}


def section(tables: list[RunTable], styles: Styles) -> tuple[Html | None, list[figure.NamedFigure]]:
    """Return a part for each table that has curves, and their figures; None if none has."""
    parts, images = [], []
    for run_table in tables:
        tried = [curve(result) for result in run_table.results]
        curves = [drawable for drawable in tried if drawable is not None]
        if curves:
            name = f"curves-{run_table.name}"
            parts.append(_part(run_table, curves, name, styles))
            images.append(figure.NamedFigure(name, _together(run_table, curves, styles)))
    return (joined(parts, "\n") if parts else None), images


def _part(run_table: RunTable, curves: list[Curve], name: str, styles: Styles) -> Html:
    panels = [
        _panel(run_table, panel, curves, f"{name}-{number}", styles)
        for number, panel in enumerate(_panels(run_table, curves))
    ]
    drawn = {each.label for each in curves}
    samples = {label: sample(styles[label]) for label in run_table.rows if label in drawn}
    return tag(
        "section",
        tag("h3", f"preset {run_table.title}"),
        figure.keys(samples),
        tag("div", *panels, class_="panels"),
        tag("p", caption(run_table, curves)),
        data_tags=run_table.tags,
    )


@dataclass(frozen=True)
class CurvePanel:
    """A panel of the figure.

    Attributes:
        task: whose curves are drawn.
        family: whose curves have their looks; the others are thin and grey. None for all.
    """

    task: str
    family: str | None

    @property
    def title(self) -> str:
        """Return what stands above the panel."""
        return f"{self.task}: {self.family}" if self.family else self.task


def _panels(run_table: RunTable, curves: list[Curve]) -> list[CurvePanel]:
    """Return a panel for each task, or one for each family of a task with many curves."""
    panels = []
    for task in _tasks(run_table, curves):
        families = _families(run_table, [each for each in curves if each.task == task])
        several = len(families) > 1 and sum(families.values()) > _TOGETHER
        panels += [CurvePanel(task, family) for family in (families if several else [None])]
    return panels


def _families(run_table: RunTable, curves: list[Curve]) -> dict[str, int]:
    """Return how many curves each family has, in the order of the best of each."""
    found = Counter(_family(run_table, each) for each in curves)
    best = {_family(run_table, each): each.mean[-1] for each in sorted(curves, key=_last)}
    return {family: found[family] for family in sorted(found, key=lambda name: -best[name])}


def _last(curve: Curve) -> float:
    return curve.mean[-1]


def _family(run_table: RunTable, curve: Curve) -> str:
    """Return the family of a curve in words; identity stands beside exact attention."""
    name = family_of(run_table.rows[curve.label][curve.task].attention_name)
    return "exact and identity" if name in ("exact", "bound") else name


def _tasks(run_table: RunTable, curves: list[Curve]) -> list[str]:
    """Return the tasks that have a curve."""
    drawn = {each.task for each in curves}
    return [task for task in run_table.tasks if task in drawn]


def caption(run_table: RunTable, curves: list[Curve]) -> str:
    """Return sentences on how to read the curves."""
    several = any(each.seeds > 1 for each in curves)
    by_family = any(panel.family for panel in _panels(run_table, curves))
    band = ", mean over seeds, the band from the least to the greatest" if several else ""
    others = (
        " Each panel shows a family; the thin grey lines are all the others." if by_family else ""
    )
    return f"Validation accuracy{band}; dotted: chance.{others}"


def _panel(
    run_table: RunTable, panel: CurvePanel, curves: list[Curve], name: str, styles: Styles
) -> Html:
    drawn = Figure(figsize=_SIZE, layout="constrained")
    _draw(drawn.subplots(), run_table, panel, curves, styles)
    return figure.shown(figure.NamedFigure(name, drawn), f"Learning curves, {panel.title}")


def _together(run_table: RunTable, curves: list[Curve], styles: Styles) -> Figure:
    """Draw all panels in one figure with a legend, for a file."""
    panels = _panels(run_table, curves)
    columns = min(len(panels), _COLUMNS)
    rows = math.ceil(len(panels) / columns)
    size = (_SIZE[0] * columns + _LEGEND, _SIZE[1] * rows)
    drawn = Figure(figsize=size, layout="constrained")
    grid = drawn.subplots(rows, columns, squeeze=False)
    for axes in grid.flat[len(panels) :]:
        axes.set_axis_off()
    for axes, panel in zip(grid.flat, panels, strict=False):
        _draw(axes, run_table, panel, curves, styles)
    lines = {str(line.get_label()): line for axes in grid.flat for line in axes.lines}
    labels = map(escape.figure, run_table.rows)
    shown = [lines[label] for label in labels if label in lines]
    drawn.legend(handles=shown, loc="outside right center", fontsize=9, handlelength=3)
    return drawn


def _draw(
    axes: Axes, run_table: RunTable, panel: CurvePanel, curves: list[Curve], styles: Styles
) -> None:
    """Draw the curves of one panel, and chance."""
    of_task = [each for each in curves if each.task == panel.task]
    for each in of_task:
        if panel.family in (None, _family(run_table, each)):
            _line(axes, each, styles[each.label])
        else:
            axes.plot(each.steps, _percent(each.mean), zorder=1, **_OTHERS)
    chance = 100 * run_table.board.chance[panel.task]
    axes.axhline(chance, color="grey", linewidth=1.2, linestyle=":", zorder=0)
    # All panels of a task have the same ends, so that they compare.
    values = [chance, *(100 * x for each in of_task for x in (*each.low, *each.high))]
    margin = 0.05 * (max(values) - min(values)) or 1
    axes.set_ylim(min(values) - margin, max(values) + margin)
    axes.set_title(escape.figure(panel.title), fontsize=11)
    axes.set_xlabel("step")
    axes.set_ylabel("validation accuracy (%)")
    axes.xaxis.get_major_locator().set_params(integer=True, nbins=5)  # type: ignore[attr-defined]
    axes.grid(alpha=0.3)


def _line(axes: Axes, curve: Curve, style: dict[str, Any]) -> None:
    """Draw a line with few markers, and its band over seeds between thin edges."""
    every = max(1, len(curve.steps) // _MARKERS)
    look = {**style, "markersize": 4, "markevery": every}
    drawn: list[Artist] = [
        *axes.plot(curve.steps, _percent(curve.mean), label=escape.figure(curve.label), **look)
    ]
    if curve.seeds > 1:
        ends = (_percent(curve.low), _percent(curve.high))
        band = axes.fill_between(
            curve.steps, *ends, facecolor=style["color"], alpha=0.13, linewidth=0
        )
        drawn += [band]
        for end in ends:
            drawn += axes.plot(curve.steps, end, color=style["color"], linewidth=0.5, alpha=0.7)
    mark_series(curve.label, *drawn)


def _percent(accuracies: tuple[float, ...]) -> list[float]:
    return [100 * accuracy for accuracy in accuracies]
