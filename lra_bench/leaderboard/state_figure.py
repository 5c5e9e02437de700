"""The figure of accuracy against the bytes that mechanisms keep: a panel for each task."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullFormatter

from lra_bench.display import escape
from lra_bench.display.label_placement import Dot, place_labels
from lra_bench.display.looks import looks
from lra_bench.display.units import size_text
from lra_bench.leaderboard.results import Result
from lra_bench.leaderboard.state import Panel
from lra_bench.registry import family_of

_SIZE = (7.5, 7.5)  # of a panel, in inches
_RADIUS = 3.0  # of a marker, in points
_NAMES = 7.0  # size of the names, in points
# Entries of the legend that have room below a panel.
_ENTRIES = 5
_CHANCE: dict[str, Any] = {"color": "black", "linestyle": ":"}
Styles = Mapping[str, Mapping[str, Any]]


def draw(panels: Sequence[Panel]) -> Figure:
    """Draw mean test accuracy against the bytes of state, and the accuracy of each seed.

    The axis of bytes is logarithmic, so mechanisms without state are dashed lines, and chance is a
    dotted line. Results without an accuracy, or of unknown state, are left out.
    """
    families = {
        result.attention: family_of(result.attention_name)
        for panel in panels
        for result in panel.results
    }
    styles = looks(families)
    width, height = _SIZE
    figure = Figure(figsize=(width * len(panels), height), layout="constrained")
    for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        _panel(axes, panel, styles)
    if len({*families.values()}) > 1:
        handles = _families(families, styles)
        columns = min(len(handles), _ENTRIES * len(panels))
        figure.legend(handles=handles, loc="outside lower center", ncols=columns, fontsize=9)
    # Names are placed where the axes are when the figure is written.
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for axes, panel in zip(figure.axes, panels, strict=True):
        place_labels(axes, [_dot(panel, result) for result in _drawn(panel)], _NAMES)
    return figure


def _drawn(panel: Panel) -> list[Result]:
    """Return the results that are points."""
    return [each for each in panel.results if panel.states[each.attention] and each.mean]


def _dot(panel: Panel, result: Result) -> Dot:
    state, mean = panel.states[result.attention], result.mean
    assert state is not None
    assert mean is not None
    return Dot(state, 100 * mean, _RADIUS, result.attention)


def _panel(axes: Axes, panel: Panel, styles: Styles) -> None:
    """Draw the points of a task, and its lines."""
    axes.set_xscale("log", base=2)
    for result in _drawn(panel):
        dot, style = _dot(panel, result), styles[result.attention]
        _seeds(axes, dot.x, [100 * accuracy for accuracy in result.accuracies], style["color"])
        looks = {"color": style["color"], "marker": style["marker"] or "o", "linestyle": ""}
        axes.plot(dot.x, dot.y, markersize=2 * _RADIUS, **looks)
    _lines(axes, panel, styles)
    axes.set_title(escape.figure(f"{panel.task}, {panel.setting}"), loc="right")
    axes.set_xlabel("state of a layer for one sequence")
    axes.set_ylabel("test accuracy (%)")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: size_text(x)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.margins(x=0.15)
    axes.set_ylim(0, 110)
    axes.grid(alpha=0.3)


def _seeds(axes: Axes, x: float, percent: Sequence[float], color: str) -> None:
    """Draw a small dot for each seed on a pale line, behind the means and the names."""
    axes.plot([x] * len(percent), percent, color=color, alpha=0.3, linewidth=1, zorder=1)
    axes.plot([x] * len(percent), percent, ".", color=color, alpha=0.5, markersize=4, zorder=1)


def _lines(axes: Axes, panel: Panel, styles: Styles) -> None:
    """Draw chance, and each mechanism that has no state; the legend above names them."""
    lines = [("chance", panel.chance)]
    lines += [
        (each.attention, each.mean)
        for each in panel.results
        if panel.states[each.attention] == 0 and each.mean
    ]
    for number, (name, mean) in enumerate(lines):
        text = escape.figure(f"{100 * mean:.1f} % {name}")
        own: dict[str, Any] = (
            {"color": styles[name]["color"], "linestyle": "--"} if number else _CHANCE
        )
        axes.axhline(100 * mean, linewidth=1.2, zorder=1, label=text, **own)
    above = {"loc": "lower left", "bbox_to_anchor": (0, 1.0)}
    axes.legend(ncols=2, fontsize=8, frameon=False, **above)


def _families(families: Mapping[str, str], styles: Styles) -> list[Line2D]:
    """Return an entry of the legend for each colour, which names its families."""
    names: dict[str, list[str]] = {}
    for label, family in sorted(families.items(), key=lambda item: item[1]):
        of_colour = names.setdefault(styles[label]["color"], [])
        if family not in of_colour and family != "bound":
            of_colour.append(family)
    return [
        Line2D([], [], color=colour, marker="o", linestyle="", label=", ".join(of_colour))
        for colour, of_colour in names.items()
        if of_colour
    ]
