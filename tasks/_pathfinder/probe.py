"""A probe that follows contours, to tell images whose labels fit from noise.

Both marks are found as the brightest spots of a disc's size. From each, contours of the known
number of paddles are followed by dynamic programming over places and directions (Viterbi's
algorithm): at each step a paddle further, turning by at most 45 degrees, gaining the logarithm of
the brightness along the paddle. An image speaks for "connected" by how much better the best
contour is that ends at the other mark than the best that ends elsewhere. That is right in two
cases of three at 32 x 32 pixels: enough for a check, and nothing is learned.
"""

import numpy as np

_DIRECTIONS = 16
_TURN = 2  # in steps of direction: 45 degrees
_TURN_COST, _SIDESTEP_COST = 0.15, 0.3
_BRIGHT, _DARKEST = 0.35, 0.05
_NEVER = -99.0
_CHUNK = 64
_ANGLES = np.arange(_DIRECTIONS) * 2 * np.pi / _DIRECTIONS
_UNIT = np.stack([np.sin(_ANGLES), np.cos(_ANGLES)], axis=1)


def evidence(images: np.ndarray, pitch: float, half: float, steps: int) -> np.ndarray:
    """What speaks for "connected", from either mark; float32 (n, 4), the first two the margins.

    Args:
        images: uint8 (n, side, side).
        pitch: pixels from one paddle to the next.
        half: pixels of half a paddle.
        steps: paddles after the first.
    """
    starts = range(0, len(images), _CHUNK)
    chunks = [_evidence(images[s : s + _CHUNK], pitch, half, steps) for s in starts]
    return np.concatenate(chunks) if chunks else np.empty((0, 4), np.float32)


def fit(found: np.ndarray, labels: np.ndarray) -> float:
    """Standard errors by which the evidence of the images with label 1 exceeds the others'."""
    margin = found[:, :2].sum(axis=1)
    one, zero = margin[labels == 1], margin[labels == 0]
    if min(len(one), len(zero)) < 2:
        return 0.0
    error = np.sqrt(one.var(ddof=1) / len(one) + zero.var(ddof=1) / len(zero))
    return float((one.mean() - zero.mean()) / max(error, 1e-9))


def _evidence(images: np.ndarray, pitch: float, half: float, steps: int) -> np.ndarray:
    light = np.minimum(images.astype(np.float32) / (255 * _BRIGHT), 1)
    gain = np.stack([_along(light, unit * half) for unit in _UNIT])
    one, two = _marks(images)
    scores = [_follow(gain, a, b, pitch, half, steps) for a, b in ((one, two), (two, one))]
    margins = [there - elsewhere for there, elsewhere in scores]
    return np.stack([*margins, *(there for there, _ in scores)], axis=1)


def _marks(images: np.ndarray) -> list[np.ndarray]:
    """Places (y, x), each int (2, n), of the two brightest blocks of 3 x 3 pixels."""
    count, side, _ = images.shape
    padded = np.pad(images.astype(np.int32), ((0, 0), (1, 1), (1, 1)))
    blocks = sum(padded[:, y : y + side, x : x + side] for y in range(3) for x in range(3))
    light = np.asarray(blocks)
    y, x = np.mgrid[:side, :side]
    places = []
    for _ in range(2):
        place = np.stack(divmod(light.reshape(count, -1).argmax(axis=1), side))
        places.append(place)
        near = _near(y, x, place)
        light = np.where(near, -1, light)
    return places


def _near(y: np.ndarray, x: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Which pixels are within two of the place, bool (n, side, side)."""
    rows, columns = place[:, :, None, None]
    return (np.abs(y - rows) <= 2) & (np.abs(x - columns) <= 2)


def _along(light: np.ndarray, half: np.ndarray) -> np.ndarray:
    """Logarithm of the mean light at each pixel and half a paddle to both sides of it."""
    offsets = [np.rint(t * half).astype(int) for t in (-1, 0, 1)]
    means = sum(_shift(light, -y, -x, 0) for y, x in offsets) / 3
    return np.log(means + _DARKEST)


def _follow(
    gain: np.ndarray, start: np.ndarray, end: np.ndarray, pitch: float, half: float, steps: int
) -> tuple[np.ndarray, np.ndarray]:
    """Scores (n,) of the best contour from `start` to `end`, and of the best to elsewhere."""
    count, side = gain.shape[1], gain.shape[-1]
    best = np.full_like(gain, _NEVER)
    for direction, unit in enumerate(_UNIT):
        first = np.rint(start + half * unit[:, None]).astype(int).clip(0, side - 1)
        best[direction, np.arange(count), *first] = 0
    for _ in range(steps):
        best = _step(_spread(best, _SIDESTEP_COST), pitch) + gain
    ends = np.rint(half * _UNIT).astype(int).tolist()
    tips = [_shift(b, y, x, _NEVER) for b, (y, x) in zip(best, ends, strict=True)]
    reached = _spread(np.max(tips, axis=0), 0)
    there = reached[np.arange(count), *end]
    y, x = np.mgrid[:side, :side]
    near = _near(y, x, end)
    return there, np.where(near, _NEVER, reached).reshape(count, -1).max(axis=1)


def _step(best: np.ndarray, pitch: float) -> np.ndarray:
    """The best scores a paddle further: half the pitch in the old direction, half in the new."""
    further = np.full_like(best, _NEVER)
    for old in range(_DIRECTIONS):
        for turn in range(-_TURN, _TURN + 1):
            new = (old + turn) % _DIRECTIONS
            y, x = np.rint(pitch / 2 * (_UNIT[old] + _UNIT[new])).astype(int)
            moved = _shift(best[old], y, x, _NEVER) - _TURN_COST * abs(turn)
            np.maximum(further[new], moved, out=further[new])
    return further


def _spread(scores: np.ndarray, cost: float) -> np.ndarray:
    """The best of each pixel and, at a cost, of its four neighbours."""
    best = scores.copy()
    for y, x in ((0, 1), (1, 0), (0, -1), (-1, 0)):
        np.maximum(best, _shift(scores, y, x, _NEVER) - cost, out=best)
    return best


def _shift(planes: np.ndarray, y: int, x: int, fill: float) -> np.ndarray:
    """Planes (..., side, side) moved down by `y` and right by `x` pixels."""
    side = planes.shape[-1]
    moved = np.full_like(planes, fill)
    to = [slice(max(d, 0), side + min(d, 0)) for d in (y, x)]
    source = [slice(max(-d, 0), side + min(-d, 0)) for d in (y, x)]
    moved[..., to[0], to[1]] = planes[..., source[0], source[1]]
    return moved
