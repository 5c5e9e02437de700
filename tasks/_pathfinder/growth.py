"""Grow the snakes of Pathfinder: many at a time, paddle by paddle, each attempt in its own lane.

Growing needs two parts of a mask: the pixels strong enough to collide, and the mask dilated by the
margin, which steers the snakes. Dilation distributes over maxima, so dilated paddles are merged,
and no step dilates. Random numbers are hashes of (seed, image, attempt, draw), so the snakes of a
lane do not depend on the other lanes.
"""

from dataclasses import dataclass

import numpy as np

from lra_bench.tasks._draws import child, integers, stream, uniform
from lra_bench.tasks._pathfinder.paddles import (
    DEGREES,
    Stamps,
    Tables,
    directions,
    translate,
)

# The purposes of an image's random numbers.
SCENE, TARGETS, DISTRACTORS = range(3)
_DRAWS_A_PADDLE = 3
_FIRST_DRAW = 16  # the first paddles use the draws before
_DEAD_END = 255e-4
# The most attempts at once, the most bytes of canvases, and the most attempts at one image.
_LANES, _CANVAS_BYTES, _LANES_AN_IMAGE = 1024, 1 << 25, 64
_FRUITLESS = 1 << 18  # at 64 x 64 and 14 paddles, the rarest setting, 1 in 1,000 succeeds


@dataclass
class Snakes:
    """The snakes that grow together in each lane.

    Attributes:
        pivot: the last pivot, (y, x) in pixels of the frame, (lanes, snakes, 2).
        paddle: the ids of the paddles, (lanes, paddles, snakes).
        place: their flat indices in the lane's canvas, (lanes, paddles, snakes).
    """

    pivot: np.ndarray
    paddle: np.ndarray
    place: np.ndarray

    def __getitem__(self, lanes: np.ndarray | slice) -> "Snakes":
        return Snakes(self.pivot[lanes], self.paddle[lanes], self.place[lanes])

    def __setitem__(self, lanes: np.ndarray, other: "Snakes") -> None:
        self.pivot[lanes], self.paddle[lanes] = other.pivot, other.paddle
        self.place[lanes] = other.place

    @classmethod
    def empty(cls, lanes: int, paddles: int, snakes: int) -> "Snakes":
        """Return zeros for `snakes` snakes of `paddles` paddles in each of `lanes` lanes."""
        shape = (lanes, paddles, snakes)
        pivot = np.zeros((lanes, snakes, 2), np.int64)
        return cls(pivot, np.zeros(shape, np.int64), np.zeros(shape, np.int64))


@dataclass
class Canvases:
    """Two canvases for each lane, uint8 (lanes, pixels).

    Attributes:
        core: the mask where it can collide; 0 outside the frame.
        halo: the dilated mask; 255 outside the frame.
    """

    core: np.ndarray
    halo: np.ndarray

    @classmethod
    def blank(cls, tables: Tables, lanes: int) -> "Canvases":
        """Return masks that hold only the border."""
        g = tables.geometry
        core = g.frame() & ~g.frame(g.padding)
        halo = ~g.frame(g.padding + g.margin)
        pair = (np.tile(255 * part.ravel().astype(np.uint8), (lanes, 1)) for part in (core, halo))
        return cls(*pair)

    def __getitem__(self, lanes: np.ndarray | slice) -> "Canvases":
        return Canvases(self.core[lanes], self.halo[lanes])

    def merge(self, tables: Tables, paddle: np.ndarray, place: np.ndarray) -> None:
        """Add paddles (n,) at flat indices (n,) of all canvases."""
        merge(self.core, tables.core, paddle, place)
        merge(self.halo, tables.halo, paddle, place)


def merge(canvases: np.ndarray, stamps: Stamps, paddle: np.ndarray, place: np.ndarray) -> None:
    """Raise the pixels of canvases (lanes, pixels) to those of paddles (n,) at indices (n,)."""
    flat = canvases.reshape(-1)
    # `take` reads twice as fast as brackets.
    pixels = place[:, None] + stamps.offset.take(paddle, axis=0)
    flat[pixels] = np.maximum(flat.take(pixels), stamps.value.take(paddle, axis=0))


def grow(canvases: Canvases, tables: Tables, keys: np.ndarray, snakes: Snakes) -> np.ndarray:
    """Grow the snakes of each lane in turn, from their first paddles, until one gets stuck.

    A snake's last paddle is not merged, so that its next one can touch it.

    Returns:
        The lanes (n,) where all snakes succeeded.
    """
    g, size = tables.geometry, canvases.core.shape[1]
    stride = g.length + 2 * g.margin
    lanes = np.arange(len(keys))
    _, paddles, together = snakes.paddle.shape
    for turn in range(together, paddles * together):
        step, snake = divmod(turn, together)
        origin = lanes * size
        last = snakes.paddle[lanes, step - 1, snake]
        pivot = translate(snakes.pivot[lanes, snake], tables.ahead[last], stride)
        draw = _FIRST_DRAW + _DRAWS_A_PADDLE * turn
        start = origin + g.flat(pivot + g.pad)
        fit, paddle, place = _next(canvases, tables, keys[lanes], draw, start, last)
        lanes, origin = lanes[fit], origin[fit]
        snakes.pivot[lanes, snake] = pivot[fit]
        snakes.paddle[lanes, step, snake] = paddle[fit]
        snakes.place[lanes, step, snake] = place[fit] - origin
        canvases.merge(tables, last[fit], origin + snakes.place[lanes, step - 1, snake])
    return lanes


