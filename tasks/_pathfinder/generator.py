"""Generate Pathfinder images, many at a time, from the same distribution as the reference.

The reference (drewlinsley/pathfinder, snakes2.py, with google-research/long-range-arena's settings)
draws two long snakes at once, paddle by paddle, and starts over whenever one gets stuck, hundreds
of times per image. Here many attempts grow in lockstep, and only successful ones are drawn.
Image i is a function of (parameters, seed, i) only, not of the other images of the call.
"""

import functools
import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

from lra_bench.tasks._draws import integers, stream
from lra_bench.tasks._pathfinder.distractors import Distractors
from lra_bench.tasks._pathfinder.growth import (
    SCENE,
    Snakes,
    grow_targets,
    merge,
)
from lra_bench.tasks._pathfinder.paddles import DEGREES, Geometry, Tables, tabulate

_IMAGES_A_BLOCK = 128
_LANCZOS_REACH = 3


@dataclass(frozen=True)
class Spec:
    """The parameters of the images.

    Attributes:
        side: of the image, in pixels.
        contour_length, distractor_length: of a long and of a short snake, in paddles.
        num_distractors: how many short snakes to try.
        paddle_length, thickness: of a paddle, in pixels.
        margins: the gaps around a paddle, in pixels; each image draws one of them.
        padding: the border without snakes, in pixels.
        antialias: the factor by which paddles are drawn larger and then reduced.
        seed_distance: between the first paddles of the two long snakes, in pixels.
        continuity: how strongly a snake prefers to go straight on.
        marker_radius: in pixels.
        snake_contrast, paddle_contrast: factors of brightness.
    """

    side: int
    contour_length: int
    distractor_length: int
    num_distractors: int
    paddle_length: int
    thickness: float
    margins: tuple[int, ...]
    padding: int
    antialias: int
    seed_distance: int
    continuity: float
    marker_radius: float
    snake_contrast: float
    paddle_contrast: float

    def __post_init__(self) -> None:
        # Then no first paddle of a long snake leaves the frame, where it would have to be redrawn.
        least = max(self.paddle_length + max(self.margins) + 2, self.padding / 2)
        if not least <= self.seed_distance < self.side / 4:
            raise ValueError(f"a seed distance of {self.seed_distance} doesn't suit the frame")
        if self.padding < 1:
            raise ValueError("the padding is at least 1 pixel")

    def tables(self, margin: int) -> Tables:
        """Return the drawn parts for one of the margins."""
        return tabulate(
            Geometry(
                side=self.side,
                length=self.paddle_length,
                thickness=self.thickness,
                margin=margin,
                padding=self.padding,
                antialias=self.antialias,
                seed_distance=self.seed_distance,
                continuity=self.continuity,
            )
        )


@dataclass(frozen=True)
class Trace:
    """The history of the images; all int64 (images,).

    Attributes:
        margins: in pixels.
        attempts: at which the long snakes succeeded, without those where the first snake had no
            room, see `seed_share`.
        distractors: how many found room.
    """

    margins: np.ndarray
    attempts: np.ndarray
    distractors: np.ndarray


# Paddles in all distractors, length, thickness, margins, padding, seed distance, continuity, marker
# radius, snake contrast, paddle contrast. Values that the Long Range Arena does not set for a side
# are the defaults of the reference's script.
_SIDES = {
    32: (20, 2, 0.5, (1,), 1, 7, 1.0, 1.5, 2.0, 0.75),
    64: (22, 5, 1.0, (1,), 1, 12, 1.8, 2.5, 0.8, 1.0),
    128: (35, 5, 1.5, (2, 3), 1, 20, 1.8, 3.0, 0.9, 1.0),
    256: (30, 5, 2.0, (3,), 22, 27, 1.8, 5.0, 1.0, 1.0),
}


def spec(side: int, contour_length: int) -> Spec:
    """Return the Long Range Arena's parameters; contours of 14 paddles are "hard", 6 are "easy".

    Raises:
        ValueError: there are none for this side or contour length.
    """
    if side not in _SIDES:
        raise ValueError(f"the side of a Pathfinder image is one of {sorted(_SIDES)}, not {side}")
    if contour_length < 3:
        raise ValueError(f"a Pathfinder contour has at least 3 paddles, not {contour_length}")
    paddles, length, thickness, margins, padding, distance, continuity, *marks = _SIDES[side]
    return Spec(
        side=side,
        contour_length=contour_length,
        distractor_length=contour_length // 3,
        num_distractors=paddles // (contour_length // 3),
        paddle_length=length,
        thickness=thickness,
        margins=margins,
        padding=padding,
        antialias=2,
        seed_distance=distance,
        continuity=continuity,
        marker_radius=marks[0],
        snake_contrast=marks[1],
        paddle_contrast=marks[2],
    )


