"""The figure of a study: training accuracy or loss by step, a line for each run."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogFormatter, MaxNLocator

from lra_bench.ablation.studies import Ablation
from lra_bench.ablation.variants import Variant
from lra_bench.display import escape
from lra_bench.display.figures import series_style
from lra_bench.files.paths import unreadable
from lra_bench.records import metrics
from lra_bench.records.find import leave_out, leave_out_lines
from lra_bench.records.metrics import MetricsLine
from lra_bench.records.record import Record

_MOST_COLUMNS = 3
# Width and height of a panel, and room for the legend, in inches.
_PANEL, _LEGEND = (4.4, 3.4), 2.6
_AXES = {"accuracy": "training accuracy (%)", "loss": "training loss (nats)"}
# Where runs are marked that diverged before they wrote a line: a row for each colour.
_FIRST_ROW, _NEXT_ROW = 0.03, 0.035
Styles = Mapping[str, Mapping[str, Any]]


def figure(study: Ablation, variants: Sequence[Variant], title: str) -> Figure:
    """Draw the runs of all variants, with a cross where one diverged.

    A point is the mean over the steps since the point before, as the run logged them.

    Args:
        study: says what has a panel and what a colour.
        variants: what to draw.
        title: of the figure.
    """
    panels = _panels(study, variants)
    rows = -(-len(panels) // _MOST_COLUMNS)
    columns = -(-len(panels) // rows)
    size = (_PANEL[0] * columns + _LEGEND, _PANEL[1] * rows + 0.4)
    drawn = Figure(figsize=size, layout="constrained")
    drawn.suptitle(escape.figure(title), fontsize=11)
    together = len(study.quantities) == 1
    grid = drawn.subplots(rows, columns, squeeze=False, sharex=True, sharey=together)
    styles = _styles(study, variants)
    for axes, (heading, quantity, shown) in zip(grid.flat, panels, strict=False):
        _draw(axes, study, shown, quantity, styles)
        axes.set_title(escape.figure(heading), fontsize=10)
    for axes in grid.flat[len(panels) :]:
        axes.set_axis_off()
    drawn.legend(handles=_legend(styles, variants), loc="outside right center", fontsize=8)
    return drawn


def _panels(study: Ablation, variants: Sequence[Variant]) -> list[tuple[str, str, list[Variant]]]:
    """Return the heading, the quantity and the variants of each panel."""
    if study.panel is None:
        return [("", quantity, [*variants]) for quantity in study.quantities]
    column = list(study.columns).index(study.panel)
    texts = dict.fromkeys(variant.texts[column] for variant in variants)
    return [
        (f"{study.panel}: {text}", quantity, [x for x in variants if x.texts[column] == text])
        for quantity in study.quantities
        for text in texts
    ]


def _name(study: Ablation, variant: Variant, run: Record) -> str:
    """Return what has a colour: the variant apart from its panel, or else the seed."""
    titled = zip(study.columns, variant.texts, strict=True)
    return ", ".join(text for title, text in titled if title != study.panel) or f"seed {run.seed}"


def _styles(study: Ablation, variants: Sequence[Variant]) -> Styles:
    """Return the line of each name; not the looks of mechanisms, which are of one family here."""
    names = [_name(study, variant, run) for variant in variants for run in variant.runs]
    return {name: series_style(number) for number, name in enumerate(dict.fromkeys(names))}


def _draw(
    axes: Axes, study: Ablation, variants: Sequence[Variant], quantity: str, styles: Styles
) -> None:
    """Draw the runs of some variants."""
    rows = list(styles)
    for variant in variants:
        for run in variant.runs:
            name = _name(study, variant, run)
            _line(axes, run, quantity, styles[name], rows.index(name))
    chance = {run.chance for variant in variants for run in variant.runs}
    if quantity == "accuracy" and chance:
        axes.axhline(100 * min(chance), color="grey", linewidth=1, linestyle=":", zorder=0)
    axes.set(xlabel="step", ylabel=_AXES[quantity])
    axes.set_xscale("log" if study.early else "linear")
    axes.set_yscale("log" if quantity == "loss" else "linear")
    for axis in (axes.xaxis, axes.yaxis):
        _few_plain_ticks(axis)
    axes.tick_params(labelbottom=True, labelleft=True)
    axes.grid(alpha=0.3)


def _few_plain_ticks(axis: Axis) -> None:
    """Name few places of a linear axis, and plain numbers on a logarithmic one."""
    if axis.get_scale() == "linear":
        axis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
        return
    axis.set_major_formatter(LogFormatter())
    axis.set_minor_formatter(LogFormatter())


def _line(axes: Axes, run: Record, quantity: str, style: Mapping[str, Any], row: int) -> None:
    """Draw one run, its end marked; a cross marks the step where it diverged."""
    style = {**style, "linewidth": 1.0}
    lines = _training(run)
    steps = [line.step for line in lines]
    values = [100 * line.accuracy if quantity == "accuracy" else line.loss for line in lines]
    if lines:
        axes.plot(steps, values, **style, markevery=[-1], alpha=0.8)
    if run.status != "diverged":
        return
    cross = {"marker": "x", "markersize": 9, "markeredgewidth": 2, "color": style["color"]}
    if lines:
        axes.plot([steps[-1], run.steps], [values[-1]] * 2, linestyle=":", markevery=[1], **cross)
    else:
        place = axes.get_xaxis_transform()
        axes.plot([run.steps], [_FIRST_ROW + _NEXT_ROW * row], transform=place, **cross)


def _training(run: Record) -> list[MetricsLine]:
    """Return the training lines of the metrics beside a record."""
    if run.path is None:
        return []
    path = Path(run.path).with_name(metrics.FILE)
    try:
        lines, damaged = metrics.read_counting(path)
    except OSError as error:
        leave_out(f"{path}: unreadable: {unreadable(error)}")
        return []
    if damaged:
        leave_out_lines(damaged, path)
    return [line for line in lines if line.split == "train"]


def _legend(styles: Styles, variants: Sequence[Variant]) -> list[Line2D]:
    """Return what the legend shows: the lines, chance, and the cross if there is one."""
    handles = [Line2D([], [], label=escape.figure(name), **style) for name, style in styles.items()]
    handles.append(Line2D([], [], color="grey", linestyle=":", label="chance"))
    if any(run.status == "diverged" for variant in variants for run in variant.runs):
        cross = Line2D([], [], color="black", linestyle="", marker="x", markersize=9)
        cross.set_label("diverged")
        handles.append(cross)
    return handles
