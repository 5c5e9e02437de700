"""The drawn parts of a Pathfinder image, tabulated once for each geometry.

The only directions that occur are the 360 whole degrees of a snake's first paddle and those of
the pixels around a pivot, so every paddle is drawn once and later only placed. Ids 0 to 359 are
the first paddles, drawn from the tail in the direction of id - 180 degrees; id 360 + c is the
paddle from the tip at the c-th pixel of the circle back towards the pivot.

Frames lie inside canvases with `pad` more pixels on each side, so that nothing is ever cropped,
and positions are flat indices into a canvas: a displacement is a single number.
"""

import functools
import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

DEGREES = 360
# A mask up to 0.3 counts as free; masks collide where they sum to 1.8; all in 255ths.
FREE = 76
COLLISION = 459


@dataclass(frozen=True)
class Geometry:
    """What shapes the paddles and their growth; lengths in pixels."""

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
        """From a paddle's start to the edge of the window that it is drawn in."""
        return self.length + math.ceil(self.thickness) + self.margin

    @property
    def pad(self) -> int:
        """Beyond what a paddle at the frame's edge, dilated, or a circle about its end covers."""
        return self.reach + self.margin + 2

    @property
    def stride(self) -> int:
        """The side of a canvas."""
        return self.side + 2 * self.pad

    def flat(self, offsets: np.ndarray) -> np.ndarray:
        """Displacements (..., 2) in (y, x) as displacements of a flat index, (...)."""
        return offsets[..., 0] * self.stride + offsets[..., 1]

    def frame(self, border: int = 0) -> np.ndarray:
        """Which pixels of a canvas are the frame's without a border, bool (stride, stride)."""
        inside = np.zeros((self.stride, self.stride), bool)
        edge = self.pad + border
        inside[edge:-edge, edge:-edge] = True
        return inside


@dataclass(frozen=True)
class Stamps:
    """The non-zero pixels of each paddle, relative to its start: both (paddles, pixels).

    Rows are filled up by repeating a pixel, which changes no maximum.
    """

    offset: np.ndarray
    value: np.ndarray

    @functools.cached_property
    def bound(self) -> np.ndarray:
        """From which value on a pixel collides with these, uint8: a byte, the stamps being core."""
        return (COLLISION - self.value.astype(np.int64)).astype(np.uint8)


@dataclass(frozen=True)
class Tables:
    """Everything about one geometry that doesn't depend on an image.

    line: the visible paddles. core: the pixels of their masks that can collide. halo: their masks
    dilated by the margin. taken: the pixels of a mask that aren't free, as bits, the first of them
    the window's first pixel. kernel: what a first paddle dilates by, nothing for a degree that
    never serves. frame, border, edge: as bits, all of it, the border that belongs to every mask,
    the outermost pixels. ahead, behind: unit vectors along a
    snake at each paddle, and back, (paddles, 2). ends, end_weight, end_paddle: the tips that may
    follow each paddle, from the pivot, (paddles, tips), with weight 0 for none. degrees: those
    that leave the very first paddle room; low, room (degrees, 2): the first pixel of it, its sides.
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
    """Unit vectors (..., 2) in (y, x) of angles in radians (...)."""
    return np.stack([np.sin(angles), np.cos(angles)], axis=-1)


def translate(points: np.ndarray, ways: np.ndarray, distance: int) -> np.ndarray:
    """The pixels at a distance from others, rounded up; all (..., 2).

    Where an exact result is a whole number the rounding depends on the points: the noise of
    sin(pi) is lost in large coordinates, yet makes a difference of a pixel in small ones. The
    reference grows along the upper and left edge that way, so it is kept.
    """
    return np.ceil(points + distance * ways).astype(np.int64)


def _degrees() -> np.ndarray:
    return np.arange(-180, 180) * np.pi / 180


def _circle(radius: int) -> np.ndarray:
    """The pixels (c, 2) of a circle about a pixel, sampled once a pixel of arc, rounded down."""
    angles = np.arange(0, 360, 360 / (2 * radius * np.pi)) * np.pi / 180
    points = 64 + radius * directions(angles)
    return np.unique(np.floor(points).astype(np.int64), axis=0) - 64


def _disc(radius: int) -> np.ndarray:
    """The offsets (n, 2) of a digital disc's pixels."""
    grid = np.mgrid[-radius : radius + 1, -radius : radius + 1].reshape(2, -1).T
    return grid[(grid**2).sum(axis=1) <= radius**2]


