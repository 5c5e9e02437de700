"""Draw time and memory against the length, and time against layers."""

import re
import textwrap
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from lra_bench.display import escape
from lra_bench.display.figures import log_axes, mark_series
from lra_bench.display.looks import looks
from lra_bench.registry import family_of
from lra_bench.scaling.groups import PASSES, Comparable, Heading
from lra_bench.scaling.rows import Measured

# Characters of a title, and of the settings in the name of a file.
_LONGEST_TITLE, _LONGEST_NAME = 400, 100
_ENTRIES = 26  # of a column of a legend
_UNGROUPED = 9  # entries of a legend that needs no headings
# Of lines that the compiler predicts, beside markers that are measured.
_PREDICTED = {"linestyle": (0, (2, 1.5)), "linewidth": 0.9}
# The name of identity in the Performer paper's figures.
_OPTIMUM = "X (OPT)"
_ENDS = {"out_of_memory": ("x", "out of memory beyond"), "timed_out": ("4", "over the time limit")}
_TITLES = {"time": "Time by length", "memory": "Memory by length", "layers": "Time by layers"}
_NOTES = {
    "time": "Median of a call, bars from quartile to quartile. "
    f"A colour is a family of mechanisms: near black is exact attention; {_OPTIMUM}, dashed and "
    "grey, is identity, which mixes no tokens. A cross: memory ends beyond this length.",
    "memory": "Markers are measured, thin lines what the compiler predicts. "
    "Where no program was run, all is predicted.",
    "layers": f"Median of a call. Near black is exact attention; {_OPTIMUM} is identity.",
}


@dataclass(frozen=True)
class Plot:
    """A figure, and what to call it.

    Attributes:
        kind: "time", "memory" or "layers".
        name: for a file or an id: letters, digits and hyphens; no two plots share it.
        family: the title that the groups in it share.
        title: what the figure shows.
        notes: how to read it, as sentences.
        figure: the drawing.
    """

    kind: str
    name: str
    family: str
    title: str
    notes: str
    figure: Figure


Styles = dict[str, dict[str, Any]]


def plots(groups: Sequence[Comparable], styles: Styles | None = None) -> list[Plot]:
    """Return all figures that the groups have points for; each pass is a panel.

    Args:
        groups: of any settings.
        styles: the look of each attention; by default of those in the groups.
    """
    styles = styles or _styles(groups)
    drawings = []
    for family, members in _families(groups).items():
        timed = [group for group in members if _has_line(group, group.seconds)]
        known = [group for group in members if _has_line(group, lambda row: row.memory)]
        if timed:
            drawings.append(_Drawing("time", family, _time(timed, styles)))
        if known:
            drawings.append(_Drawing("memory", family, _memory(known, styles)))
    for family, members in _stacks(groups).items():
        drawings.append(_Drawing("layers", family, _layers(str(family), members, styles)))
    shown = {drawing.family for drawing in drawings}
    machines = {g.first.machine for g in groups if g.heading.without("pass") in shown}
    return _named(drawings, one_machine=len(machines) == 1)


@dataclass(frozen=True)
class _Drawing:
    """A figure without a name.

    Attributes:
        kind: "time", "memory" or "layers".
        family: the heading that the groups in it share.
        figure: the drawing.
    """

    kind: str
    family: Heading
    figure: Figure


def _named(drawings: list[_Drawing], *, one_machine: bool) -> list[Plot]:
    """Return the figures with names: the kind, the settings if it has several, and a number."""
    kinds = [drawing.kind for drawing in drawings]
    taken: dict[str, int] = defaultdict(int)
    plots = []
    for drawing in drawings:
        family = drawing.family.without("machine") if one_machine else drawing.family
        name = drawing.kind
        if kinds.count(name) > 1:
            slug = re.sub(r"[^a-z0-9]+", "-", str(family).lower())
            name += "-" + slug[:_LONGEST_NAME].strip("-")
        taken[name] += 1
        name += f"-{taken[name]}" if taken[name] > 1 else ""
        title = _TITLES[drawing.kind]
        plot = Plot(
            drawing.kind, name, str(drawing.family), title, _NOTES[drawing.kind], drawing.figure
        )
        plots.append(plot)
    return plots


