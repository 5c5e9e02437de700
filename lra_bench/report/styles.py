"""The style of an attention's line, the same in all figures of a page."""

from typing import Any

from lra_bench.display.figures import COLOURS, looks
from lra_bench.leaderboard.results import Result
from lra_bench.registry import family_of
from lra_bench.report.inputs import RunTable
from lra_bench.report.markup import Html, tag
from lra_bench.scaling.rows import Measured

Styles = dict[str, dict[str, Any]]


def styles(tables: list[RunTable], rows: list[Measured]) -> Styles:
    """Return the style of each attention in both kinds of records, by label."""
    families = {row.label: family_of(row.attention) for row in rows}
    for run_table in tables:
        for result in run_table.results:
            families[result.attention] = _family(result)
    return looks(families)


def _family(result: Result) -> str:
    """Return the family; a run that started with another's parameters is no bound, not exact."""
    family, changed = family_of(result.attention_name), result.runs[0].init_from is not None
    return "other" if changed and family in ("exact", "bound") else family


def sample(style: dict[str, Any]) -> Html:
    """Return a short piece of the line as SVG."""
    dashes = None if style["linestyle"] == "-" else "6 3"
    line = tag("line", x1=1, y1=6, x2=27, y2=6, stroke=colour(style), stroke_width=2,
               stroke_dasharray=dashes)  # fmt: skip
    return tag("svg", line, width=28, height=12, viewBox="0 0 28 12", aria_hidden="true")


def colour(style: dict[str, Any]) -> str:
    """Return the CSS colour of a style, which the page changes on a dark background."""
    if style["color"] not in COLOURS:
        return "currentColor"
    return f"var(--c{COLOURS.index(style['color'])})"
