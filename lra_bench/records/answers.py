"""Which examples of a split were answered rightly: a bit an example, as text."""

import base64

import numpy as np
from jaxtyping import Bool

from lra_bench.errors import RunError


def pack(correct: Bool[np.ndarray, " n"]) -> str:
    """A bit an example, the first in the highest bit of a byte, in base64."""
    return base64.b64encode(np.packbits(correct).tobytes()).decode()


def unpack(text: str, examples: int) -> Bool[np.ndarray, " n"]:
    """What `pack` was given.

    Raises:
        RunError: the text isn't of so many examples.
    """
    try:
        packed = np.frombuffer(base64.b64decode(text, validate=True), np.uint8)
    except ValueError:
        raise RunError("correct: not base64") from None
    if len(packed) != -(-examples // 8):
        raise RunError(f"correct: {len(packed)} bytes for {examples} examples")
    return np.unpackbits(packed, count=examples).astype(bool)
