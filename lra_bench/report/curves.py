"""Learning curves: validation accuracy by step, with a band over seeds; a panel a task."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lra_bench.leaderboard.results import Result
from lra_bench.records import metrics
from lra_bench.report import figure
from lra_bench.report.inputs import RunTable
from lra_bench.report.markup import Html, joined, tag
from lra_bench.report.styles import Styles, sample

_COLUMNS = 3
_SIZE = (4.6, 3.3)


@dataclass(frozen=True)
class Curve:
    """Validation accuracies of a cell's runs, in [0, 1], at the steps that all of them have."""

    label: str
    task: str
    steps: tuple[int, ...]
    mean: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    seeds: int


def curve(cell: Result) -> Curve | None:
    """Of the runs that ended well; None without any that has its metrics beside its record."""
    found = [_accuracies(run.path) for run in cell.runs if run.status == "ok" and run.path]
    runs = [run for run in found if run]
    steps = sorted(set.intersection(*(set(run) for run in runs))) if runs else []
    if not steps:
        return None
    at = [[run[step] for run in runs] for step in steps]
    mean = tuple(sum(values) / len(values) for values in at)
    ends = tuple(map(min, at)), tuple(map(max, at))
    return Curve(cell.attention, cell.task, tuple(steps), mean, *ends, len(runs))


def _accuracies(record: Path) -> dict[int, float]:
    """Return the validation accuracies in the metrics beside a record, by step."""
    try:
        lines = metrics.read(record.with_name(metrics.FILE))
    except OSError:
        return {}
    return {line.step: line.accuracy for line in lines if line.split == "validation"}


def section(
    settings: list[RunTable], styles: Styles
) -> tuple[Html | None, list[figure.NamedFigure]]:
    """Of each setting that has any; None if none has."""
    parts, images = [], []
    for setting in settings:
        found = [one for cell in setting.cells if (one := curve(cell))]
        if found:
            name = f"curves-{setting.name}"
            parts.append(_setting(setting, found, name, styles))
            images.append(figure.NamedFigure(name, _together(setting, found, styles)))
    return (joined(parts, "\n") if parts else None), images


def _setting(setting: RunTable, found: list[Curve], name: str, styles: Styles) -> Html:
    panels = [
        _panel(setting, task, found, f"{name}-{number}", styles)
        for number, task in enumerate(setting.tasks)
        if any(one.task == task for one in found)
    ]
    labels = [label for label in setting.rows if any(one.label == label for one in found)]
    samples = {label: sample(styles[label]) for label in labels}
    return tag(
        "section",
        tag("h3", f"preset {setting.title}"),
        figure.keys(samples),
        tag("div", *panels, class_="panels"),
        tag("p", caption(found)),
        data_tags=setting.tags,
    )


def caption(found: Iterable[Curve]) -> str:
    """How to read them."""
    several = any(one.seeds > 1 for one in found)
    band = ", mean over seeds, the band from the least to the greatest" if several else ""
    return f"Validation accuracy{band}; dotted: always the commonest answer of the test split."


def _panel(setting: RunTable, task: str, found: list[Curve], name: str, styles: Styles) -> Html:
    made = Figure(figsize=_SIZE, layout="constrained")
    _draw(made.subplots(), setting, task, found, styles)
    return figure.shown(figure.NamedFigure(name, made), f"Learning curves on {task}")


def _together(setting: RunTable, found: list[Curve], styles: Styles) -> Figure:
    """All panels in one figure, with a legend: for a file."""
    tasks = [task for task in setting.tasks if any(one.task == task for one in found)]
    columns = min(len(tasks), _COLUMNS)
    rows = math.ceil(len(tasks) / columns)
    size = (_SIZE[0] * columns + 2.4, _SIZE[1] * rows)
    made = Figure(figsize=size, layout="constrained")
    grid = made.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, task in zip(grid.flat, tasks, strict=False):
        axes.set_axis_on()
        _draw(axes, setting, task, found, styles)
    lines = {str(line.get_label()): line for axes in grid.flat for line in axes.lines}
    shown = {label: lines[label] for label in setting.rows if label in lines}
    made.legend(handles=list(shown.values()), loc="outside right center", fontsize=9)
    return made


def _draw(axes: Axes, setting: RunTable, task: str, found: list[Curve], styles: Styles) -> None:
    for one in found:
        if one.task == task:
            _line(axes, one, styles[one.label])
    chance = next(cell.chance for cell in setting.cells if cell.task == task)
    axes.axhline(100 * chance, color="grey", linewidth=1.2, linestyle=":", zorder=0)
    axes.set_title(task, fontsize=11)
    axes.set_xlabel("step")
    axes.set_ylabel("validation accuracy (%)")
    axes.xaxis.get_major_locator().set_params(integer=True, nbins=5)  # type: ignore[attr-defined]
    axes.grid(alpha=0.3)


def _line(axes: Axes, one: Curve, style: dict[str, Any]) -> None:
    """A line with few markers, and its band."""
    percent: Callable[[tuple[float, ...]], list[float]] = lambda ys: [100 * y for y in ys]  # noqa: E731
    every = max(1, len(one.steps) // 6)
    look = {**style, "markersize": 3.5}
    axes.plot(one.steps, percent(one.mean), label=one.label, markevery=every, **look)
    if one.seeds > 1:
        axes.fill_between(one.steps, percent(one.low), percent(one.high), color=style["color"],
                          alpha=0.2, linewidth=0)  # fmt: skip
