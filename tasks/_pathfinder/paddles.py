"""Draw the parts of a Pathfinder image, once for each geometry.

A paddle has one of few directions: the 360 whole degrees of a snake's first paddle, and those of
the pixels around a pivot. So every paddle is drawn once, and images only place it. Ids 0 to 359
are the first paddles, drawn from the tail in the direction of id - 180 degrees; id 360 + c is the
paddle from the tip at the c-th pixel of the circle back towards the pivot.

A frame lies inside a canvas with `pad` more pixels on each side, so nothing is ever cropped.
Positions are flat indices of a canvas, so a displacement is a single number.
"""

import functools
import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

DEGREES = 360
# A mask up to 0.3 counts as free; masks collide where their sum reaches 1.8; both in 255ths.
FREE = 76
COLLISION = 459


@dataclass(frozen=True)
class Geometry:
    """The parameters of paddles and of their growth; lengths are in pixels.

    Attributes:
        side: of the frame.
        length, thickness: of a paddle.
        margin: the gap around a paddle.
        padding: the border without snakes.
        antialias: the factor by which paddles are drawn larger and then reduced.
        seed_distance: between the first paddles of the two long snakes.
        continuity: how strongly a snake prefers to go straight on.
    """

    side: int
    length: int
    thickness: float
    margin: int
    padding: int
    antialias: int
    seed_distance: int
    continuity: float

    @property
    def reach(self) -> int:
        """Return the pixels from a paddle's start to the edge of the window it is drawn in."""
        return self.length + math.ceil(self.thickness) + self.margin

    @property
    def pad(self) -> int:
        """Return the pixels around the frame that dilated paddles and end circles can reach."""
        return self.reach + self.margin + 2

    @property
    def stride(self) -> int:
        """Return the side of a canvas in pixels."""
        return self.side + 2 * self.pad

    def flat(self, offsets: np.ndarray) -> np.ndarray:
        """Convert displacements (..., 2) in (y, x) to displacements of a flat index, (...)."""
        return offsets[..., 0] * self.stride + offsets[..., 1]

    def frame(self, border: int = 0) -> np.ndarray:
        """Return which pixels lie in the frame without its border, bool (stride, stride)."""
        inside = np.zeros((self.stride, self.stride), bool)
        edge = self.pad + border
        inside[edge:-edge, edge:-edge] = True
        return inside


@dataclass(frozen=True)
class Stamps:
    """The non-zero pixels of each paddle.

    Rows are filled by repeating a pixel, which changes no maximum.

    Attributes:
        offset: of the flat index, from the paddle's start, (paddles, pixels).
        value: of the pixel, uint8 (paddles, pixels).
    """

    offset: np.ndarray
    value: np.ndarray

    @functools.cached_property
    def bound(self) -> np.ndarray:
        """Return the least value that collides with each pixel, uint8; it fits only for `core`."""
        return (COLLISION - self.value.astype(np.int64)).astype(np.uint8)


@dataclass(frozen=True)
class Tables:
    """The tables that depend on the geometry and not on an image.

    Attributes:
        geometry: the parameters.
        line: the visible paddles.
        core: the pixels of the paddles' masks that can collide.
        halo: the masks dilated by the margin.
        taken: the pixels of each mask that are not free, as bits from the window's first pixel on.
        kernel: the flat offsets that a first paddle dilates by; empty for an unused degree.
        frame, border, edge: as bits: the frame, the border that belongs to every mask, and the
            frame's outermost pixels.
        ahead, behind: unit vectors at each paddle along the snake, and back, (paddles, 2).
        ends, end_weight, end_paddle: offsets from the pivot, weights and paddles of the tips that
            may follow each paddle, (paddles, tips); the weight is 0 where there is none.
        degrees: those that leave room for the very first paddle, (degrees,).
        low, room: the first pixel and the sides of that room, (degrees, 2).
    """

    geometry: Geometry
    line: Stamps
    core: Stamps
    halo: Stamps
    taken: list[int]
    kernel: list[list[int]]
    frame: int
    border: int
    edge: int
    ahead: np.ndarray
    behind: np.ndarray
    ends: np.ndarray
    end_weight: np.ndarray
    end_paddle: np.ndarray
    degrees: np.ndarray
    low: np.ndarray
    room: np.ndarray


