"""Figures, shown on the page and kept as files beside it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from matplotlib.figure import Figure

from lra_bench.display import figures
from lra_bench.report.markup import Html, joined, tag


@dataclass(frozen=True)
class NamedFigure:
    """A figure with the name under which it is kept.

    Attributes:
        name: of the file, and the beginning of ids in the page; letters, digits and hyphens.
        figure: of matplotlib.
    """

    name: str
    figure: Figure


def shown(image: NamedFigure, description: str, *caption: object) -> Html:
    """Return a figure as SVG with its caption, in a box that scrolls if it is wide."""
    svg = Html(figures.inline_svg(image.figure, f"f{figures.series_id(image.name)}", description))
    # The style sheet keeps the figure readable in small windows; it needs the natural width.
    width = f"--natural: {image.figure.get_figwidth():g}in"
    box = tag("div", svg, class_="wide", style=width, tabindex=0, role="region",
              aria_label=description)  # fmt: skip
    return tag("figure", box, tag("figcaption", *caption))


# The beginning of an id of a figure, where it is defined or used.
_ID = re.compile(r'(\bid="|\bhref="#|\burl\(#)(f[0-9a-f]{8})-')


def numbered(page: str) -> str:
    """Return a page whose figures begin their ids with a number: there are thousands of them."""
    numbers: dict[str, int] = {}
    return _ID.sub(lambda x: f"{x[1]}f{numbers.setdefault(x[2], len(numbers))}-", page)


def keys(entries: Mapping[str, Html]) -> Html:
    """Return a legend for several figures: names with samples of their lines, as SVG.

    The script makes each a button that shows its curves alone.
    """
    items = [
        tag("li", tag("span", sample, " ", name, data_series=figures.series_id(name)))
        for name, sample in entries.items()
    ]
    return tag("ul", joined(items), class_="keys")
