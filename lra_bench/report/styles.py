"""One look for an attention in all figures of a page."""

from typing import Any

from lra_bench.display.figures import COLOURS, looks
from lra_bench.registry import IDENTITY, is_exact
from lra_bench.report.inputs import RunTable
from lra_bench.report.markup import Html, tag
from lra_bench.scaling.rows import Measured

Styles = dict[str, dict[str, Any]]


def styles(settings: list[RunTable], rows: list[Measured]) -> Styles:
    """Of the attentions of both kinds of records, by their labels."""
    kinds = {row.label: (row.exact, row.attention) for row in rows}
    for setting in settings:
        for cell in setting.cells:
            name = cell.runs[0].attention
            # A run that began with another's parameters is no bound and no reference.
            plain = cell.runs[0].init_from is None
            kinds[cell.attention] = (plain and is_exact(name), name if plain else "")
    exact = [label for label, (is_one, _) in kinds.items() if is_one]
    nothing = [label for label, (_, name) in kinds.items() if name == IDENTITY]
    return looks(exact, [x for x in kinds if x not in {*exact, *nothing}], nothing)


def sample(style: dict[str, Any]) -> Html:
    """A piece of the line, as it is in the figures."""
    dashes = None if style["linestyle"] == "-" else "6 3"
    line = tag("line", x1=1, y1=6, x2=27, y2=6, stroke=colour(style), stroke_width=2,
               stroke_dasharray=dashes)  # fmt: skip
    return tag("svg", line, width=28, height=12, viewBox="0 0 28 12", aria_hidden="true")


def colour(style: dict[str, Any]) -> str:
    """Of the page, which has another on a dark ground."""
    place = COLOURS.index(style["color"]) if style["color"] in COLOURS else None
    return "currentColor" if place is None else f"var(--c{place})"
