"""The sections on speed and memory: figures, then tables, for each scope, size and machine."""

from collections.abc import Sequence
from dataclasses import dataclass

from lra_bench.display.tables import render as render_table
from lra_bench.report import figure, reproduce
from lra_bench.report.markup import Html, folded, joined, tag
from lra_bench.report.page import Section
from lra_bench.report.styles import Styles
from lra_bench.scaling import grid, groups, plots, tables


@dataclass(frozen=True)
class Efficiency:
    """The parts of the page on speed and memory.

    Attributes:
        sections: one for each scope, size and machine.
        figures: all, in order.
        first: the figure of time that the page begins with; None without one.
    """

    sections: list[Section]
    figures: list[figure.NamedFigure]
    first: Html | None


def efficiency(
    every: Sequence[groups.Comparable], styles: Styles, *, with_published: bool
) -> Efficiency:
    """Return the parts on these groups."""
    drawn = plots.plots(every, styles)
    first = next((plot for plot in drawn if plot.kind == "time"), None)
    families = dict.fromkeys([group.family for group in every] + [plot.family for plot in drawn])
    parts = []
    for number, family in enumerate(families, 1):
        shown = [
            _ELSEWHERE if plot is first else _figure(plot)
            for plot in drawn
            if plot.family == family
        ]
        members = [group for group in every if group.family == family]
        shown += [_tables(group, with_published=with_published) for group in members]
        title = f"Speed and memory: {family}"
        parts.append(Section(f"efficiency-{number}", title, joined(shown, "\n")))
    figures = [figure.NamedFigure(plot.name, plot.figure) for plot in drawn]
    return Efficiency(parts, figures, None if first is None else _figure(first))


_ELSEWHERE = tag("p", tag("a", "Time by length is the first figure of this page.", href="#first"))


def _figure(plot: plots.Plot) -> Html:
    image = figure.NamedFigure(plot.name, plot.figure)
    return figure.shown(image, f"{plot.title}: {plot.family}", f"{plot.title}. {plot.notes}")


def _tables(group: groups.Comparable, *, with_published: bool) -> Html:
    """Return the first table, which most readers look for; the others are folded."""
    direction = groups.PASSES.get(group.first.direction, group.first.direction)
    shown = [
        _table(direction, table) for table in tables.tables(group, with_published=with_published)
    ]
    more = folded(": ".join(filter(None, (direction, "more tables"))), *shown[1:])
    again = reproduce.command(group)
    code = tag("pre", tag("code", again), class_="command", tabindex=0) if again else None
    parts = [*shown[:1], more if shown[1:] else None, tag("p", group.facts), code]
    return joined(parts, "\n")


def _table(direction: str, table: grid.Table) -> Html:
    title = ": ".join(filter(None, (direction, table.title)))
    return Html(render_table("html", title, table.frame, table.notes))
