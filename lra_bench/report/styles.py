"""The look of an attention's line, and a piece of it for a legend."""

from typing import Any

from matplotlib.markers import MarkerStyle
from matplotlib.path import Path

from lra_bench.display import palette
from lra_bench.display.looks import looks
from lra_bench.registry import family_of
from lra_bench.report.inputs import RunTable
from lra_bench.report.markup import Html, tag
from lra_bench.scaling.rows import Measured

Styles = dict[str, dict[str, Any]]
# Width and height of a sample, and the radius of its marker, in pixels.
_WIDTH, _HEIGHT, _RADIUS = 34, 12, 4.0


def styles(tables: list[RunTable], rows: list[Measured]) -> Styles:
    """Return the look of each attention in both kinds of records, by label."""
    families = {row.label: family_of(row.attention) for row in rows}
    for run_table in tables:
        for result in run_table.results:
            families[result.attention] = family_of(result.attention_name)
    return looks(families)


def sample(style: dict[str, Any]) -> Html:
    """Return a short piece of the line with its marker, as SVG."""
    shade, middle = colour(style), _HEIGHT / 2
    line = tag("line", x1=1, y1=middle, x2=_WIDTH - 1, y2=middle, stroke=shade, stroke_width=1.6,
               stroke_dasharray=_dashes(style))  # fmt: skip
    ground = "var(--ground)" if style["fillstyle"] == "none" else shade
    marker = tag("path", d=_outline(style["marker"]), fill=ground, stroke=shade)
    parts = (line, marker if style["marker"] else None)
    return tag("svg", *parts, width=_WIDTH, height=_HEIGHT, viewBox=f"0 0 {_WIDTH} {_HEIGHT}",
               aria_hidden="true")  # fmt: skip


def _dashes(style: dict[str, Any]) -> str | None:
    """Return the dashes of a line as SVG has them, in pixels; None for a whole line."""
    if style["linestyle"] == "-":
        return None
    return " ".join(f"{style['linewidth'] * length:.2g}" for length in style["linestyle"][1])


def _outline(marker: str) -> str:
    """Return the outline of a marker in the middle of a sample, as the commands of a path."""
    shape = MarkerStyle(marker)
    path = shape.get_path().transformed(shape.get_transform())
    commands = []
    for points, code in path.iter_segments(curves=False):
        if code == Path.CLOSEPOLY:
            continue
        x, y = _WIDTH / 2 + 2 * _RADIUS * points[-2], _HEIGHT / 2 - 2 * _RADIUS * points[-1]
        commands.append(f"{'M' if code == Path.MOVETO else 'L'}{x:.1f} {y:.1f}")
    return "".join(commands) + "Z"


def colour(style: dict[str, Any]) -> str:
    """Return the CSS colour of a look, which the page changes on a dark background."""
    name = palette.variable(style["color"])
    return "currentColor" if name is None else f"var({name})"
