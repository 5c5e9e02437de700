"""Figures as the page shows them, and as files beside it."""

from collections.abc import Mapping
from dataclasses import dataclass

from matplotlib.figure import Figure

from lra_bench.display import figures
from lra_bench.report.markup import Html, joined, tag


@dataclass(frozen=True)
class NamedFigure:
    """A figure that is kept as a file of its own too.

    Attributes:
        name: of the file, and where ids begin: letters, digits and hyphens.
    """

    name: str
    figure: Figure


def shown(image: NamedFigure, description: str, *caption: object) -> Html:
    """A figure with its caption; a wide one scrolls by itself."""
    svg = Html(figures.inline_svg(image.figure, image.name, description))
    # Small windows show it no smaller than can be read: the style knows how wide it is.
    width = f"--natural: {image.figure.get_figwidth():g}in"
    box = tag("div", svg, class_="wide", style=width, tabindex=0, role="region",
              aria_label=description)  # fmt: skip
    return tag("figure", box, tag("figcaption", *caption))


def keys(entries: Mapping[str, Html]) -> Html:
    """A legend outside the figures: names, with the samples of their lines as SVG."""
    items = [tag("li", sample, " ", name) for name, sample in entries.items()]
    return tag("ul", joined(items), class_="keys")