def _dilate(images: np.ndarray, radius: int) -> np.ndarray:
    """The maximum over a disc about each pixel, uint8 (n, h, w)."""
    _, height, width = images.shape
    framed = np.pad(images, ((0, 0), (radius, radius), (radius, radius)))
    result = images.copy()
    for y, x in _disc(radius) + radius:
        np.maximum(result, framed[:, y : y + height, x : x + width], out=result)
    return result


def _windows(g: Geometry, ways: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The paddles from the centre of a window in each direction, and their masks.

    Both uint8 (n, 2 reach + 1, 2 reach + 1).
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
    """The offsets (n, 2) that a first paddle's mask looks at: its saturated pixels, as seen from
    the pixel up and left of its start, as far as they lie in a window of L + m pixels about that.
    """
    offsets = np.argwhere(mask == 255) - g.reach + 1
    offsets = offsets[(np.abs(offsets) <= g.length + g.margin).all(axis=1)]
    return offsets if _sees_corners(offsets) else offsets[:0]


def _sees_corners(offsets: np.ndarray) -> bool:
    """Whether a dilation by these offsets (n, 2) finds a pixel of the frame from each corner.

    Where it doesn't, the reference's dilation is -infinity, and then it takes no pixel of the
    whole frame for free. At 32 x 32 so 330 of 360 degrees never serve for a first paddle.
    """
    quadrants = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]])
    return bool((offsets * quadrants[:, None] >= 0).all(axis=-1).any(axis=-1).all())


def _first_seeds(
    g: Geometry, kernels: list[np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where snake 1 may begin: the border being straight, a rectangle for each degree.

    Returns:
        The degrees (n,) that have one; its first pixel and its sides (n, 2).
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
    """The tips that continuity lets follow each paddle: offsets from the pivot, weights, paddles.

    All (paddles, tips).
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
    """The columns to keep first, in their order, (rows, most that any row keeps)."""
    order = np.argsort(~keep, axis=1, kind="stable")
    return order[:, : keep.sum(axis=1).max()]


def _stamps(g: Geometry, windows: np.ndarray, keep: np.ndarray) -> Stamps:
    """The kept pixels of windows (n, side, side) centred at the paddles' start."""
    side = windows.shape[1]
    chosen = _front(keep.reshape(len(keep), -1))
    kept = np.take_along_axis(keep.reshape(len(keep), -1), chosen, axis=1)
    chosen = np.where(kept, chosen, chosen[:, :1])
    offset = np.stack([chosen // side, chosen % side], axis=-1) - side // 2
    value = np.take_along_axis(windows.reshape(len(keep), -1), chosen, axis=1)
    return Stamps(g.flat(offset), value)


def _bits(g: Geometry, window: np.ndarray) -> int:
    """A window as an integer whose bits are the pixels of a canvas, from the window's first on."""
    rows = np.zeros((len(window), g.stride), bool)
    rows[:, : len(window)] = window
    return to_bits(rows)


def to_bits(pixels: np.ndarray) -> int:
    """Pixels as the bits of an integer, the first pixel being the lowest bit."""
    return int.from_bytes(np.packbits(pixels.ravel(), bitorder="little").tobytes(), "little")


def from_bits(bits: int, count: int) -> np.ndarray:
    """Undo `to_bits`: bool (count,)."""
    packed = np.frombuffer(bits.to_bytes((count + 7) // 8, "little"), np.uint8)
    return np.unpackbits(packed, count=count, bitorder="little").view(bool)
