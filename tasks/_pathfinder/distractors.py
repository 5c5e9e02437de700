"""Draw Pathfinder's distractors: short snakes in the space that the two long ones leave.

An image has few of them, so only their growth is done for many images at once. The free pixels are
bits of one integer per image, because shifting and merging integers costs next to nothing.
"""

import numpy as np

from lra_bench.tasks._draws import child, stream, uniform
from lra_bench.tasks._pathfinder.growth import (
    DISTRACTORS,
    Canvases,
    Snakes,
    first_pivots,
    grow,
    merge,
)
from lra_bench.tasks._pathfinder.paddles import DEGREES, Tables, from_bits

_TRIES, _SEED_TRIES = 5, 3
_LEAST_FREE = 0.01


class Distractors:
    """The distractors of images that already have their two long snakes.

    Attributes:
        line: the visible pixels of the distractors, uint8 (images, pixels).
        count: the number of distractors of each image, int64 (images,).
    """

    def __init__(self, tables: Tables, targets: Snakes) -> None:
        images = len(targets.paddle)
        self.line = np.zeros((images, tables.geometry.stride**2), np.uint8)
        self.count = np.zeros(images, np.int64)
        self._tables = tables
        self._canvases = Canvases.blank(tables, images)
        self._taken = [tables.border] * images
        everyone = np.arange(images)
        # Snake 1's last paddle never joins the mask: distractors may touch its tip.
        self._occupy(everyone, targets.paddle[:, :-1, 0], targets.place[:, :-1, 0])
        self._occupy(everyone, targets.paddle[:, :, 1], targets.place[:, :, 1])

    def add(self, seed: int, numbers: np.ndarray, paddles: int, most: int) -> None:
        """Try to add `most` distractors of `paddles` paddles to each image; fewer may find room.

        `numbers`, (images,), are the images' numbers, on which the random draws depend.
        """
        keys = stream(seed, DISTRACTORS, numbers)
        for distractor in range(most):
            waiting = np.arange(len(numbers))
            for trial in range(_TRIES):
                attempt = child(keys[waiting], 1 + distractor * _TRIES + trial)
                waiting = self._try(waiting, attempt, paddles)

    def _try(self, images: np.ndarray, keys: np.ndarray, paddles: int) -> np.ndarray:
        """Try once for each of the images (n,); return those where it failed."""
        rows, snakes = self._seeds(images, keys, paddles)
        good = grow(self._canvases[images[rows]], self._tables, keys[rows], snakes)
        placed, snakes = images[rows[good]], snakes[good]
        self._occupy(placed, snakes.paddle[:, :, 0], snakes.place[:, :, 0])
        self._draw(placed, snakes.paddle[:, :, 0], snakes.place[:, :, 0])
        self.count[placed] += 1
        return np.setdiff1d(images, placed)

    def _seeds(
        self, images: np.ndarray, keys: np.ndarray, paddles: int
    ) -> tuple[np.ndarray, Snakes]:
        """Return the rows of the images where a first paddle finds room, and those snakes."""
        chances = np.stack([uniform(keys, draw) for draw in range(2 * _SEED_TRIES)], axis=1)
        pairs = zip(images.tolist(), chances.tolist(), strict=True)
        seeds = {row: self._seed(*pair) for row, pair in enumerate(pairs)}
        fitting = {row: seed for row, seed in seeds.items() if seed}
        snakes = Snakes.empty(len(fitting), paddles, 1)
        for row, (paddle, place) in enumerate(fitting.values()):
            snakes.paddle[row, 0], snakes.place[row, 0] = paddle, place
        snakes.pivot[:] = first_pivots(self._tables, snakes.paddle[:, 0], snakes.place[:, 0])[1]
        return np.array(list(fitting), np.int64), snakes

    def _seed(self, image: int, chances: list[float]) -> tuple[int, int] | None:
        """Draw a first paddle and its flat index; None if there is no room."""
        side = self._tables.geometry.side
        for draw in range(0, len(chances), 2):
            degree = int(chances[draw] * DEGREES)
            free = self._free(image, degree)
            if not len(free):
                return None
            place = int(free[int(chances[draw + 1] * len(free))])
            points = np.stack(first_pivots(self._tables, degree, place))
            if ((points >= 0) & (points < side)).all():
                return degree, place
        return None

    def _free(self, image: int, degree: int) -> np.ndarray:
        """Return the flat indices where a first paddle can start among free pixels only."""
        tables = self._tables
        taken = self._taken[image] & tables.frame
        area = tables.geometry.side**2
        if not tables.kernel[degree] or area - taken.bit_count() < _LEAST_FREE * area:
            return np.empty(0, np.int64)
        taken, near = taken | tables.edge, 0
        for offset in tables.kernel[degree]:
            near |= taken >> offset if offset > 0 else taken << -offset
        free = tables.frame & ~near
        return np.flatnonzero(from_bits(free, tables.geometry.stride**2))

    def _occupy(self, images: np.ndarray, paddle: np.ndarray, place: np.ndarray) -> None:
        """Merge snakes (images, paddles) into the masks."""
        g, size = self._tables.geometry, self.line.shape[1]
        for column in range(paddle.shape[1]):
            origin = images * size + place[:, column]
            self._canvases.merge(self._tables, paddle[:, column], origin)
        corner = g.reach * (g.stride + 1)
        for image, *snake in zip(images.tolist(), paddle.tolist(), place.tolist(), strict=True):
            for kind, index in zip(*snake, strict=True):
                self._taken[image] |= self._tables.taken[kind] << index - corner

    def _draw(self, images: np.ndarray, paddle: np.ndarray, place: np.ndarray) -> None:
        size = self.line.shape[1]
        for column in range(paddle.shape[1]):
            merge(self.line, self._tables.line, paddle[:, column], images * size + place[:, column])
