"""The right and wrong answers on each example of a split, as text."""

import base64
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from lra_bench.errors import RunError

# Bytes of a number in `counts`, and the most that is unpacked: 16 bytes for each of 2^24 examples.
_COUNT = np.dtype("<u4")
_MOST_BYTES = 2**28


@dataclass(frozen=True)
class Answers:
    """The answers of a model on each example of a split, as a record holds them.

    One of the two is given.

    Attributes:
        correct: which examples were answered rightly, packed by `pack`.
        counts: right answers and all answers of each example, where an example has several: packed
            by `pack_counts`.
    """

    correct: str | None = None
    counts: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the part that is given, ready for JSON."""
        both = {"correct": self.correct, "counts": self.counts}
        return {name: text for name, text in both.items() if text is not None}

    def accuracy(self, examples: int) -> float:
        """Return the share of right answers, in [0, 1], as an evaluation computes it."""
        right, answers = self._numbers(examples)
        return int(right.sum()) / max(int(answers.sum()), 1)

    def _numbers(self, examples: int) -> tuple[np.ndarray, np.ndarray]:
        """Return right answers and answers of each example, int64 (n,)."""
        if self.counts is not None:
            return unpack_counts(self.counts, examples)
        right = unpack(self.correct or "", examples).astype(np.int64)
        return right, np.ones_like(right)

    def shares(self, examples: int) -> Float[np.ndarray, " n"]:
        """Return a number for each example whose mean is the accuracy of all answers.

        It is 1 or 0 where an example has one answer, else the right answers over the mean number
        of answers.

        Raises:
            RunError: the text does not hold so many examples.
        """
        return self.residuals(examples, 0.0)

    def residuals(self, examples: int, accuracy: float) -> Float[np.ndarray, " n"]:
        """Return for each example its right answers, less those expected, over the mean number.

        Args:
            examples: in the split.
            accuracy: the share of right answers that is expected, in [0, 1].
        """
        right, answers = self._numbers(examples)
        return (right - accuracy * answers) / max(answers.mean(), 1e-30)


ANSWERS = tuple(field.name for field in fields(Answers))


def answers_of(value: Mapping[str, Any]) -> Answers | None:
    """Return the answers that an object of JSON holds; None if it holds none."""
    given = {name: value[name] for name in ANSWERS if value.get(name) is not None}
    return Answers(**given) if given else None


def packed(right: Int[np.ndarray, " n"], answers: Int[np.ndarray, " n"]) -> Answers:
    """Return the answers in the shorter form that holds them."""
    if (answers == 1).all():
        return Answers(correct=pack(right > 0))
    return Answers(counts=pack_counts(right, answers))


def pack(correct: Bool[np.ndarray, " n"]) -> str:
    """Return one bit an example in base64; the first is the highest bit of its byte."""
    return base64.b64encode(np.packbits(correct).tobytes()).decode()


def unpack(text: str, examples: int) -> Bool[np.ndarray, " n"]:
    """Return the array that `pack` was given.

    Raises:
        RunError: the text does not hold so many examples.
    """
    packed = np.frombuffer(_decoded("correct", text), np.uint8)
    if len(packed) != -(-examples // 8):
        raise RunError(f"correct: {len(packed)} bytes for {examples} examples")
    return np.unpackbits(packed, count=examples).astype(bool)


def pack_counts(right: Int[np.ndarray, " n"], answers: Int[np.ndarray, " n"]) -> str:
    """Return both numbers of each example, little-endian uint32 (2, n), by zlib and base64."""
    numbers = np.stack([right, answers]).astype(_COUNT)
    return base64.b64encode(zlib.compress(numbers.tobytes(), 9)).decode()


def unpack_counts(text: str, examples: int) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"]]:
    """Return the arrays that `pack_counts` was given.

    Raises:
        RunError: the text does not hold so many examples.
    """
    try:
        unzip = zlib.decompressobj()
        numbers = unzip.decompress(_decoded("counts", text), _MOST_BYTES)
    except zlib.error:
        raise RunError("counts: not compressed by zlib") from None
    if len(numbers) != 2 * examples * _COUNT.itemsize:
        raise RunError(f"counts: {len(numbers)} bytes for {examples} examples")
    right, answers = np.frombuffer(numbers, _COUNT).astype(np.int64).reshape(2, -1)
    return right, answers


def _decoded(name: str, text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        raise RunError(f"{name}: not base64") from None