def _next(
    canvases: Canvases,
    tables: Tables,
    keys: np.ndarray,
    draw: int,
    pivot: np.ndarray,
    last: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw the paddle after `last` at each pivot, a flat index of all canvases.

    Returns:
        Which rows have a paddle that collides with nothing; the paddles; their flat indices.
    """
    tips = pivot[:, None] + tables.ends.take(last, axis=0)
    free = 255 - canvases.halo.reshape(-1).take(tips)
    cumulative = np.cumsum(tables.end_weight.take(last, axis=0) * free, axis=1)
    total = cumulative[:, -1]
    paddle, place = np.zeros((2, len(keys)), np.int64)
    stuck = total < _DEAD_END
    rows = np.flatnonzero(~stuck)
    for trial in range(_DRAWS_A_PADDLE):
        threshold = uniform(keys[rows], draw + trial) * total[rows]
        choice = (cumulative[rows] <= threshold[:, None]).sum(axis=1)
        paddle[rows], place[rows] = tables.end_paddle[last[rows], choice], tips[rows, choice]
        rows = rows[_collides(canvases.core, tables.core, paddle[rows], place[rows])]
        if not len(rows):
            break
    stuck[rows] = True
    return ~stuck, paddle, place


def _collides(
    canvases: np.ndarray, stamps: Stamps, paddle: np.ndarray, place: np.ndarray
) -> np.ndarray:
    pixels = canvases.reshape(-1).take(place[:, None] + stamps.offset.take(paddle, axis=0))
    # For bytes, a + b >= COLLISION means b >= COLLISION - a, which fits a byte too.
    return np.any(pixels >= stamps.bound.take(paddle, axis=0), axis=1)


def grow_targets(
    tables: Tables, seed: int, numbers: np.ndarray, paddles: int
) -> tuple[Snakes, np.ndarray]:
    """Grow the two long snakes of each image; return them and the successful attempts, from 1.

    An unfinished image makes several attempts at once and takes its first success, so the result
    does not depend on how many it makes at once. The attempts are int64 (images,).

    Raises:
        ValueError: too many attempts in a row failed.
    """
    keys = stream(seed, TARGETS, numbers)
    snakes = Snakes.empty(len(numbers), paddles, 2)
    attempts = np.zeros(len(numbers), np.int64)
    waiting, fruitless = np.arange(len(numbers)), 0
    lanes = min(_LANES, max(1, _CANVAS_BYTES // (2 * tables.geometry.stride**2)))
    canvases = Canvases.blank(tables, min(lanes, len(numbers) * _LANES_AN_IMAGE))
    while len(waiting):
        images = waiting[:lanes]
        tries = min(lanes // len(images), _LANES_AN_IMAGE)
        image = np.repeat(images, tries)
        attempt = attempts[image] + np.tile(np.arange(1, tries + 1), len(images))
        good, grown = _attempt(tables, canvases[: len(image)], child(keys[image], attempt), paddles)
        winners, first = np.unique(image[good], return_index=True)
        attempts[images] += tries
        attempts[winners], snakes[winners] = attempt[good[first]], grown[good[first]]
        waiting = np.setdiff1d(waiting, winners)
        fruitless = 0 if len(winners) else fruitless + len(image)
        if fruitless > _FRUITLESS:
            raise ValueError(f"no two snakes of {paddles} paddles fit in {fruitless} attempts")
    return snakes, attempts


def _attempt(
    tables: Tables, canvases: Canvases, keys: np.ndarray, paddles: int
) -> tuple[np.ndarray, Snakes]:
    """Attempt two snakes in each lane; return the lanes that succeeded, and all snakes."""
    blank = Canvases.blank(tables, 1)
    canvases.core[:], canvases.halo[:] = blank.core, blank.halo
    snakes = _first_paddles(tables, keys, paddles)
    return grow(canvases, tables, keys, snakes), snakes


def _first_paddles(tables: Tables, keys: np.ndarray, paddles: int) -> Snakes:
    """Draw the first paddles of two snakes, given that the first snake has room."""
    g = tables.geometry
    row = integers(keys, 0, len(tables.degrees))
    room = tables.room[row]
    along = np.stack([integers(keys, 1 + axis, room[:, axis]) for axis in range(2)], axis=1)
    tail = tables.low[row] + along
    apart = g.seed_distance * directions(integers(keys, 3, DEGREES) * np.pi / 180)
    other = np.round(tail + apart).astype(np.int64)
    snakes = Snakes.empty(len(keys), paddles, 2)
    snakes.paddle[:, 0, 0] = tables.degrees[row]
    snakes.paddle[:, 0, 1] = integers(keys, 4, DEGREES)
    snakes.place[:, 0] = g.flat(g.pad + np.stack([tail, other], axis=1))
    snakes.pivot[:] = first_pivots(tables, snakes.paddle[:, 0], snakes.place[:, 0])[1]
    return snakes


def first_pivots(
    tables: Tables, paddle: np.ndarray | int, place: np.ndarray | int
) -> tuple[np.ndarray, np.ndarray]:
    """Return heads and pivots (..., 2) in the frame of first paddles (...) at indices (...)."""
    g = tables.geometry
    tail = np.stack([place // g.stride, place % g.stride], axis=-1) - g.pad
    head = translate(tail, tables.ahead[paddle], g.length)
    return head, translate(head, tables.behind[paddle], g.length + g.margin)