@functools.lru_cache(maxsize=8)
def tabulate(geometry: Geometry) -> Tables:
    """Draw every paddle and tabulate every step."""
    g = geometry
    circle = _circle(g.length + g.margin)
    angles = np.concatenate([_degrees(), np.arctan2(circle[:, 0], circle[:, 1])])
    flipped = np.where(angles < 0, angles + np.pi, angles - np.pi)
    drawn = np.concatenate([angles[:DEGREES], flipped[DEGREES:]])
    line, mask = _windows(g, directions(drawn))
    halo = _dilate(np.pad(mask, ((0, 0), (g.margin, g.margin), (g.margin, g.margin))), g.margin)
    kernels = [_kernel(g, window) for window in mask[:DEGREES]]
    degrees, low, room = _first_seeds(g, kernels)
    ends, end_weight, end_paddle = _followers(g, circle, angles)
    return Tables(
        geometry=g,
        line=_stamps(g, line, line > 0),
        core=_stamps(g, mask, mask >= COLLISION - 255),
        halo=_stamps(g, halo, halo > 0),
        taken=[_bits(g, window > FREE) for window in mask],
        kernel=[g.flat(kernel).tolist() for kernel in kernels],
        frame=to_bits(g.frame()),
        border=to_bits(g.frame() & ~g.frame(g.padding)),
        edge=to_bits(g.frame() & ~g.frame(1)),
        ahead=directions(angles),
        behind=directions(flipped),
        ends=ends,
        end_weight=end_weight,
        end_paddle=end_paddle,
        degrees=degrees,
        low=low,
        room=room,
    )


def directions(angles: np.ndarray) -> np.ndarray:
    """Return unit vectors (..., 2) in (y, x) of angles in radians (...)."""
    return np.stack([np.sin(angles), np.cos(angles)], axis=-1)


def translate(points: np.ndarray, ways: np.ndarray, distance: int) -> np.ndarray:
    """Move points (..., 2) by a distance along unit vectors (..., 2), and round up.

    Where the exact result is a whole number, rounding depends on the coordinates: the error of
    sin(pi) vanishes in large ones, but changes small ones by a pixel. The reference grows snakes
    along the upper and left edge in this way, so this code does too.
    """
    return np.ceil(points + distance * ways).astype(np.int64)


def _degrees() -> np.ndarray:
    return np.arange(-180, 180) * np.pi / 180


def _circle(radius: int) -> np.ndarray:
    """Return the pixels (c, 2) of a circle, sampled once per pixel of arc and rounded down."""
    angles = np.arange(0, 360, 360 / (2 * radius * np.pi)) * np.pi / 180
    points = 64 + radius * directions(angles)
    return np.unique(np.floor(points).astype(np.int64), axis=0) - 64


def _disc(radius: int) -> np.ndarray:
    """Return the offsets (n, 2) of the pixels of a disc."""
    grid = np.mgrid[-radius : radius + 1, -radius : radius + 1].reshape(2, -1).T
    return grid[(grid**2).sum(axis=1) <= radius**2]


def _dilate(images: np.ndarray, radius: int) -> np.ndarray:
    """Return the maximum over a disc around each pixel, uint8 (n, h, w)."""
    _, height, width = images.shape
    framed = np.pad(images, ((0, 0), (radius, radius), (radius, radius)))
    result = images.copy()
    for y, x in _disc(radius) + radius:
        np.maximum(result, framed[:, y : y + height, x : x + width], out=result)
    return result