def _families(groups: Iterable[Comparable]) -> dict[Heading, list[Comparable]]:
    """Return the groups that differ in the pass alone, by the heading that they share."""
    families: dict[Heading, list[Comparable]] = defaultdict(list)
    for group in groups:
        if group.by == "length":
            families[group.heading.without("pass")].append(group)
    return families


def _has_line(group: Comparable, value: Callable[[Measured], Any]) -> bool:
    """Return whether some attention has two points."""
    return any(sum(bool(value(r)) for r in group.of(label)) > 1 for label in group.labels())


def _styles(groups: Iterable[Comparable]) -> Styles:
    """Return one look for each attention in all figures."""
    return looks({row.label: family_of(row.attention) for group in groups for row in group.rows})


def _panels(count: int, title: str) -> tuple[Figure, list[Axes]]:
    width = 2.8 + 4.4 * count
    figure = Figure(figsize=(width, 4.6), layout="constrained")
    text = escape.figure(title, _LONGEST_TITLE)
    figure.suptitle(textwrap.fill(text, int(11 * width)), fontsize=11)
    return figure, list(figure.subplots(1, count, sharey=True, squeeze=False)[0])


Draw = Callable[[Axes, Comparable, str, dict[str, Any]], None]


def _by_length(groups: list[Comparable], styles: Styles, draw: Draw) -> tuple[Figure, list[Axes]]:
    """Draw each attention in a panel for each group; both axes are logarithmic."""
    figure, panels = _panels(len(groups), groups[0].family)
    for axes, group in zip(panels, groups, strict=True):
        for label in group.labels():
            draw(axes, group, label, styles[label])
        _length_axis(axes, group)
    return figure, panels


def _time(groups: list[Comparable], styles: Styles) -> Figure:
    """Draw time against the length, as in Fig. 3 of the Performer paper."""
    figure, panels = _by_length(groups, styles, _time_line)
    panels[0].set_ylabel(f"{_clock(groups)} of a call (s)")
    _legend(figure, groups, styles, _end_signs(groups), lambda row: row.wall)
    return figure


def _clock(groups: list[Comparable]) -> str:
    return "CPU time" if groups[0].clock == "cpu" else "wall time"


def _time_line(axes: Axes, group: Comparable, label: str, style: dict[str, Any]) -> None:
    """Draw medians, with bars from quartile to quartile."""
    spreads = [(row.length, spread) for row in group.of(label) if (spread := group.spread(row))]
    if not spreads:
        return
    x = [length for length, _ in spreads]
    y = np.array([[s.median, s.median - s.q1, s.q3 - s.median] for _, s in spreads]).T
    drawn = axes.errorbar(x, y[0], yerr=np.maximum(y[1:], 0), capsize=2, elinewidth=1, **style)
    mark_series(label, *drawn.get_children())
    _mark_end(axes, group, label, (x[-1], y[0, -1]), style)


def _mark_end(
    axes: Axes, group: Comparable, label: str, last: tuple[float, float], style: dict[str, Any]
) -> None:
    """Draw a sign on the last point of an attention that ran out of memory or time beyond."""
    status = _end(group, label)
    if status is not None:
        sign = {"marker": _ENDS[status][0], "markersize": 13, "markeredgewidth": 2}
        drawn = axes.plot(*last, color=style["color"], linestyle="", zorder=5, **sign)
        mark_series(label, *drawn)


def _end(group: Comparable, label: str) -> str | None:
    """Return the status that ended an attention beyond its last point; None if none did."""
    rows = group.of(label)
    longest = max((row.length for row in rows if row.ran), default=0)
    return next((r.status for r in rows if r.length > longest and r.status in _ENDS), None)


