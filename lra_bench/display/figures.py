"""The style of all figures: colours, markers and axes; and writing them to files."""

import contextlib
import io
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lra_bench.display.busy import busy
from lra_bench.display.escape import terminal

# Okabe and Ito's colours without black, then Tol's purple, olive and indigo: colour-blind readers
# can tell them apart.
COLOURS = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#882255", "#999933",
    "#332288",
)  # fmt: skip
MARKERS = "osD^vP*Xh"
_BROKEN = (0, (6, 1.5, 1.5, 1.5))
DPI = 200


def series_style(index: int) -> dict[str, Any]:
    """Return matplotlib's options for a series; the first 81 series all differ."""
    turn, colour = divmod(index, len(COLOURS))
    return {
        "color": COLOURS[colour],
        "marker": MARKERS[(colour + turn) % len(MARKERS)],
        "markersize": 5,
        "linewidth": 1.4,
        "linestyle": ("-", _BROKEN)[turn % 2],
    }


# A bound, which is no attention, is the dashed black line of the Performer paper.
_BOUND = {"color": "black", "linestyle": "--", "marker": "", "linewidth": 1.4}


def looks(families: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Return a style for each label, from its family: "exact", "bound" or another.

    Exact attentions have broken lines, bounds are dashed black. If there are more labels than
    colours, a colour stands for a family; see `have_family_colours`.
    """
    styles = {label: dict(_BOUND) for label, family in families.items() if family == "bound"}
    exact = sorted(label for label, family in families.items() if family == "exact")
    others = sorted(families.keys() - {*styles, *exact})
    if have_family_colours(families):
        return styles | _by_family({label: families[label] for label in [*exact, *others]})
    for labels, is_exact in ((exact, True), (others, False)):
        for index, label in enumerate(labels):
            styles[label] = series_style(_series(index, exact=is_exact))
    return styles


def have_family_colours(families: Mapping[str, str]) -> bool:
    """Return whether a colour stands for a family, because there are too many labels."""
    own = [family for family in families.values() if family not in ("exact", "bound")]
    return len(own) > len(COLOURS)


def _by_family(families: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Return styles with a colour for each family, and a marker and dashes for each label in it."""
    names, styles = sorted({*families.values()} - {"exact"}), {}
    for number, family in enumerate(["exact", *names]):
        members = [label for label, its in families.items() if its == family]
        for place, label in enumerate(members):
            turn, marker = divmod(place, len(MARKERS))
            # Of 9 x 9 series, the first 9 of each colour have whole lines, the next broken ones.
            style = series_style(turn * len(COLOURS) + (number - 1) % len(COLOURS))
            styles[label] = {**style, "marker": MARKERS[marker]}
            if family == "exact":
                styles[label] |= {"color": "black", "linestyle": _BROKEN}
    return styles


def _series(index: int, *, exact: bool) -> int:
    """Return the number of the series whose style an attention gets.

    Every second turn through the colours has broken lines; these are for exact attentions. They
    take the colours in reverse order, so a few of each kind share no colour.
    """
    turns, colour = divmod(index, len(COLOURS))
    return (2 * turns + exact) * len(COLOURS) + (len(COLOURS) - 1 - colour if exact else colour)


def log_axes(axes: Axes, ticks: list[int], name: Callable[[int], str] = str) -> None:
    """Make both axes logarithmic, with a named tick at each measured x."""
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(ticks, [name(x) for x in ticks])
    axes.grid(alpha=0.3)


def legend_above(axes: Axes, columns: int = 2) -> None:
    """Add a legend above the axes."""
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=columns, fontsize=8)


def save(figure: Figure, path: Path, doing: str = "") -> None:
    """Write a figure as PNG or SVG, by the path's suffix; equal figures give equal bytes.

    Args:
        figure: to write.
        path: of the file.
        doing: what a terminal shows meanwhile; by default, that the file is drawn.
    """
    with busy(doing or f"drawing {path.name}"):
        if path.suffix == ".svg":
            path.write_text(_svg(figure), encoding="utf-8")
            return
        with _any_text():
            figure.savefig(path, dpi=DPI)


@contextlib.contextmanager
def _any_text() -> Iterator[None]:
    """Draw what there is room and a glyph for, without warnings: labels may be any text."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # a box is drawn in its place
        warnings.filterwarnings("ignore", "constrained_layout not applied")  # no room is left
        yield


def _svg(figure: Figure) -> str:
    file = io.StringIO()
    # Text stays text; ids depend on the contents only, and no date is written.
    with (
        rc_context({"svg.fonttype": "none", "svg.hashsalt": "lra-bench"}),
        _any_text(),
    ):
        figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()


def inline_svg(figure: Figure, name: str, description: str) -> str:
    """Return a figure as an SVG element of an HTML page, without background or style sheet.

    Black becomes the colour of the surrounding text, and each of `COLOURS` the CSS variable `--c0`
    and so on, so a page can show the figure on a dark background.

    Args:
        name: the prefix of the figure's ids, unique in the page.
        description: the text for screen readers.
    """
    text = _svg(figure)
    text = text[text.index("<svg") :]
    text = re.sub(r"<(metadata|style)\b.*?</\1>", "", text, flags=re.DOTALL)
    text = re.sub(r' xmlns(:\w+)?="[^"]*"', "", text).replace("xlink:href", "href")
    # Use the page's fonts: few systems have matplotlib's, and their list is long.
    text = re.sub(r"'DejaVu Sans'[^;\"]*", "system-ui, sans-serif", text)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'(href="#|url\(#)', rf"\g<1>{name}-", text)
    for index, colour in enumerate(COLOURS):
        text = text.replace(colour.lower(), f"var(--c{index}, {colour})")
    text = text.replace("#000000", "currentColor").replace("fill: #ffffff", "fill: none")
    label = re.sub(r'[<>&"]', "", terminal(description))
    return text.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)
