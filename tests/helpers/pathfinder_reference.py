"""Pathfinder images made plainly: whole frames, one paddle at a time, drawn anew for each try.

What the documentation of the reference generator describes, step by step, with none of the fast
generator's tables or shortcuts: the tests compare statistics with it, the benchmark its speed.
Coordinates are (y, x), angles radians, masks and images floats.
"""

import math

import numpy as np
from PIL import Image, ImageDraw

TRIES = 3
DISTRACTOR_TRIES = 5
LANCZOS = Image.Resampling.LANCZOS


class Plain:
    """Draws images of a `Spec` with a NumPy generator, counting its attempts."""

    def __init__(self, spec, seed):
        self.spec, self.rng = spec, np.random.default_rng(seed)
        self.margin = spec.margins[0]
        self.attempts = self.seeded = self.steps = self.stuck = self.placed = 0

    def image(self):
        """One image, uint8 (side, side), and its label."""
        spec = self.spec
        label = int(self.rng.integers(2))
        self.margin = int(self.rng.choice(spec.margins))
        pair = None
        while pair is None:
            self.attempts += 1
            pair = self.two_snakes()
        images, mask, origins, ends = pair
        image = np.maximum(*images)
        for _ in range(spec.num_distractors):
            image, mask = self.add_distractor(image, mask)
        first = int(self.rng.integers(2))
        last = first if label else 1 - first
        for y, x in (origins[first], ends[last]):
            image = np.maximum(image, self.marker(y, x))
        stretched = (image - image.min()) * 255 / (image.max() - image.min())
        return (stretched + 0.5).astype(np.uint8), label

    def two_snakes(self):
        spec, side = self.spec, self.spec.side
        mask = np.zeros((side, side))
        frame_border(mask, spec.padding)
        tails = self.two_tails(mask)
        if tails is None:
            return None
        self.seeded += 1
        snakes = [self.first_paddle(*tail, spec.paddle_contrast) for tail in tails]
        for _ in range(spec.contour_length - 1):
            for index in range(2):
                grown = self.extend(mask, snakes[index], spec.paddle_contrast)
                if grown is None:
                    return None
                mask, snakes[index] = grown
        mask = np.maximum(mask, snakes[1]["mask"])
        images = [snake["image"] for snake in snakes]
        return images, mask, [tail for tail, _ in tails], [snake["tip"] for snake in snakes]

    def two_tails(self, mask):
        spec = self.spec
        first = self.seed(mask, 2 * spec.seed_distance)
        if first is None:
            return None
        for _ in range(TRIES):
            angle = self.degree()
            way = self.rng.integers(360) * np.pi / 180
            y = round(first[0][0] + spec.seed_distance * math.sin(way))
            x = round(first[0][1] + spec.seed_distance * math.cos(way))
            if self.fits((y, x), angle):
                return first, ((y, x), angle)
        return None

    def degree(self):
        return self.rng.integers(-180, 180) * np.pi / 180

    def seed(self, mask, border):
        """A free tail and its angle, or None."""
        for _ in range(TRIES):
            angle = self.degree()
            lined = mask.copy()
            frame_border(lined, border)
            occupied = np.ceil(dilate(lined, *self.element(angle)) - 0.3)
            if occupied.min() < 0:  # nothing of the frame seen from somewhere: -infinity
                return None
            free = np.argwhere(occupied == 0)
            if not len(free):
                return None
            tail = tuple(free[self.rng.integers(len(free))].tolist())
            if self.fits(tail, angle):
                return tail, angle
        return None

    def element(self, angle):
        """What a seed's mask is dilated by, and the pixel of it that lies on the tail."""
        reach = self.spec.paddle_length + self.margin
        shape = (2 * reach + 1, 2 * reach + 1)
        _, mask = self.paddle(shape, (reach + 1, reach + 1), angle)
        return mask == 1, reach

    def fits(self, tail, angle):
        points = self.head_and_pivot(tail, angle)
        return all(0 <= c < self.spec.side for point in points for c in point)

    def head_and_pivot(self, tail, angle):
        length = self.spec.paddle_length
        head = translate(tail, angle, length)
        return head, translate(head, flip(angle), length + self.margin)

    def first_paddle(self, tail, angle, contrast):
        """A snake: what is visible of it, the mask of its last paddle, pivot, angle and tip."""
        side = self.spec.side
        image, mask = self.paddle((side, side), tail, angle)
        pivot = self.head_and_pivot(tail, angle)[1]
        image = image * (contrast * self.spec.snake_contrast)
        return {"image": image, "mask": mask, "pivot": pivot, "angle": angle, "tip": tail}

    def extend(self, mask, snake, contrast):
        """The mask with the snake's last paddle, and the snake with one more; None if stuck."""
        spec = self.spec
        self.steps += 1
        pivot = translate(snake["pivot"], snake["angle"], spec.paddle_length + 2 * self.margin)
        dilated = dilate(mask, disc(self.margin), self.margin)
        points, angles, chances = self.followers(pivot, snake["angle"], dilated)
        for _ in range(TRIES if chances.sum() >= 1e-4 else 0):
            below = np.cumsum(chances / chances.sum())
            choice = int(np.argmax(below > self.rng.random()))
            tip = tuple(points[choice].tolist())
            image, new = self.paddle((spec.side, spec.side), tip, flip(angles[choice]))
            if (mask + new).max() < 1.8:
                image = np.maximum(snake["image"], image * (contrast * spec.snake_contrast))
                grown = {"image": image, "mask": new, "pivot": pivot, "angle": angles[choice]}
                return np.maximum(mask, snake["mask"]), {**grown, "tip": tip}
        self.stuck += 1
        return None

    def followers(self, pivot, last, dilated):
        radius = self.spec.paddle_length + self.margin
        angles = np.deg2rad(np.arange(0, 360, 360 / (2 * radius * np.pi)))
        exact = np.array(pivot) + radius * np.stack([np.sin(angles), np.cos(angles)], axis=1)
        inside = ((exact >= 0) & (exact < self.spec.side)).all(axis=1)
        points = np.unique(exact[inside].astype(int), axis=0)
        angles = np.arctan2(*(points - pivot).T)
        turn = np.minimum(abs(angles - last), 2 * np.pi - abs(angles - last))
        weight = np.cos(np.minimum(self.spec.continuity * turn, np.pi / 2)) ** 2
        return points, angles, weight * (1 - dilated[tuple(points.T)])

    def add_distractor(self, image, mask):
        for _ in range(DISTRACTOR_TRIES):
            grown = self.distractor(mask)
            if grown is not None:
                self.placed += 1
                return np.maximum(image, grown[0]), grown[1]
        return image, mask

    def distractor(self, mask):
        if (np.ceil(mask - 0.3) <= 0).mean() < 0.01:
            return None
        seed = self.seed(mask, 1)
        if seed is None:
            return None
        snake = self.first_paddle(*seed, 1)
        for _ in range(self.spec.distractor_length - 1):
            grown = self.extend(mask, snake, 1)
            if grown is None:
                return None
            mask, snake = grown
        return snake["image"], np.maximum(mask, snake["mask"])

    def paddle(self, shape, start, angle):
        """A paddle and its mask in frames of a shape."""
        spec, scale = self.spec, self.spec.antialias
        reach = spec.paddle_length + math.ceil(spec.thickness) + self.margin
        center = reach * scale
        canvas = Image.new("F", (2 * center + 1, 2 * center + 1))
        y, x = translate((center, center), angle, spec.paddle_length * scale)
        width = round(spec.thickness * scale)
        ImageDraw.Draw(canvas).line([(center, center), (x, y)], fill="white", width=width)
        line = np.array(canvas)
        fat = dilate(line, disc(self.margin * scale), self.margin * scale)
        return tuple(in_frame(shrink(part, 2 * reach + 1), shape, start) for part in (line, fat))

    def marker(self, y, x):
        side, scale = self.spec.side, self.spec.antialias
        down, across = np.ogrid[: side * scale, : side * scale]
        squared = (down - y * scale) ** 2 + (across - x * scale) ** 2
        return shrink(255 * (squared <= (self.spec.marker_radius * scale) ** 2), side)