def _end_signs(groups: list[Comparable]) -> list[Line2D]:
    """Return the legend's entries for the signs that are drawn."""
    ends = {_end(group, label) for group in groups for label in group.labels()}
    return [
        Line2D([], [], color="grey", linestyle="", marker=marker, markersize=9, markeredgewidth=2,
               label=text)
        for status, (marker, text) in _ENDS.items()
        if status in ends
    ]  # fmt: skip


def _length_axis(axes: Axes, group: Comparable) -> None:
    ticks = sorted({row.length for row in group.rows if row.ran and (row.wall or not group.runs)})
    log_axes(axes, ticks, _short)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("length L (tokens)")
    direction = group.first.direction
    axes.set_title(escape.figure(PASSES.get(direction, direction)), fontsize=10)


def _short(length: int) -> str:
    return f"{length // 1024}k" if length >= 1024 and length % 1024 == 0 else str(length)


def _legend(
    figure: Figure,
    groups: list[Comparable],
    styles: Styles,
    signs: list[Line2D],
    drawn: Callable[[Measured], Any],
    changes: Mapping[str, Any] | None = None,
) -> None:
    """Draw a legend beside the panels in the order of the tables; a long one is by family.

    Args:
        figure: to draw it in.
        groups: of the panels.
        styles: the look of each attention.
        signs: more entries.
        drawn: tells whether a row is drawn.
        changes: of the looks, where lines are drawn otherwise.
    """
    drawn_ones = {row.label: row for group in groups for row in group.rows if drawn(row)}
    lines = {
        label: Line2D([], [], label=escape.figure(group.shown(label, _OPTIMUM)),
                      **{**styles[label], **(changes or {})})
        for group in reversed(groups)
        for label in group.labels()
        if label in drawn_ones
    }  # fmt: skip
    families = {label: family_of(drawn_ones[label].attention) for label in lines}
    entries = _by_family(lines, families) if len(lines) > _UNGROUPED else lines.values()
    handles = [*entries, *signs]
    columns = -(-len(handles) // _ENTRIES)
    width, height = figure.get_size_inches()
    # Constrained layout takes the room of a legend from the panels, and cuts one that is too high.
    rows = -(-len(handles) // columns)
    figure.set_size_inches(width + (columns - 1) * 2, max(height, 0.6 + 0.2 * rows))
    legend = figure.legend(handles=handles, ncols=columns, loc="outside right center", fontsize=8.5,
                  handlelength=3)  # fmt: skip
    labels = {line: label for label, line in lines.items()}
    for handle, shown, text in zip(handles, legend.legend_handles, legend.get_texts(), strict=True):
        if handle in labels and shown is not None:
            mark_series(labels[handle], shown, text)


def _by_family(lines: dict[str, Line2D], families: dict[str, str]) -> Iterator[Line2D]:
    """Yield the lines of each family below its name."""
    for family in dict.fromkeys(families.values()):
        yield Line2D([], [], linestyle="", label=f"{family}:")
        yield from (line for label, line in lines.items() if families[label] == family)


def _memory(groups: list[Comparable], styles: Styles) -> Figure:
    """Draw peak memory: measured as markers, predicted as thin dashed lines."""
    figure, panels = _by_length(groups, styles, _memory_lines)
    for axes, group in zip(panels, groups, strict=True):
        if limit := group.first.memory_limit:
            axes.axhline(limit / 2**30, color="grey", linewidth=1.2, linestyle=":")
    panels[0].set_ylabel("peak memory of a device (GiB)")
    signs = [*_end_signs(groups), *_memory_signs(groups)]
    changes = _PREDICTED if any(group.runs for group in groups) else {}
    _legend(figure, groups, styles, signs, lambda row: row.memory, changes)
    return figure


def _memory_lines(axes: Axes, group: Comparable, label: str, style: dict[str, Any]) -> None:
    rows = [row for row in group.of(label) if row.memory]
    thin = {**style, **_PREDICTED, "marker": ""}
    planned = [(r.length, r.predicted_bytes / 2**30) for r in rows if r.predicted_bytes]
    measured = [(r.length, r.measured_bytes / 2**30) for r in rows if r.measured_bytes]
    dots = {**style, "linestyle": "", "marker": style["marker"] or "_", "markersize": 6}
    for points, look in ((planned, thin if group.runs else style), (measured, dots)):
        if points:
            mark_series(label, *axes.plot(*zip(*points, strict=True), **look))
    if measured or planned:
        _mark_end(axes, group, label, (measured or planned)[-1], style)


def _memory_signs(groups: list[Comparable]) -> list[Line2D]:
    """Return the legend's entries that explain how memory is drawn."""
    grey: dict[str, Any] = {"color": "grey"}
    signs = []
    if any(group.runs for group in groups):
        signs.append(Line2D([], [], label="predicted", **_PREDICTED, **grey))
    if any(row.measured_bytes for group in groups for row in group.rows):
        signs.append(Line2D([], [], linestyle="", marker="o", label="measured", **grey))
    if any(group.first.memory_limit for group in groups):
        signs.append(Line2D([], [], linestyle=":", linewidth=1.2, label="memory limit", **grey))
    return signs


def _stacks(groups: Iterable[Comparable]) -> dict[Heading, list[Comparable]]:
    """Return the groups that differ in layers and pass alone, by the heading that they share."""
    alike: dict[Any, list[Comparable]] = defaultdict(list)
    for group in groups:
        if group.by == "length" and group.first.layers and any(row.wall for row in group.rows):
            alike[replace(group.first, layers=None)].append(group)
    stacks: dict[Heading, list[Comparable]] = defaultdict(list)
    for same in alike.values():
        if len(same) > 1:
            stacks[same[0].heading.without("pass", "layers")] += same
    return stacks


def _layers(family: str, groups: list[Comparable], styles: Styles) -> Figure:
    """Draw time against layers at the longest common length: Fig. 20 of the Performer paper."""
    by_pass: dict[str, list[Comparable]] = defaultdict(list)
    for group in groups:
        by_pass[group.first.direction].append(group)
    figure, panels = _panels(len(by_pass), family)
    lengths = {direction: _common_length(members) for direction, members in by_pass.items()}
    for axes, (direction, members) in zip(panels, by_pass.items(), strict=True):
        for label, style in styles.items():
            _layers_line(axes, members, label, lengths[direction], style)
        title = PASSES.get(direction, direction), f"L = {lengths[direction]:,}"
        axes.set_title(escape.figure(", ".join(filter(None, title))), fontsize=10)
        axes.set_xlabel("layers")
        axes.set_xticks(sorted({group.first.layers or 0 for group in members}))
        axes.grid(alpha=0.3)
    panels[0].set_ylabel(f"{_clock(groups)} of a call (s)")
    panels[0].set_ylim(bottom=0)
    longest = set(lengths.values())
    _legend(figure, groups, styles, [], lambda row: row.wall and row.length in longest)
    return figure


def _common_length(groups: list[Comparable]) -> int:
    """Return the longest length timed with each number of layers, else the longest of any."""
    lengths = [{row.length for row in group.rows if row.wall} for group in groups]
    return max(set.intersection(*lengths) or set.union(*lengths))


def _layers_line(
    axes: Axes, groups: list[Comparable], label: str, length: int, style: dict[str, Any]
) -> None:
    """Draw the medians of one attention at one length against layers."""
    points = sorted(
        (group.first.layers or 0, seconds)
        for group in groups
        for row in group.of(label)
        if row.length == length and (seconds := group.seconds(row))
    )
    if points:
        mark_series(label, *axes.plot(*zip(*points, strict=True), **style))