def _windows(g: Geometry, ways: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Draw a paddle from the centre of a window in each direction, and its mask.

    Both are uint8 (n, 2 reach + 1, 2 reach + 1).
    """
    center = g.reach * g.antialias
    fine = np.empty((len(ways), 2 * center + 1, 2 * center + 1), np.uint8)
    tips = translate(np.full(2, center), ways, g.length * g.antialias)
    for row, (y, x) in zip(fine, tips.tolist(), strict=True):
        canvas = Image.new("L", row.shape)
        ends = [(center, center), (x, y)]
        ImageDraw.Draw(canvas).line(ends, fill=255, width=round(g.thickness * g.antialias))
        row[:] = np.asarray(canvas)
    side = 2 * g.reach + 1
    return _shrink(fine, side), _shrink(_dilate(fine, g.margin * g.antialias), side)


def _shrink(fine: np.ndarray, side: int) -> np.ndarray:
    size = (side, side)
    small = [Image.fromarray(image).resize(size, Image.Resampling.LANCZOS) for image in fine]
    return np.stack([np.asarray(image) for image in small])


def _kernel(g: Geometry, mask: np.ndarray) -> np.ndarray:
    """Return the offsets (n, 2) by which a first paddle dilates.

    They are the saturated pixels of its mask, relative to the pixel up and left of its start, if
    they lie within L + m pixels of that.
    """
    offsets = np.argwhere(mask == 255) - g.reach + 1
    offsets = offsets[(np.abs(offsets) <= g.length + g.margin).all(axis=1)]
    return offsets if _sees_corners(offsets) else offsets[:0]


def _sees_corners(offsets: np.ndarray) -> bool:
    """Return whether a dilation by these offsets (n, 2) reaches the frame from each corner.

    Where it does not, the reference's dilation is -infinity, and then no pixel of the frame counts
    as free. So at 32 x 32 pixels, 330 of 360 degrees never occur in a first paddle.
    """
    quadrants = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]])
    return bool((offsets * quadrants[:, None] >= 0).all(axis=-1).any(axis=-1).all())


def _first_seeds(
    g: Geometry, kernels: list[np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return where snake 1 may begin: a rectangle for each degree, because the border is straight.

    Returns:
        The degrees (n,) that have a rectangle; its first pixel and its sides (n, 2).
    """
    border = 2 * g.seed_distance
    degrees = np.array([degree for degree, kernel in enumerate(kernels) if len(kernel)])
    low = np.array([border - kernels[degree].min(axis=0) for degree in degrees])
    high = np.array([g.side - border - kernels[degree].max(axis=0) for degree in degrees])
    fits = (high > low).all(axis=1)
    return degrees[fits], low[fits], (high - low)[fits]


def _followers(
    g: Geometry, circle: np.ndarray, angles: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the tips that may follow each paddle: offsets from the pivot, weights, paddles.

    All are (paddles, tips).
    """
    turn = np.abs(angles[:, None] - angles[None, DEGREES:])
    turn = np.minimum(turn, 2 * np.pi - turn)
    bent = np.minimum(g.continuity * turn, np.pi / 2)
    # At 90 degrees the cosine is 6e-17, not 0.
    weight = np.where(bent < np.pi / 2, np.cos(bent) ** 2, 0)
    chosen = _front(weight > 0)
    weight = np.take_along_axis(weight, chosen, axis=1)
    offset = np.where(weight > 0, g.flat(circle)[chosen], 0)
    return offset, weight, chosen + DEGREES


def _front(keep: np.ndarray) -> np.ndarray:
    """Return each row's columns, those to keep first, (rows, the most that any row keeps)."""
    order = np.argsort(~keep, axis=1, kind="stable")
    return order[:, : keep.sum(axis=1).max()]


def _stamps(g: Geometry, windows: np.ndarray, keep: np.ndarray) -> Stamps:
    """Collect the kept pixels of windows (n, side, side), centred at the paddles' start."""
    side = windows.shape[1]
    chosen = _front(keep.reshape(len(keep), -1))
    kept = np.take_along_axis(keep.reshape(len(keep), -1), chosen, axis=1)
    chosen = np.where(kept, chosen, chosen[:, :1])
    offset = np.stack([chosen // side, chosen % side], axis=-1) - side // 2
    value = np.take_along_axis(windows.reshape(len(keep), -1), chosen, axis=1)
    return Stamps(g.flat(offset), value)


def _bits(g: Geometry, window: np.ndarray) -> int:
    """Return a window as the bits of a canvas, from the window's first pixel on."""
    rows = np.zeros((len(window), g.stride), bool)
    rows[:, : len(window)] = window
    return to_bits(rows)


def to_bits(pixels: np.ndarray) -> int:
    """Return pixels as the bits of an integer; the first pixel is the lowest bit."""
    return int.from_bytes(np.packbits(pixels.ravel(), bitorder="little").tobytes(), "little")


def from_bits(bits: int, count: int) -> np.ndarray:
    """Return the first `count` bits of an integer, bool (count,): the inverse of `to_bits`."""
    packed = np.frombuffer(bits.to_bytes((count + 7) // 8, "little"), np.uint8)
    return np.unpackbits(packed, count=count, bitorder="little").view(bool)
