"""Place names beside the points of a figure, so that none covers a name or a point."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.transforms import Bbox

from lra_bench.display.escape import figure
from lra_bench.display.figures import mark_series

# Positions of a name, best first: directions in degrees, for each distance in points.
_ANGLES = (0, 180, 90, 270, 45, 315, 135, 225)
_GAPS = (3, 9, 18, 30, 46, 66)


@dataclass(frozen=True)
class Dot:
    """A point with a name.

    Attributes:
        x, y: in the units of the axes.
        radius: of its marker, in points.
        name: to write beside it.
    """

    x: float
    y: float
    radius: float
    name: str


def place_labels(axes: Axes, dots: Sequence[Dot], size: float = 9) -> list[Bbox]:
    """Write the names beside their dots; the axes must not change afterwards.

    Args:
        axes: with the dots already drawn.
        dots: to name.
        size: of the font, in points.

    Returns:
        The box of each name in pixels, those of the largest dots first.
    """
    canvas = FigureCanvasAgg(axes.figure.figure)
    canvas.draw()
    scale, inside = axes.figure.figure.dpi / 72, axes.get_window_extent()
    taken = [_around(axes, dot, scale) for dot in dots]
    for dot in sorted(dots, key=lambda dot: -dot.radius):
        name, where = figure(dot.name), (dot.x, dot.y)
        text = axes.annotate(name, where, fontsize=size, va="center", ha="center")
        extent = text.get_window_extent(canvas.get_renderer())
        box, gap = _best(axes, dot, (extent.width, extent.height), taken, inside, scale)
        mark_series(dot.name, text)
        taken.append(box)
        center = ((box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2)
        x, y = axes.transData.inverted().transform(center)
        text.set_position((x, y))
        if gap > _GAPS[1]:
            _connect(axes, dot, box)
    return taken[len(dots) :]


def _around(axes: Axes, dot: Dot, scale: float) -> Bbox:
    x, y = axes.transData.transform((dot.x, dot.y))
    # A bit less than the square around the circle, so that names may come near its corners.
    half = 0.9 * dot.radius * scale
    return Bbox([[x - half, y - half], [x + half, y + half]])


def _best(
    axes: Axes,
    dot: Dot,
    size: tuple[float, float],
    taken: Sequence[Bbox],
    inside: Bbox,
    scale: float,
) -> tuple[Bbox, float]:
    """Return the first free position, else the one with the least overlap.

    Returns:
        The box of the name in pixels, and its distance from the dot in points.
    """
    x, y = axes.transData.transform((dot.x, dot.y))
    least, best = math.inf, (Bbox([[x, y], [x, y]]), 0.0)
    for gap in _GAPS:
        for angle in _ANGLES:
            box = _box(x, y, size, (dot.radius + gap) * scale, angle)
            lost = _overlap(box, taken) + _outside(box, inside)
            if lost < least:
                least, best = lost, (box, float(gap))
            if lost == 0:
                return best
    return best


def _box(x: float, y: float, size: tuple[float, float], off: float, angle: float) -> Bbox:
    """Return a box whose nearest edge or corner is `off` pixels from a point.

    Args:
        x, y: the point, in pixels.
        size: width and height, in pixels.
        off: distance from the point, in pixels.
        angle: direction from the point, in degrees.
    """
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    width, height = size
    center_x, center_y = x + cos * (off + width / 2), y + sin * (off + height / 2)
    return Bbox.from_bounds(center_x - width / 2, center_y - height / 2, width, height)


def _overlap(box: Bbox, taken: Sequence[Bbox]) -> float:
    """Return the area of a box that others cover, in square pixels."""
    return sum(_shared(box, other) for other in taken)


def _outside(box: Bbox, inside: Bbox) -> float:
    """Return the area of a box outside the axes, in square pixels."""
    return box.width * box.height - _shared(box, inside)


def _shared(box: Bbox, other: Bbox) -> float:
    common = Bbox.intersection(box, other)
    return 0.0 if common is None else common.width * common.height


def _connect(axes: Axes, dot: Dot, box: Bbox) -> None:
    """Draw a line from a dot to a name that is far from it."""
    x, y = axes.transData.transform((dot.x, dot.y))
    near = (min(max(x, box.x0), box.x1), min(max(y, box.y0), box.y1))
    ends = [(dot.x, dot.y), axes.transData.inverted().transform(near)]
    axes.plot(*zip(*ends, strict=True), color="grey", linewidth=0.7, zorder=1)
