"""The right and wrong answers on a split: one bit an example, as text."""

import base64

import numpy as np
from jaxtyping import Bool

from lra_bench.errors import RunError


def pack(correct: Bool[np.ndarray, " n"]) -> str:
    """Return one bit an example in base64; the first is the highest bit of its byte."""
    return base64.b64encode(np.packbits(correct).tobytes()).decode()


def unpack(text: str, examples: int) -> Bool[np.ndarray, " n"]:
    """Return the array that `pack` was given.

    Raises:
        RunError: the text does not hold so many examples.
    """
    try:
        packed = np.frombuffer(base64.b64decode(text, validate=True), np.uint8)
    except ValueError:
        raise RunError("correct: not base64") from None
    if len(packed) != -(-examples // 8):
        raise RunError(f"correct: {len(packed)} bytes for {examples} examples")
    return np.unpackbits(packed, count=examples).astype(bool)
