"""The look of all figures: colours, markers, axes, and how they are kept."""

import io
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Okabe and Ito's colours but black, then Tol's purple, olive and indigo: the colour-blind tell
# them apart.
COLOURS = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#882255", "#999933",
    "#332288",
)  # fmt: skip
MARKERS = "osD^vP*Xh"
DPI = 200


def series_style(index: int) -> dict[str, Any]:
    """Colour, marker and line of a series: no two alike among the first 81."""
    turn, place = divmod(index, len(COLOURS))
    return {
        "color": COLOURS[place],
        "marker": MARKERS[(place + turn) % len(MARKERS)],
        "markersize": 5,
        "linewidth": 1.4,
        "linestyle": ("-", (0, (6, 1.5, 1.5, 1.5)))[turn % 2],
    }


# What is no attention but a bound: the dashed black line of the Performer paper.
_BOUND = {"color": "black", "linestyle": "--", "marker": "", "linewidth": 1.4}


def looks(
    exact: Iterable[str], others: Iterable[str], bounds: Iterable[str]
) -> dict[str, dict[str, Any]]:
    """A look for each attention: exact ones have broken lines, bounds a dashed black one."""
    found = {label: dict(_BOUND) for label in bounds}
    for names, is_exact in ((exact, True), (others, False)):
        for index, label in enumerate(sorted(set(names))):
            found[label] = series_style(_place(index, exact=is_exact))
    return found


def _place(index: int, *, exact: bool) -> int:
    """Of the turns through the colours every other has a broken line: these are for exact ones.

    They take colours from the other end, so that a few of each kind share none.
    """
    turns, colour = divmod(index, len(COLOURS))
    return (2 * turns + exact) * len(COLOURS) + (len(COLOURS) - 1 - colour if exact else colour)


def log_axes(axes: Axes, ticks: list[int], name: Callable[[int], str] = str) -> None:
    """Both axes logarithmic, a tick with its name at each measured x."""
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(ticks, [name(x) for x in ticks])
    axes.grid(alpha=0.3)


def legend_above(axes: Axes, columns: int = 2) -> None:
    """A legend outside the data."""
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=columns, fontsize=8)


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG or SVG, by the path's suffix; the same figure gives the same bytes."""
    if path.suffix == ".svg":
        path.write_text(_svg(figure), encoding="utf-8")
    else:
        figure.savefig(path, dpi=DPI)


def _svg(figure: Figure) -> str:
    file = io.StringIO()
    # Text stays text; ids come from the contents, and no date is kept.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "lra-bench"}):
        figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()


def inline_svg(figure: Figure, name: str, description: str) -> str:
    """A figure as an element of an HTML page, without a ground or a style sheet of its own.

    Black turns into the colour of the text around it, and each of `COLOURS` into the CSS variable
    `--c0` and so on, so that a page can show it on a dark ground.

    Args:
        name: unlike that of any other figure in the page: its ids begin with it.
        description: what a screen reader says.
    """
    text = _svg(figure)
    text = text[text.index("<svg") :]
    text = re.sub(r"<(metadata|style)\b.*?</\1>", "", text, flags=re.DOTALL)
    text = re.sub(r' xmlns(:\w+)?="[^"]*"', "", text).replace("xlink:href", "href")
    # The page's own letters: matplotlib's are hardly anywhere, and their list is long.
    text = re.sub(r"'DejaVu Sans'[^;\"]*", "system-ui, sans-serif", text)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'(href="#|url\(#)', rf"\g<1>{name}-", text)
    for index, colour in enumerate(COLOURS):
        text = text.replace(colour.lower(), f"var(--c{index}, {colour})")
    text = text.replace("#000000", "currentColor").replace("fill: #ffffff", "fill: none")
    label = re.sub(r'[<>&"]', "", description)
    return text.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)