def frame_border(mask, width):
    mask[:width] = mask[-width:] = mask[:, :width] = mask[:, -width:] = 1


def translate(point, angle, distance):
    y, x = point[0] + distance * np.sin(angle), point[1] + distance * np.cos(angle)
    return math.ceil(y), math.ceil(x)


def flip(angle):
    return angle + np.pi if angle < 0 else angle - np.pi


def disc(radius):
    y, x = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    return y**2 + x**2 <= radius**2


def dilate(image, element, center):
    """The maximum over an element's pixels about each pixel, -infinity where there are none."""
    height, width = image.shape
    framed = np.pad(image, center, constant_values=-np.inf)
    result = np.full(image.shape, -np.inf)
    for y, x in np.argwhere(element):
        result = np.maximum(result, framed[y : y + height, x : x + width])
    return result


def shrink(fine, side):
    small = Image.fromarray(fine.astype(np.uint8)).resize((side, side), LANCZOS)
    return np.asarray(small) / np.float32(255)


def in_frame(window, shape, start):
    """A window put into a frame of zeros, centred at a pixel, cropped."""
    reach = len(window) // 2
    frame = np.zeros((shape[0] + 2 * reach, shape[1] + 2 * reach))
    frame[start[0] : start[0] + len(window), start[1] : start[1] + len(window)] = window
    return frame[reach : reach + shape[0], reach : reach + shape[1]]
