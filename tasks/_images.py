"""Square grey images as tokens: token = grey value, 0 to 255; all have the same number.

No pixel is padding, unless `black` says that black ones are: then padding may be anywhere.
"""

from typing import Literal

import numpy as np

VOCAB_SIZE = 256
# How black pixels are read, the values of a task's option `black`.
Black = Literal["pixel", "padding"]
_LUMA = np.array([0.2989, 0.5870, 0.1140], np.float32)


def pad_id(black: Black) -> int | None:
    """Return the token id of padding: that of black, or None if black is a pixel like others."""
    return 0 if black == "padding" else None


def luma(pixels: np.ndarray) -> np.ndarray:
    """Convert RGB images, uint8 (n, y, x, 3), to grey values, uint8 (n, y, x).

    The weights and the rounding are those of `tf.image.rgb_to_grayscale`, which the Long Range
    Arena used: values in [0, 1] times 255.5, rounded down.
    """
    return np.floor(pixels.astype(np.float32) @ _LUMA * (255.5 / 255)).astype(np.uint8)


def shrink(images: np.ndarray, factor: int) -> np.ndarray:
    """Average blocks of `factor` x `factor` pixels; uint8 (n, y, x) to (n, y/f, x/f)."""
    if factor == 1:
        return images
    count, height, width = images.shape
    blocks = images.reshape(count, height // factor, factor, width // factor, factor)
    return np.rint(blocks.mean(axis=(2, 4), dtype=np.float32)).astype(np.uint8)


def to_tokens(images: np.ndarray) -> np.ndarray:
    """Flatten images row by row: uint8 (n, y, x) to (n, y * x)."""
    count, height, width = images.shape
    return np.ascontiguousarray(images.reshape(count, height * width))


def to_text(tokens: np.ndarray, side: int) -> str:
    """Draw an image in characters, dark to bright, two characters per pixel."""
    ramp = np.array(list(" .:-=+*#%@"))
    rows = ramp[tokens.reshape(side, side).astype(int) * len(ramp) // VOCAB_SIZE]
    return "\n" + "\n".join("".join(np.repeat(row, 2)) for row in rows)


def check_shrink(factor: int, side: int) -> None:
    """Raise ValueError unless `factor` divides `side`, in pixels."""
    if factor < 1 or side % factor:
        raise ValueError(f"shrink={factor}: must divide the side of {side} pixels")


def coarse(images: np.ndarray) -> np.ndarray:
    """Return 8 x 8 means of the grey values and of both slopes, and squares of the former.

    float32 (n, 256).
    """
    grey = images.astype(np.float32) / 255
    down, right = np.abs(np.diff(grey, axis=1)), np.abs(np.diff(grey, axis=2))
    slopes = [np.pad(down, ((0, 0), (0, 1), (0, 0))), np.pad(right, ((0, 0), (0, 0), (0, 1)))]
    count, side = len(grey), min(8, grey.shape[1])
    factor = grey.shape[1] // side
    means = [
        plane.reshape(count, side, factor, side, factor).mean(axis=(2, 4)).reshape(count, -1)
        for plane in (grey, *slopes)
    ]
    return np.concatenate([means[0], means[0] ** 2, *means[1:]], axis=1)
