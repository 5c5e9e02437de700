"""Follow contours in Pathfinder images, to tell whether their labels fit or are noise.

The two marks are the brightest spots of a disc's size. From each mark, dynamic programming over
positions and directions (Viterbi's algorithm) follows contours of the known number of paddles.
Each step goes one paddle further, turns by at most 45 degrees, and gains the logarithm of the
brightness along the paddle. The evidence for "connected" is how much the best contour to the other
mark exceeds the best contour to any other position. It is right in two of three cases at 32 x 32
pixels. That suffices for a check, and nothing is learned.
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
    """Return the evidence for "connected", from each mark: margins, then scores; float32 (n, 4).

    Args:
        images: uint8 (n, side, side).
        pitch: the distance from one paddle to the next, in pixels.
        half: half the length of a paddle, in pixels.
        steps: the number of paddles after the first.
    """
    starts = range(0, len(images), _CHUNK)
    chunks = [_evidence(images[s : s + _CHUNK], pitch, half, steps) for s in starts]
    return np.concatenate(chunks) if chunks else np.empty((0, 4), np.float32)


def fit(evidence: np.ndarray, labels: np.ndarray) -> float:
    """Return by how many standard errors the evidence at label 1 exceeds that at label 0.

    Args:
        evidence: of each image, (n, 4).
        labels: 0 or 1, (n,).
    """
    margin = evidence[:, :2].sum(axis=1)
    connected, apart = margin[labels == 1], margin[labels == 0]
    if min(len(connected), len(apart)) < 2:
        return 0.0
    error = np.sqrt(connected.var(ddof=1) / len(connected) + apart.var(ddof=1) / len(apart))
    return float((connected.mean() - apart.mean()) / max(error, 1e-9))


def _evidence(images: np.ndarray, pitch: float, half: float, steps: int) -> np.ndarray:
    light = np.minimum(images.astype(np.float32) / (255 * _BRIGHT), 1)
    gain = np.stack([_along(light, unit * half) for unit in _UNIT])
    first, second = _marks(images)
    ways = ((first, second), (second, first))
    scores = [_follow(gain, start, end, pitch, half, steps) for start, end in ways]
    margins = [to_end - elsewhere for to_end, elsewhere in scores]
    return np.stack([*margins, *(to_end for to_end, _ in scores)], axis=1)


def _marks(images: np.ndarray) -> list[np.ndarray]:
    """Return the positions (y, x), each int (2, n), of the two brightest blocks of 3 x 3 pixels."""
    count, side, _ = images.shape
    padded = np.pad(images.astype(np.int32), ((0, 0), (1, 1), (1, 1)))
    blocks = sum(padded[:, y : y + side, x : x + side] for y in range(3) for x in range(3))
    light = np.asarray(blocks)
    y, x = np.mgrid[:side, :side]
    marks = []
    for _ in range(2):
        mark = np.stack(divmod(light.reshape(count, -1).argmax(axis=1), side))
        marks.append(mark)
        light = np.where(_near(y, x, mark), -1, light)
    return marks


def _near(y: np.ndarray, x: np.ndarray, mark: np.ndarray) -> np.ndarray:
    """Return which pixels are within 2 pixels of a mark (2, n), bool (n, side, side)."""
    rows, columns = mark[:, :, None, None]
    return (np.abs(y - rows) <= 2) & (np.abs(x - columns) <= 2)


def _along(light: np.ndarray, half: np.ndarray) -> np.ndarray:
    """Return the log of the mean light at each pixel and half a paddle before and after it."""
    offsets = [np.rint(t * half).astype(int) for t in (-1, 0, 1)]
    means = sum(_shift(light, -y, -x, 0) for y, x in offsets) / 3
    return np.log(means + _DARKEST)


def _follow(
    gain: np.ndarray, start: np.ndarray, end: np.ndarray, pitch: float, half: float, steps: int
) -> tuple[np.ndarray, np.ndarray]:
    """Score the best contour from `start` to `end`, and the best to any other pixel; both (n,)."""
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
    to_end = reached[np.arange(count), *end]
    y, x = np.mgrid[:side, :side]
    near = _near(y, x, end)
    return to_end, np.where(near, _NEVER, reached).reshape(count, -1).max(axis=1)


def _step(best: np.ndarray, pitch: float) -> np.ndarray:
    """Move scores a paddle further: half the pitch in the old direction, half in the new."""
    further = np.full_like(best, _NEVER)
    for old in range(_DIRECTIONS):
        for turn in range(-_TURN, _TURN + 1):
            new = (old + turn) % _DIRECTIONS
            y, x = np.rint(pitch / 2 * (_UNIT[old] + _UNIT[new])).astype(int)
            moved = _shift(best[old], y, x, _NEVER) - _TURN_COST * abs(turn)
            np.maximum(further[new], moved, out=further[new])
    return further


def _spread(scores: np.ndarray, cost: float) -> np.ndarray:
    """Return the best score of each pixel and, at a cost, of its four neighbours."""
    best = scores.copy()
    for y, x in ((0, 1), (1, 0), (0, -1), (-1, 0)):
        np.maximum(best, _shift(scores, y, x, _NEVER) - cost, out=best)
    return best


def _shift(planes: np.ndarray, y: int, x: int, fill: float) -> np.ndarray:
    """Move planes (..., side, side) down by `y` and right by `x` pixels."""
    side = planes.shape[-1]
    moved = np.full_like(planes, fill)
    to = [slice(max(d, 0), side + min(d, 0)) for d in (y, x)]
    source = [slice(max(-d, 0), side + min(-d, 0)) for d in (y, x)]
    moved[..., to[0], to[1]] = planes[..., source[0], source[1]]
    return moved