def generate(spec: Spec, seed: int, start: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Generate the images `start` to `start + count - 1` of a seed.

    Returns:
        images uint8 (count, side, side); labels int64 (count,), 1 if the markers are at both ends
        of one snake.
    """
    return trace(spec, seed, start, count)[:2]


def trace(spec: Spec, seed: int, start: int, count: int) -> tuple[np.ndarray, np.ndarray, Trace]:
    """Generate images and labels as `generate` does, and tell how they were made."""
    numbers = np.arange(start, start + count)
    keys = stream(seed, SCENE, numbers)
    labels, marked = integers(keys, 0, 2), integers(keys, 1, 2)
    margins = np.array(spec.margins)[integers(keys, 2, len(spec.margins))]
    images = np.empty((count, spec.side, spec.side), np.uint8)
    history = Trace(margins, np.zeros(count, np.int64), np.zeros(count, np.int64))
    for margin in spec.margins:
        rows = np.flatnonzero(margins == margin)
        tables = spec.tables(margin)
        snakes, attempts = grow_targets(tables, seed, numbers[rows], spec.contour_length)
        history.attempts[rows] = attempts
        for first in range(0, len(rows), _IMAGES_A_BLOCK):
            block = slice(first, first + _IMAGES_A_BLOCK)
            in_block = rows[block]
            distractors = Distractors(tables, snakes[block])
            distractors.add(seed, numbers[in_block], spec.distractor_length, spec.num_distractors)
            history.distractors[in_block] = distractors.count
            picture = _compose(spec, tables, snakes[block], distractors.line)
            _mark(spec, tables, picture, snakes[block], marked[in_block], labels[in_block])
            images[in_block] = _to_bytes(picture)
    return images, labels, history


def seed_share(spec: Spec, margin: int) -> float:
    """Return the share, in [0, 1], of the reference's attempts whose first snake finds room."""
    return len(spec.tables(margin).degrees) / DEGREES


def _compose(spec: Spec, tables: Tables, snakes: Snakes, distractors: np.ndarray) -> np.ndarray:
    """Draw snakes and distractors, in the reference's contrasts: float64 (images, side, side)."""
    g = tables.geometry
    images, paddles, together = snakes.paddle.shape
    line = np.zeros_like(distractors)
    origin = np.arange(images) * line.shape[1]
    for index in range(paddles * together):
        step, snake = divmod(index, together)
        merge(
            line, tables.line, snakes.paddle[:, step, snake], origin + snakes.place[:, step, snake]
        )
    inner = slice(g.pad, -g.pad)
    shape = (images, g.stride, g.stride)
    line, distractors = (part.reshape(shape)[:, inner, inner] for part in (line, distractors))
    contrast = spec.snake_contrast * spec.paddle_contrast
    return np.maximum(line / 255 * contrast, distractors / 255 * spec.snake_contrast)


def _mark(
    spec: Spec,
    tables: Tables,
    pictures: np.ndarray,
    snakes: Snakes,
    marked: np.ndarray,
    labels: np.ndarray,
) -> None:
    """Mark the first tip of snake `marked`, and the last tip of the same snake.

    If the label is 0, the second mark is at the last tip of the other snake.
    """
    g = tables.geometry
    rows = np.arange(len(pictures))
    last = np.where(labels == 1, marked, 1 - marked)
    tips = np.stack([snakes.place[rows, 0, marked], snakes.place[rows, -1, last]], axis=1)
    coordinates = np.stack([tips // g.stride, tips % g.stride], axis=-1) - g.pad
    for picture, pair in zip(pictures, coordinates.tolist(), strict=True):
        for y, x in pair:
            rows, columns, disc = marker(spec, y, x)
            np.maximum(picture[rows, columns], disc, out=picture[rows, columns])


def marker(spec: Spec, y: int, x: int) -> tuple[slice, slice, np.ndarray]:
    """Return the rows and columns that a marker around a pixel covers, and its values in [0, 1].

    Only pixels that can be other than 0 are drawn, and none outside the frame: at its edge the
    filter's weights change.
    """
    far = math.ceil(spec.marker_radius) + _LANCZOS_REACH + 1
    bounds = [(min(far, c), min(far + 1, spec.side - c)) for c in (y, x)]
    disc = _disc(spec.marker_radius, spec.antialias, *bounds)
    rows, columns = (slice(c - a, c + b) for c, (a, b) in zip((y, x), bounds, strict=True))
    return rows, columns, disc


@functools.lru_cache(maxsize=4096)
def _disc(radius: float, scale: int, rows: tuple[int, int], columns: tuple[int, int]) -> np.ndarray:
    """Draw a disc in a window of `rows` and `columns`: pixels before the centre, and from it on."""
    down, across = (np.arange(-a * scale, b * scale) for a, b in (rows, columns))
    disc = down[:, None] ** 2 + across**2 <= (radius * scale) ** 2
    size = (sum(columns), sum(rows))
    small = Image.fromarray(255 * disc.astype(np.uint8)).resize(size, Image.Resampling.LANCZOS)
    return np.asarray(small) / 255


def _to_bytes(pictures: np.ndarray) -> np.ndarray:
    """Stretch each picture (n, side, side) to the range 0 to 255 and round to uint8."""
    low, high = pictures.min(axis=(1, 2), keepdims=True), pictures.max(axis=(1, 2), keepdims=True)
    return ((pictures - low) * (255 / (high - low)) + 0.5).astype(np.uint8)
